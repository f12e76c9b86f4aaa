//go:build !zos

package root

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"pando/root/consensus"
	"pando/transport"
)

// Where the roots are stands in three places: in the address book, which is
// replicated and says who is where now; in this root's own configuration,
// which is all there is before the book has been read or written; and, for
// Raft's addresses alone, in Raft's configuration.

// SetServers gives the group's first members and where they are now. Until
// the group has begun, every member must be given the same names.
func (r *Root) SetServers(servers []Server) error {
	if err := checkServers(servers, r.name, r.opts.Raft.BootstrapExpect == 0); err != nil {
		return err
	}
	r.mu.Lock()
	r.configured = slices.Clone(servers)
	r.mu.Unlock()
	select {
	case r.serversC <- struct{}{}:
	default:
	}
	r.directoryChanged()
	return nil
}

// Configured returns the servers of the configuration.
func (r *Root) Configured() []Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.configured)
}

// book is the address book as this root has it; not to be changed.
func (r *Root) book() []Server {
	if b := r.booked.Load(); b != nil {
		return *b
	}
	return nil
}

// turn takes a new address book.
func (r *Root) turn(book []Server) {
	r.booked.Store(&book)
	r.directoryChanged()
}

// Servers returns the group's members and where they are, by name, as far as
// that is known here. Before there is a group it is the configuration.
func (r *Root) Servers() []Server {
	list := slices.Clone(r.book())
	for _, s := range r.Configured() {
		if _, known := find(list, s.Name); !known {
			list = append(list, s)
		}
	}
	if g := r.node.Group(); g.Index > 0 {
		list = slices.DeleteFunc(list, func(s Server) bool {
			_, member := g.Find(s.Name)
			return !member
		})
	}
	slices.SortFunc(list, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// server looks a root up, member or not.
func (r *Root) server(name string) (Server, bool) {
	if s, ok := find(r.book(), name); ok {
		return s, true
	}
	return find(r.Configured(), name)
}

func find(list []Server, name string) (Server, bool) {
	for _, s := range list {
		if s.Name == name {
			return s, true
		}
	}
	return Server{}, false
}

// ownPlace is where this root is, as its own configuration says; the address
// is empty if it does not: then the group has it as it was added. (To repeat
// what the book says would undo a change that this root has not heard of yet.)
func (r *Root) ownPlace() Server {
	list := r.Configured()
	if s, ok := find(list, r.name); ok {
		return s
	}
	if len(list) == 0 && r.opts.Raft.BootstrapExpect == 1 {
		return Server{Name: r.name, Raft: r.RaftAddr(), Addr: r.Addr()}
	}
	return Server{Name: r.name}
}

// raftAddresses lists where Raft may find a member. After all roots have moved
// at once, the book is out of date until there is a leader.
func (r *Root) raftAddresses(name string) []string {
	var list []string
	for _, from := range [][]Server{r.book(), r.Configured()} {
		if s, ok := find(from, name); ok && !slices.Contains(list, s.Raft) {
			list = append(list, s.Raft)
		}
	}
	return list
}

// isMember refuses a Raft connection to somebody else than the member.
func isMember(name string, state tls.ConnectionState) error {
	peer, err := transport.ParseIdentity(state.PeerCertificates[0])
	if err == nil && peer.Node() != name {
		err = fmt.Errorf("%w: %s answers, %s is expected there", transport.ErrIdentity, peer, name)
	}
	return err
}

// rootsOnly makes a configuration refuse peers that are no roots.
func rootsOnly(c *tls.Config) *tls.Config {
	verify := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		peer, err := transport.ParseIdentity(state.PeerCertificates[0])
		if err == nil && peer.Role != transport.RoleRoot {
			err = fmt.Errorf("%w: %s speaks Raft, only roots may", transport.ErrIdentity, peer)
		}
		return err
	}
	return c
}

func members(servers []Server) []consensus.Server {
	var out []consensus.Server
	for _, s := range servers {
		out = append(out, consensus.Server{ID: s.Name, Addr: s.Raft})
	}
	return out
}
