//go:build !zos

package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"pando/internal/pack"
)

// maxInflight bounds the entries that are submitted and not answered. At one
// entry in half a millisecond it covers commits that take 128 ms; then
// packing waits, entries grow, and callers get [ErrBusy].
const maxInflight = 256

// Who decides the fate of a proposal that waits: its caller may give it up
// until the packer takes it.
const (
	waiting int32 = iota
	taken
	abandoned
)

// proposal is one caller's command. done has capacity 1 and gets exactly one
// outcome once the packer has taken the proposal.
type proposal struct {
	cmd   []byte
	state atomic.Int32
	since time.Time
	done  chan outcome
}

type outcome struct {
	result any
	index  uint64
	err    error
}

// batch is one submitted entry.
type batch struct {
	future    raft.ApplyFuture
	proposals []*proposal
	drained   chan struct{} // instead of an entry: closed when all before it are answered
}

// Propose replicates cmd and returns what the state machine's Apply returned
// for it, and the index of its entry. cmd must not change until Propose
// returns, nor ever after an error that wraps [ErrIndeterminate].
//
// Errors that say the command was not submitted: [ErrNotLeader], [ErrBusy],
// [ErrTooLarge], [ErrStopped], or ctx's error alone. [ErrIndeterminate],
// which may come along with ctx's error, says that it may or may not take
// effect, now or later.
func (n *Node) Propose(ctx context.Context, cmd []byte) (result any, index uint64, err error) {
	if len(cmd) > MaxCommand {
		return nil, 0, fmt.Errorf("propose %d bytes, limit %d: %w", len(cmd), MaxCommand, ErrTooLarge)
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("propose: %w", err)
	}
	if err := n.leading(); err != nil {
		return nil, 0, fmt.Errorf("propose: %w", err)
	}
	p := &proposal{cmd: cmd, since: time.Now(), done: make(chan outcome, 1)}
	if err := n.enqueue(p); err != nil {
		return nil, 0, fmt.Errorf("propose: %w", err)
	}
	select {
	case o := <-p.done:
		return o.result, o.index, o.err
	case <-ctx.Done():
		if p.state.CompareAndSwap(waiting, abandoned) {
			return nil, 0, fmt.Errorf("propose: %w", ctx.Err())
		}
		n.metrics.indeterminate.Inc()
		return nil, 0, fmt.Errorf("propose: %w: %w", ErrIndeterminate, ctx.Err())
	case <-n.dead:
	}
	if p.state.CompareAndSwap(waiting, abandoned) {
		return nil, 0, fmt.Errorf("propose: %w", ErrStopped)
	}
	select {
	case o := <-p.done:
		return o.result, o.index, o.err
	default:
		n.metrics.indeterminate.Inc()
		return nil, 0, fmt.Errorf("propose: %w: the member stopped", ErrIndeterminate)
	}
}

// leading returns nil if this node leads, else why it cannot serve.
func (n *Node) leading() error {
	if err := n.failure(); err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	select {
	case <-n.closing:
		return ErrStopped
	default:
	}
	switch r := n.raft.Load(); {
	case r == nil:
		return ErrStopped
	case r.State() != raft.Leader:
		return n.notLeader()
	}
	return nil
}

func (n *Node) notLeader() error {
	id, addr, _ := n.Leader()
	if id == n.opts.ID {
		id, addr = "", "" // stepping down: it knows of no other yet
	}
	return &NotLeaderError{ID: id, Addr: addr}
}

func (n *Node) enqueue(p *proposal) error {
	size := int64(len(p.cmd))
	if n.queueBytes.Add(size) > n.opts.MaxWaitingBytes {
		n.queueBytes.Add(-size)
		n.metrics.busy.Inc()
		return ErrBusy
	}
	select {
	case n.queue <- p:
		return nil
	default:
		n.queueBytes.Add(-size)
		n.metrics.busy.Inc()
		return ErrBusy
	}
}

// pack is the goroutine that joins waiting commands into entries. The first
// command after a pause is submitted at once; while entries follow one
// another, each gathers what comes within PackInterval of the last.
func (n *Node) pack() {
	var (
		w     = pack.NewWriter()
		timer = time.NewTimer(time.Hour)
		last  time.Time
		carry *proposal // taken off the queue, did not fit the last entry
	)
	defer timer.Stop()
	for {
		var g gathered
		if carry != nil {
			g.add(carry)
			carry = nil
		} else {
			select {
			case p := <-n.queue:
				n.take(&g, p)
			case <-n.closing:
				n.refuse()
				return
			}
		}
		timer.Reset(n.opts.PackInterval - time.Since(last))
		carry = n.gather(&g, timer)
		if len(g.proposals) == 0 {
			continue
		}
		last = time.Now()
		n.submit(w, &g)
	}
}

// gathered is an entry in the making.
type gathered struct {
	proposals []*proposal
	cmds      [][]byte
	size      int // bytes with framing
}

func (g *gathered) fits(p *proposal) bool {
	return len(g.cmds) < MaxCommands && g.size+len(p.cmd)+itemOverhead <= MaxCommand+itemOverhead
}

func (g *gathered) add(p *proposal) {
	g.proposals = append(g.proposals, p)
	g.cmds = append(g.cmds, p.cmd)
	g.size += len(p.cmd) + itemOverhead
}

// take adds p to g unless its caller has given it up.
func (n *Node) take(g *gathered, p *proposal) {
	n.queueBytes.Add(-int64(len(p.cmd)))
	if p.state.CompareAndSwap(waiting, taken) {
		g.add(p)
	}
}

// gather fills g until the timer fires, and then with what waits already. It
// returns a command that did not fit any more, taken, or nil.
func (n *Node) gather(g *gathered, timer *time.Timer) *proposal {
	due := false
	for {
		var p *proposal
		if due {
			select {
			case p = <-n.queue:
			default:
				return nil
			}
		} else {
			select {
			case p = <-n.queue:
			case <-timer.C:
				due = true
				continue
			case <-n.closing:
				due = true
				continue
			}
		}
		if g.fits(p) {
			n.take(g, p)
			continue
		}
		n.queueBytes.Add(-int64(len(p.cmd)))
		if p.state.CompareAndSwap(waiting, taken) {
			return p
		}
	}
}

// submit hands an entry to Raft and queues its answer for settle.
func (n *Node) submit(w *pack.Writer, g *gathered) {
	r := n.raft.Load()
	entry := packEntry(w, g.cmds)
	n.metrics.entryBytes.Observe(float64(len(entry)))
	n.metrics.entryCommands.Observe(float64(len(g.cmds)))
	// No timeout: Raft's main goroutine takes the entry, or Raft is shut
	// down and answers so.
	n.inflight <- &batch{future: r.Apply(entry, 0), proposals: g.proposals}
}

// refuse answers everything that still waits when the node stops.
func (n *Node) refuse() {
	for {
		select {
		case p := <-n.queue:
			if p.state.CompareAndSwap(waiting, taken) {
				p.done <- outcome{err: fmt.Errorf("propose: %w", ErrStopped)}
			}
		default:
			return
		}
	}
}

// settle is the goroutine that answers callers, in the order of the log.
func (n *Node) settle() {
	for {
		select {
		case b := <-n.inflight:
			n.settleOne(b)
		case <-n.packed:
			for {
				select {
				case b := <-n.inflight:
					n.settleOne(b)
				default:
					return
				}
			}
		}
	}
}

func (n *Node) settleOne(b *batch) {
	if b.drained != nil {
		close(b.drained)
		return
	}
	n.answer(b, n.await(b.future))
}

func (n *Node) answer(b *batch, err error) {
	if err == nil {
		switch response := b.future.Response().(type) {
		case []any:
			index := b.future.Index()
			for i, p := range b.proposals {
				n.metrics.commit.Observe(time.Since(p.since).Seconds())
				p.done <- outcome{result: response[i], index: index}
			}
			return
		case error: // the state machine failed; the entry is committed
			err = response
		}
	}
	err = n.classify(err)
	for _, p := range b.proposals {
		if errors.Is(err, ErrIndeterminate) {
			n.metrics.indeterminate.Inc()
		}
		p.done <- outcome{err: err}
	}
}

// classify says what is known of an entry that Raft answered with an error.
func (n *Node) classify(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		// Refused before it was put into the log.
		return fmt.Errorf("propose: %w", n.notLeader())
	default:
		// Leadership lost, shutdown, or a failed write of the local store:
		// the entry may be on some disk and may yet be committed.
		return fmt.Errorf("propose: %w: %w", ErrIndeterminate, err)
	}
}

// drained waits until everything submitted so far is answered.
func (n *Node) drained() {
	mark := &batch{drained: make(chan struct{})}
	select {
	case n.inflight <- mark:
	case <-n.dead:
		return
	}
	select {
	case <-mark.drained:
	case <-n.dead:
	}
}
