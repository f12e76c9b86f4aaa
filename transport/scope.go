package transport

import (
	"slices"
	"strings"
)

// Regions are paths, written with dots from the top down: eu is above eu.fra,
// and beside eux.fra.

// below reports whether a region lies under another one.
func below(region, above string) bool {
	return len(region) > len(above) && region[len(above)] == '.' && strings.HasPrefix(region, above)
}

// validRegion demands a path without empty parts.
func validRegion(s string) bool {
	return validSegment(s, maxSegment) && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..")
}

// Serves reports whether the identity's certificate covers a region: its own,
// one that it lists as a fallback, or one below these.
func (i Identity) Serves(region string) bool {
	return i.Region == region || slices.Contains(i.Fallback, region) || i.above(region)
}

// SpeaksFor reports whether a relay may pass on what another one says, named
// as region/name: if that relay's region lies below one that its certificate
// covers. A relay of the same region does not: what it settles would be
// settled in the name of a neighbour that never said so.
func (i Identity) SpeaksFor(relay string) bool {
	region, name, ok := strings.Cut(relay, "/")
	return ok && i.Role == RoleRelay && validRegion(region) && validSegment(name, maxSegment) && i.above(region)
}

// above reports whether a region lies strictly below a covered one.
func (i Identity) above(region string) bool {
	return below(region, i.Region) || slices.ContainsFunc(i.Fallback, func(f string) bool { return below(region, f) })
}
