//go:build !zos

package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/hashicorp/raft"
)

// Member is a member of the group, with a vote or without one.
type Member struct {
	Server
	Voter bool `json:"voter"`
}

// Group is who the members are, by a committed configuration.
type Group struct {
	Index   uint64   // of the entry that made it so; 0: this member has no group yet
	Members []Member // by id
}

// Find returns the member of that id.
func (g Group) Find(id string) (Member, bool) {
	for _, m := range g.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// Voters counts the members that have a vote.
func (g Group) Voters() int {
	n := 0
	for _, m := range g.Members {
		if m.Voter {
			n++
		}
	}
	return n
}

// Group returns the newest committed configuration known here.
func (n *Node) Group() Group {
	if g := n.fsm.group.Load(); g != nil {
		return *g
	}
	return Group{}
}

// groupOf turns Raft's configuration into ours.
func groupOf(index uint64, c raft.Configuration) *Group {
	g := &Group{Index: index}
	for _, s := range c.Servers {
		g.Members = append(g.Members, Member{Server: Server{ID: string(s.ID), Addr: string(s.Address)}, Voter: s.Suffrage == raft.Voter})
	}
	slices.SortFunc(g.Members, func(a, b Member) int { return compareServers(a.Server, b.Server) })
	return g
}

// AddNonvoter adds a member that gets all entries and has no vote. It returns
// when the change is committed. A member that is there already gets the
// address.
func (n *Node) AddNonvoter(ctx context.Context, s Server) error {
	return n.change(ctx, "add "+s.ID, func(r *raft.Raft) raft.Future {
		return r.AddNonvoter(raft.ServerID(s.ID), raft.ServerAddress(s.Addr), 0, n.opts.RPCTimeout)
	})
}

// Promote gives a member its vote, if the group is still the one given.
func (n *Node) Promote(ctx context.Context, g Group, s Server) error {
	return n.change(ctx, "promote "+s.ID, func(r *raft.Raft) raft.Future {
		return r.AddVoter(raft.ServerID(s.ID), raft.ServerAddress(s.Addr), g.Index, n.opts.RPCTimeout)
	})
}

// Remove takes a member out of the group, if that is still the one given.
func (n *Node) Remove(ctx context.Context, g Group, id string) error {
	return n.change(ctx, "remove "+id, func(r *raft.Raft) raft.Future {
		return r.RemoveServer(raft.ServerID(id), g.Index, n.opts.RPCTimeout)
	})
}

// Transfer hands leadership to a voting member, or, if id is empty, to the
// one that is most up to date. It returns when this node leads no more.
func (n *Node) Transfer(ctx context.Context, id string) error {
	return n.change(ctx, "transfer leadership", func(r *raft.Raft) raft.Future {
		if id == "" {
			return r.LeadershipTransfer()
		}
		m, _ := n.Group().Find(id)
		return r.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(m.Addr))
	})
}

// change submits what only the leader may and waits for its end. Errors are
// those of [Node.Propose], or Raft's own, by which nothing was changed.
func (n *Node) change(ctx context.Context, what string, submit func(*raft.Raft) raft.Future) error {
	if err := n.leading(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	f := submit(n.raft.Load())
	done := make(chan error, 1)
	go func() { done <- n.await(f) }()
	select {
	case err := <-done:
		return n.changed(what, err)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", what, ErrIndeterminate, ctx.Err())
	}
}

func (n *Node) changed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return fmt.Errorf("%s: %w", what, n.notLeader())
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%s: %w: %w", what, ErrIndeterminate, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Restore puts the group's state back to a snapshot of size bytes whose last
// command had the given index. The state machine must be able to read it: a
// snapshot that it refuses now ends the process. Members stay who they are.
// Entries in flight become [ErrIndeterminate]. It returns when a majority has
// the new state, and cannot be given up before.
func (n *Node) Restore(index uint64, size int64, state io.Reader) error {
	const what = "restore snapshot"
	if err := n.leading(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	r := n.raft.Load()
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Size: size}
	done := make(chan error, 1)
	go func() { done <- r.Restore(meta, state, 0) }()
	select {
	case err := <-done:
		if err != nil {
			return n.changed(what, err)
		}
	case <-n.dead:
		return fmt.Errorf("%s: %w: the member stopped", what, ErrIndeterminate)
	}
	// The empty entry that ends a restore never reaches the state machine;
	// reads wait for its index.
	barrier := r.Barrier(0)
	if err := n.await(barrier); err != nil {
		return n.changed(what, err)
	}
	if f, ok := barrier.(raft.IndexFuture); ok {
		n.fsm.reached(f.Index())
	}
	return nil
}
