//go:build !zos

package consensus

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// bootstrapNew writes the group's first configuration into an empty folder,
// when the options name all of its members. Every member does so by itself:
// equal lists give equal first entries, so it does not matter who is first.
func (n *Node) bootstrapNew() error {
	if n.opts.BootstrapExpect == 0 || len(n.opts.Servers) != n.opts.BootstrapExpect {
		return nil
	}
	exists, err := raft.HasExistingState(n.stores.logs, n.stores.stable, n.stores.snapshots)
	if err != nil || exists {
		return err
	}
	n.log.Info("bootstrapping raft group", "servers", n.opts.Servers)
	return raft.BootstrapCluster(n.config, n.stores.logs, n.stores.stable, n.stores.snapshots, nil, configuration(n.opts.Servers))
}

// Bootstrap gives a running member its group's first members, once they are
// known; all members must be given the same list, of BootstrapExpect servers.
// It does nothing, and returns nil, if the member has any state, and is
// therefore safe to repeat.
func (n *Node) Bootstrap(servers []Server) error {
	r := n.raft.Load()
	if r == nil {
		return fmt.Errorf("bootstrap: %w", ErrStopped)
	}
	if n.opts.BootstrapExpect == 0 {
		return nil
	}
	if len(servers) != n.opts.BootstrapExpect {
		return fmt.Errorf("bootstrap: %d servers are known, %d expected", len(servers), n.opts.BootstrapExpect)
	}
	if err := checkServers(servers, n.opts.ID); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if r.LastIndex() > 0 {
		return nil
	}
	err := n.await(r.BootstrapCluster(configuration(servers)))
	if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// configuration is the same for the same servers in any order.
func configuration(servers []Server) raft.Configuration {
	servers = slices.Clone(servers)
	sortServers(servers)
	var c raft.Configuration
	for _, s := range servers {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.Voter,
			ID:       raft.ServerID(s.ID),
			Address:  raft.ServerAddress(s.Addr),
		})
	}
	return c
}

func sortServers(servers []Server) {
	slices.SortFunc(servers, compareServers)
}

func compareServers(a, b Server) int { return cmp.Compare(a.ID, b.ID) }

// noteIfServersDiffer tells the operator that the configured list is not the
// group's any more; the group's own counts.
func (n *Node) noteIfServersDiffer(r *raft.Raft) {
	have := r.GetConfiguration().Configuration()
	if len(n.opts.Servers) == 0 || len(have.Servers) == 0 {
		return
	}
	want := configuration(n.opts.Servers)
	slices.SortFunc(have.Servers, func(a, b raft.Server) int { return cmp.Compare(a.ID, b.ID) })
	if !slices.Equal(want.Servers, have.Servers) {
		n.log.Info("the raft group has changed since the configured list of servers; the group's own is used", "configured", want.Servers, "group", have.Servers)
	}
}

// byID stands for the address of every other member: [stream.Dial] finds out
// where the member is. Raft keeps its connections by what this returns.
type byID struct{ n *Node }

// ServerAddr implements [raft.ServerAddressProvider].
func (p byID) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == p.n.opts.ID {
		return raft.ServerAddress(p.n.stream.Addr().String()), nil
	}
	return raft.ServerAddress(id), nil
}

// whereIs lists the addresses of a member, the most likely one first; the
// last is what the group's configuration says.
func (n *Node) whereIs(id string) []string {
	list := n.opts.Addresses(id)
	if r := n.raft.Load(); r != nil {
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if string(s.ID) == id && !slices.Contains(list, string(s.Address)) {
				list = append(list, string(s.Address))
			}
		}
	}
	return list
}

func (n *Node) addressProvider() raft.ServerAddressProvider {
	if n.opts.Addresses == nil {
		return nil
	}
	return byID{n}
}
