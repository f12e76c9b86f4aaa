//go:build !zos

package root

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"pando/incident"
	"pando/internal/pack"
	"pando/root/consensus"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/wire"
)

// ErrDiverged reports a member whose state is not the one that the majority
// has. It must stop.
var ErrDiverged = errors.New("state differs from the other members'")

// errDisputed is why a root serves nobody.
var errDisputed = fmt.Errorf("members have different states, and no majority says which is right: %w", ErrDiverged)

// hooks tell an observer on this member what commands did. They are no part
// of the state, must return quickly and must not call the FSM.
type hooks struct {
	Committed func(f *anomaly.Finding, at consensus.At, first bool)
	Changed   func(c *Change)
	Judged    func(s *wire.Section, j *wire.Judgement)
	Marked    func(m *mark)
	Voted     func(member string, number uint64, agrees bool)
	Cloned    func(agent string, at consensus.At)
	Booked    func(book []Server) // must not change the list
	Exchanged func()              // the set of patterns
}

// FSM is the root's replicated state machine: units with their owners and
// settled positions, agents with their source positions and expectations,
// totals of series, the graph of calls, incidents, relays, patterns. It is a pure
// function of the commands: no clock, randomness, goroutine or map order, and
// integers only.
//
// Its methods are those of [consensus.FSM]; reads are safe at any time from
// any goroutine.
type FSM struct {
	hooks  hooks
	logics logics

	mu     sync.Mutex
	state  *state
	full   uint64        // all commands of the entries up to this index are applied
	frozen *view         // of the present state, or nil; made on demand
	moved  chan struct{} // closed when the state moves on; nil if nobody waits
}

var _ consensus.FSM = (*FSM)(nil)

// NewFSM returns an empty state machine.
func NewFSM() (*FSM, error) { return newFSM(programLogics()) }

func newFSM(known logics) (*FSM, error) {
	s, err := newState()
	if err != nil {
		return nil, fmt.Errorf("root state: %w", err)
	}
	return &FSM{logics: known, state: s}, nil
}

// result is what a command gives its proposer.
type result struct {
	answer transport.Message // wire message for the relay
	fault  string            // why the command was malformed, or empty
}

// Apply implements [consensus.FSM]. The result is a result. What a peer got
// wrong is a fault in it; an error means that this member must stop.
func (f *FSM) Apply(at consensus.At, cmd []byte) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := pack.NewReader(cmd)
	kind, now, err := readCommand(r)
	if err != nil {
		return nil, err
	}
	s := f.state
	s.now, s.index = max(s.now, now), at.Index
	f.frozen = nil
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
	res, changes, err := f.dispatch(at, kind, r)
	if err != nil {
		return nil, err
	}
	s.count++
	w := pack.NewWriter()
	w.Bin(s.output[:])
	w.Uint(uint64(kind))
	w.Uint(uint64(res.answer.Kind))
	w.Bin(res.answer.Body)
	w.String(res.fault)
	appendChanges(w, changes)
	s.output = sha256.Sum256(w.Bytes())
	if at.Item == at.Items-1 {
		f.full = at.Index
	}
	if f.hooks.Changed != nil {
		for i := range changes {
			f.hooks.Changed(&changes[i])
		}
	}
	return res, nil
}

// step applies one command. Malformed ones change nothing but a counter: all
// members must go on, and agree.
func (f *FSM) step(at consensus.At, kind uint8, r *pack.Reader) (res result, changes []Change, err error) {
	s := f.state
	malformed := func(err error) (result, []Change, error) {
		s.counts.Malformed++
		return result{fault: err.Error()}, nil, nil
	}
	switch kind {
	case cmdClaim:
		relay := r.String("relay", maxName)
		var m wire.Claim
		if err := finish(r, r.Bin("claim", maxPayload), &m); err != nil {
			return malformed(err)
		}
		answer, cloned := s.claim(relay, &m)
		if cloned && f.hooks.Cloned != nil {
			f.hooks.Cloned(m.Origin, at)
		}
		return result{answer: wire.Encode(answer)}, nil, nil
	case cmdDigest:
		relay := r.String("relay", maxName)
		sections := make([][]byte, r.Array("sections", maxSections))
		for i := range sections {
			sections[i] = r.Bin("section", maxPayload)
		}
		if err := r.Done(); err != nil {
			return malformed(err)
		}
		answer, fault := f.digest(relay, sections)
		return result{answer: wire.Encode(answer), fault: fault}, nil, nil
	case cmdFindings:
		relay := r.String("relay", maxName)
		var m wire.Findings
		if err := finish(r, r.Bin("findings", maxPayload), &m); err != nil {
			return malformed(err)
		}
		changes = f.findings(at, relay, &m)
		return result{answer: wire.Encode(&wire.Done{ID: m.ID})}, changes, nil
	case cmdTick:
		if err := r.Done(); err != nil {
			return malformed(err)
		}
		return res, s.tick(at), nil
	case cmdNode:
		m := member{name: r.String("name", maxName), role: r.String("role", maxName), region: r.String("region", maxName), addr: r.String("address", maxName)}
		if err := r.Done(); err != nil {
			return malformed(err)
		}
		s.register(m)
		return res, nil, nil
	case cmdMark:
		members := int(r.Uint("members", maxMembers))
		if err := r.Done(); err != nil {
			return malformed(err)
		}
		f.takeMark(members)
		return res, nil, nil
	case cmdVote:
		v, err := readVote(r)
		if err == nil {
			err = r.Done()
		}
		if err != nil {
			return malformed(err)
		}
		return res, nil, f.takeVote(v)
	case cmdPatterns: // under a logic that has none
		return malformed(errEarlyPatterns)
	default: // about the group; readCommand lets nothing else through
		return f.stepGroup(kind, r), nil, nil
	}
}

// finish reads the message that ends a command.
func finish(r *pack.Reader, body []byte, m wire.Message) error {
	if err := r.Done(); err != nil {
		return err
	}
	return wire.Decode(body, m)
}

// tick lets time pass.
func (s *state) tick(at consensus.At) []Change {
	if s.now-s.expired >= expireEvery {
		s.expired = s.now
		s.graph.Expire(s.now - edgeLife)
	}
	return s.record(at, s.set.Tick(s.now, s.graph))
}

// register takes note of a relay or root.
func (s *state) register(m member) {
	if _, known := s.nodes.Get(m.name); !known && s.nodes.Len() >= MaxNodes {
		s.counts.Nodes++
		return
	}
	m.at = s.now
	s.nodes.Set(m.name, &m)
}

// Now is the latest root time that a command told.
func (f *FSM) Now() int64 { return f.view().now }

// view returns the state as it is now.
func (f *FSM) view() *view {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.viewLocked()
}

func (f *FSM) viewLocked() *view {
	if f.frozen == nil {
		f.frozen = f.state.freeze()
	}
	return f.frozen
}

// next returns the state as it is now, and a channel that is closed when it
// moves on.
func (f *FSM) next() (*view, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.viewLocked(), f.movedLocked()
}

func (f *FSM) movedLocked() <-chan struct{} {
	if f.moved == nil {
		f.moved = make(chan struct{})
	}
	return f.moved
}

// await returns a state once it holds the effect of every command of the entries
// up to index: that of a state may be of an entry half of which is applied.
func (f *FSM) await(ctx context.Context, index uint64) (*view, error) {
	for {
		f.mu.Lock()
		if f.full >= index {
			defer f.mu.Unlock()
			return f.viewLocked(), nil
		}
		moved := f.movedLocked()
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Freeze implements [consensus.FSM].
func (f *FSM) Freeze() io.WriterTo { return f.whole() }

// whole is a view that can be written out. It has all that the patterns' runs
// have come to, which other readers do not want.
func (f *FSM) whole() *view {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := *f.viewLocked()
	v.patterns.engine = f.state.patterns.bytes()
	return &v
}

// Restore implements [consensus.FSM].
func (f *FSM) Restore(r io.Reader) error {
	s, err := readState(r, f.logics)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.frozen, f.full = s, nil, s.index
	f.booked()
	f.exchanged()
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
	return nil
}

// openIncidents is how many incidents the leader's ticks matter to.
func (v *view) openIncidents() int {
	n := 0
	for _, i := range v.set.Incidents() {
		if i.Status == incident.StatusOpen {
			n++
		}
	}
	return n
}
