//go:build !zos

package consensus

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// maxReads bounds the callers of Linearizable that wait to be taken into the
// next round; more get [ErrBusy].
const maxReads = 4096

// read is one caller of Linearizable; done has capacity 1.
type read struct{ done chan error }

// Linearizable returns nil once the state machine holds the effect of every
// command that was acknowledged, by any member, before the call: a read of
// the local state after that is linearizable. It costs one round to a quorum,
// shared by all who wait, and writes nothing. On a follower it returns
// [ErrNotLeader]; shortly after an election it waits for the new leader's
// first commit.
func (n *Node) Linearizable(ctx context.Context) error {
	if err := n.leading(); err != nil {
		return fmt.Errorf("linearizable read: %w", err)
	}
	q := &read{done: make(chan error, 1)}
	select {
	case n.reads <- q:
	default:
		return fmt.Errorf("linearizable read: %w", ErrBusy)
	}
	var err error
	select {
	case err = <-q.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-n.dead:
		err = ErrStopped
	}
	if err != nil {
		return fmt.Errorf("linearizable read: %w", err)
	}
	return nil
}

// serveReads is the goroutine that answers reads, a round at a time: those
// that arrive during one round share the next.
func (n *Node) serveReads() {
	for {
		select {
		case <-n.closing:
			return
		case q := <-n.reads:
			round := []*read{q}
			for more := true; more; {
				select {
				case q := <-n.reads:
					round = append(round, q)
				default:
					more = false
				}
			}
			err := n.confirm()
			for _, q := range round {
				q.done <- err
			}
		}
	}
}

// confirm is the read index protocol of the Raft dissertation, §6.4.
func (n *Node) confirm() error {
	r := n.raft.Load()
	term, err := n.awaitReady(r)
	if err != nil {
		return err
	}
	// Everything acknowledged before now is at or below this index, since in
	// this term nobody else commits.
	index := r.CommitIndex()
	if err := n.await(r.VerifyLeader()); err != nil {
		return n.notLeader()
	}
	if r.CurrentTerm() != term {
		return n.notLeader()
	}
	for n.fsm.applied.Load() < index {
		select {
		case <-n.fsm.moved:
		case <-n.closing:
			return ErrStopped
		case <-n.fatal:
			return n.failure()
		}
	}
	return nil
}

// awaitReady waits until this node, as the leader, has applied everything
// that earlier leaders committed, and returns its term.
func (n *Node) awaitReady(r *raft.Raft) (uint64, error) {
	// Readiness follows an election by one commit; polling is simplest and
	// happens only then.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if r.State() != raft.Leader {
			return 0, n.notLeader()
		}
		if term := r.CurrentTerm(); term == n.readyTerm.Load() {
			return term, nil
		}
		select {
		case <-tick.C:
		case <-n.closing:
			return 0, ErrStopped
		}
	}
}

// Leadership delivers true when this node has become the leader and its state
// machine has applied everything committed before, and false when it no
// longer leads. Only the newest state is kept, so a slow reader may miss a
// change but never ends with a wrong state. There is one channel, for one
// reader.
func (n *Node) Leadership() <-chan bool { return n.leadership }

// lead is the goroutine that follows Raft's leadership changes.
func (n *Node) lead() {
	leads := false
	for {
		select {
		case <-n.dead:
			n.announce(&leads, false)
			return
		case won := <-n.notify:
			if !won {
				n.readyTerm.Store(0)
				n.announce(&leads, false)
				continue
			}
			if n.settleIn() {
				n.announce(&leads, true)
			}
		}
	}
}

// settleIn makes the state machine current after an election was won. The
// term is read before and after: if both agree, the barrier belongs to it.
func (n *Node) settleIn() bool {
	r := n.raft.Load()
	if r == nil {
		return false
	}
	term := r.CurrentTerm()
	barrier := r.Barrier(0)
	if err := n.await(barrier); err != nil {
		n.log.Info("leadership was lost before it settled", "error", err)
		return false
	}
	if r.CurrentTerm() != term || r.State() != raft.Leader {
		return false
	}
	if f, ok := barrier.(raft.IndexFuture); ok {
		// Barriers and the leader's first, empty entry never reach the state
		// machine; from here on it sees every index that commits in this term.
		n.fsm.reached(f.Index())
	}
	n.readyTerm.Store(term)
	n.log.Info("raft leadership settled", "term", term)
	return true
}

// announce replaces what the reader of Leadership has not read yet.
func (n *Node) announce(leads *bool, now bool) {
	if *leads == now {
		return
	}
	*leads = now
	for {
		select {
		case n.leadership <- now:
			return
		default:
		}
		select {
		case <-n.leadership:
		default:
		}
	}
}
