//go:build !zos

package consensus

import (
	"time"

	"github.com/hashicorp/raft"
)

// Stats is what an operator wants to know of a member.
type Stats struct {
	State         string // Follower, Candidate, Leader or Shutdown
	Ready         bool   // leads and serves linearizable reads
	LeaderID      string // empty while none is known
	LeaderAddr    string
	Term          uint64
	LastIndex     uint64 // newest entry on this member's disk
	CommitIndex   uint64
	AppliedIndex  uint64        // newest entry handed to the state machine
	SnapshotIndex uint64        // newest snapshot's
	FirstIndex    uint64        // oldest entry on disk
	LastContact   time.Duration // since the leader was heard; 0 on the leader, -1 if never
	Waiting       int           // commands not packed yet
	Inflight      int           // entries not answered yet
}

// Stats returns the member's state; zero before Run.
func (n *Node) Stats() Stats {
	r := n.raft.Load()
	if r == nil {
		return Stats{State: "Stopped", LastContact: -1}
	}
	s := Stats{
		State:        r.State().String(),
		Term:         r.CurrentTerm(),
		LastIndex:    r.LastIndex(),
		CommitIndex:  r.CommitIndex(),
		AppliedIndex: r.AppliedIndex(),
		LastContact:  -1,
		Waiting:      len(n.queue),
		Inflight:     len(n.inflight),
	}
	s.LeaderID, s.LeaderAddr, _ = n.Leader()
	s.Ready = s.State == "Leader" && n.readyTerm.Load() == s.Term
	if first, err := n.stores.logs.FirstIndex(); err == nil {
		s.FirstIndex = first
	}
	if snaps, err := n.stores.snapshots.List(); err == nil && len(snaps) > 0 {
		s.SnapshotIndex = snaps[0].Index
	}
	if s.State == "Leader" {
		s.LastContact = 0
	} else if at := r.LastContact(); !at.IsZero() {
		s.LastContact = time.Since(at)
	}
	return s
}

// Leader returns the leader as far as this member knows; ok is false while
// there is none.
func (n *Node) Leader() (id, addr string, ok bool) {
	r := n.raft.Load()
	if r == nil {
		return "", "", false
	}
	a, i := r.LeaderWithID()
	return string(i), string(a), i != ""
}

// Peers returns the group's voting members by the newest configuration,
// sorted by id; nil before bootstrap.
func (n *Node) Peers() []Server {
	r := n.raft.Load()
	if r == nil {
		return nil
	}
	var servers []Server
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		servers = append(servers, Server{ID: string(s.ID), Addr: string(s.Address)})
	}
	sortServers(servers)
	return servers
}

// ID is this member's id.
func (n *Node) ID() string { return n.opts.ID }

// Addr is the address at which the other members reach this one.
func (n *Node) Addr() string { return n.stream.Addr().String() }

// Snapshot writes a snapshot now, and returns when it is on disk.
func (n *Node) Snapshot() error {
	r := n.raft.Load()
	if r == nil {
		return ErrStopped
	}
	return n.await(r.Snapshot())
}
