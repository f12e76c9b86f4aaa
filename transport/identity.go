package transport

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Role is what a node is in the tree.
type Role string

// The roles a certificate may name.
const (
	RoleAgent    Role = "agent"
	RoleRelay    Role = "relay"
	RoleRoot     Role = "root"
	RoleOperator Role = "operator" // a person or program that asks, never a part of the tree
)

// Limits of a certificate's names.
const (
	maxSegment  = 63 // one part of a name; as long as a DNS label
	maxDomain   = 253
	maxFallback = 32 // regions a relay may stand in for, with all below them; a certificate stays small
)

// scheme and the word in the role's place that marks a fallback region.
const (
	scheme   = "spiffe"
	fallback = "fallback"
)

// Identity is who a node is, as its certificate says. The certificate holds
// one URI SAN spiffe://domain/role/region/name, and one further URI SAN
// spiffe://domain/fallback/region for each region it may stand in for.
type Identity struct {
	Domain   string
	Role     Role
	Region   string
	Name     string
	Fallback []string // sorted, without Region
}

// Node is the node's name in the whole tree: region/name.
func (i Identity) Node() string { return i.Region + "/" + i.Name }

// String is the identity's URI.
func (i Identity) String() string {
	return scheme + "://" + i.Domain + "/" + string(i.Role) + "/" + i.Region + "/" + i.Name
}

// URIs are the SANs of the identity's certificate; ParseIdentity reads them.
func (i Identity) URIs() []*url.URL {
	uris := []*url.URL{{Scheme: scheme, Host: i.Domain, Path: "/" + string(i.Role) + "/" + i.Region + "/" + i.Name}}
	for _, region := range i.Fallback {
		uris = append(uris, &url.URL{Scheme: scheme, Host: i.Domain, Path: "/" + fallback + "/" + region})
	}
	return uris
}

// Validate reports what is wrong with the names, as an error that wraps
// [ErrIdentity]. Names are lower-case letters, digits, '.', '_' and '-'; the
// dots of a region part its path.
func (i Identity) Validate() error {
	switch i.Role {
	case RoleAgent, RoleRelay, RoleRoot, RoleOperator:
	default:
		return fmt.Errorf("%w: role %q is none of agent, relay, root, operator", ErrIdentity, i.Role)
	}
	if !validSegment(i.Domain, maxDomain) {
		return fmt.Errorf("%w: domain %q", ErrIdentity, i.Domain)
	}
	if !validRegion(i.Region) || !validSegment(i.Name, maxSegment) {
		return fmt.Errorf("%w: node %q wants region/name of lower-case letters, digits, '.', '_', '-', each 1 to %d bytes, and no empty part of the region",
			ErrIdentity, i.Node(), maxSegment)
	}
	if len(i.Fallback) > maxFallback {
		return fmt.Errorf("%w: %d fallback regions, limit %d", ErrIdentity, len(i.Fallback), maxFallback)
	}
	for _, region := range i.Fallback {
		if !validRegion(region) {
			return fmt.Errorf("%w: fallback region %q", ErrIdentity, region)
		}
	}
	return nil
}

func validSegment(s string, limit int) bool {
	if s == "" || len(s) > limit || s == "." || s == ".." {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ParseIdentity reads the identity out of a verified certificate. Errors wrap
// [ErrIdentity]. A certificate that names two nodes is refused: it would let
// its holder choose.
func ParseIdentity(cert *x509.Certificate) (Identity, error) {
	var id Identity
	found := false
	for _, uri := range cert.URIs {
		if uri.Scheme != scheme {
			continue
		}
		if uri.User != nil || uri.RawQuery != "" || uri.Fragment != "" || uri.Opaque != "" {
			return Identity{}, fmt.Errorf("%w: certificate names %q", ErrIdentity, uri)
		}
		parts := strings.Split(strings.TrimPrefix(uri.Path, "/"), "/")
		switch {
		case len(parts) == 2 && parts[0] == fallback:
			id.Fallback = append(id.Fallback, parts[1])
		case len(parts) == 3 && !found:
			found = true
			id.Domain, id.Role, id.Region, id.Name = uri.Host, Role(parts[0]), parts[1], parts[2]
		case len(parts) == 3:
			return Identity{}, fmt.Errorf("%w: certificate names two nodes, %s and %s", ErrIdentity, id, uri)
		default:
			return Identity{}, fmt.Errorf("%w: certificate names %q, want spiffe://domain/role/region/name", ErrIdentity, uri)
		}
	}
	if !found {
		return Identity{}, fmt.Errorf("%w: certificate of %q names no node, want a URI spiffe://domain/role/region/name",
			ErrIdentity, cert.Subject.CommonName)
	}
	for _, uri := range cert.URIs {
		if uri.Scheme == scheme && uri.Host != id.Domain {
			return Identity{}, fmt.Errorf("%w: certificate of %s also names domain %q", ErrIdentity, id, uri.Host)
		}
	}
	slices.Sort(id.Fallback)
	id.Fallback = slices.DeleteFunc(slices.Compact(id.Fallback), func(r string) bool { return r == id.Region })
	return id, id.Validate()
}

// Admit is the subtree rule: it reports, as an error that wraps [ErrIdentity],
// why parent may not have child below it. A relay has agents of the regions
// that its certificate covers (see [Identity.Serves]), and relays it may speak
// for; a root has relays and other roots. Both sides check it, so an agent does
// not hand its events to a relay outside its region either.
func Admit(parent, child Identity) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w: %s below %s: %s", ErrIdentity, child, parent, why)
	}
	if parent.Domain != child.Domain {
		return refuse("another domain")
	}
	switch parent.Role {
	case RoleRelay:
		if child.Role != RoleAgent && child.Role != RoleRelay {
			return refuse("a relay has only agents and relays below it")
		}
		if !parent.Serves(child.Region) {
			return refuse("the relay's certificate does not list region " + child.Region)
		}
		if child.Role == RoleRelay && !parent.SpeaksFor(child.Node()) {
			return refuse("a relay has relays of regions below its own, as eu has eu.fra")
		}
		return nil
	case RoleRoot:
		if child.Role != RoleRelay && child.Role != RoleRoot {
			return refuse("a root has only relays and roots below it")
		}
		return nil
	}
	return refuse("only a relay or a root may have children")
}
