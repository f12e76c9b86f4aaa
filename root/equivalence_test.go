//go:build !zos

package root

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pando/event"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/stream/cep/pattern"
	"pando/tree/custody"
	"pando/tree/wire"
)

// chooser makes random choices from bytes that a fuzzer gives, one byte a
// choice, so that it can find out what a byte does; then from a generator.
type chooser struct {
	data []byte
	rest *rand.PCG
}

func (c *chooser) Uint64() uint64 {
	if len(c.data) == 0 {
		return c.rest.Uint64()
	}
	b := uint64(c.data[0])
	c.data = c.data[1:]
	return b * 0x0101010101010101
}

func newChooser(data []byte, seed uint64) *rand.Rand {
	return rand.New(&chooser{data: data, rest: rand.NewPCG(seed, uint64(len(data)))})
}

// act performs one command of any kind, mostly one that a correct relay or
// leader would propose in this state.
func act(s *stage, rng *rand.Rand) {
	s.pass([]float64{0, 0.001, 0.5, 30, 4000}[rng.IntN(5)])
	relay := []string{"eu/r1", "eu/r2"}[rng.IntN(2)]
	name, wal := fmt.Sprintf("eu/a%d", rng.IntN(3)), event.WALID(1+rng.IntN(3))
	root := fmt.Sprintf("core/root-%d", 1+rng.IntN(4))
	n := len(s.cmds)
	switch rng.IntN(15) {
	case 0, 1:
		s.claim(relay, name, wal, term(1+rng.Uint64N(3), uint64(n)), uint64(rng.IntN(50)))
	case 2, 3, 4:
		s.settleSome(rng, name)
	case 5, 6:
		s.findSome(rng, relay, name)
	case 7:
		s.apply(tickCommand(s.now))
	case 8:
		s.apply(nodeCommand(s.now, member{name: relay, role: "relay", region: "eu", addr: fmt.Sprintf("host%d:1", rng.IntN(3))}))
	case 9:
		s.apply(markCommand(s.now, 3))
	case 10:
		m := s.f.view().mark
		s.apply(voteCommand(s.now, root, m.number, m.hash))
	case 11:
		s.apply(serverCommand(s.now, Server{Name: root, Raft: fmt.Sprintf("h:%d", n), Addr: "h:2"}))
	case 12:
		s.apply([][]byte{forgetCommand(s.now, root), restoredCommand(s.now), logicCommand(s.now, firstLogic+1+uint64(rng.IntN(2)))}[rng.IntN(3)])
	case 14:
		s.exchangeSome(rng)
	case 13:
		// What is malformed is refused, and counted.
		s.apply([][]byte{append(tickCommand(s.now), 1), command(cmdClaim, s.now).Bytes(), digestCommand(s.now, relay, [][]byte{{1}})}[rng.IntN(3)])
	}
}

// settleSome sends sections of an agent's units: most continue what is
// settled, with rows, calls, heartbeats and positions.
func (s *stage) settleSome(rng *rand.Rand, name string) {
	var sections [][]byte
	relay := "eu/r1"
	s.f.view().units.Ascend(func(id event.Unit, u *unit) bool {
		if id.Origin != name || rng.IntN(3) == 0 {
			return true
		}
		o := u.owner
		from := o.Settled + 1 + uint64(rng.IntN(8)/7)
		sec := section(o.Relay, id, o.Term, from, from+rng.Uint64N(4), event.Position{Source: fmt.Sprintf("log#%d", rng.IntN(3)), File: "f", Offset: int64(from)})
		sec.Head.Rest, sec.Rows.Heartbeats = o.Closed, rng.Uint64N(2)
		if rng.IntN(12) == 0 {
			sec.Head.Before[0] ^= 1 // a disk that was rolled back
		}
		relay = o.Relay
		sections = append(sections, wire.EncodeSection(&sec))
		return len(sections) < 3
	})
	s.apply(digestCommand(s.now, relay, sections))
}

// findSome reports findings of one component, new, revised or ended, and what
// its agent is expected to say.
func (s *stage) findSome(rng *rand.Rand, relay, name string) {
	var m wire.Findings
	for range 1 + rng.IntN(3) {
		f := finding(fmt.Sprintf("finding %d", len(s.cmds)/50*9+rng.IntN(9)), // old ones are not forgotten, and patterns see each once
			"shop/"+name, s.now-int64(rng.IntN(3))*20e9)
		f.Peer, f.Ended, f.Revision = "shop/db", rng.IntN(3) == 0, uint32(1+rng.IntN(3))
		m.Findings = append(m.Findings, f)
	}
	s.f.view().units.Ascend(func(id event.Unit, u *unit) bool {
		if id.Origin == name && u.owner.Relay == relay {
			m.Expect = append(m.Expect, wire.Expect{Unit: id, Term: u.owner.Term,
				Known: anomaly.Expectations{Since: epoch, Codes: []stream.Series{{Entity: "e", Signal: fmt.Sprint(rng.IntN(5))}}}})
		}
		return len(m.Expect) < 2
	})
	s.report(relay, m)
}

// exchangeSome proposes one of a few sets of patterns, mostly as the one that
// follows; some keep runs of the set before, and none reads all that another does.
func (s *stage) exchangeSome(rng *rand.Rand) {
	a, b, c := twice("a", time.Minute, ""), twice("b", time.Hour, ""), unanswered("c", 20*time.Second)
	again := twice("a", time.Minute, "in other words")
	set := [][]pattern.Pattern{{a, b}, {again, c}, {c, b}, {a, c}, {}}[rng.IntN(5)]
	s.apply(patternsCommand(s.now, s.f.view().patterns.version+uint64(rng.IntN(6)/5), encodedSet(s.t, set...)))
}

// equivalent plays steps random commands, and then again from snapshots that
// were taken on the way: restore, the rest of the commands, and in its middle
// another snapshot and restore. All must end in the same bytes, results and
// state.
func equivalent(t *testing.T, rng *rand.Rand, steps, cuts int) {
	t.Helper()
	s := laterStage(t)
	saved := map[int][]byte{}
	for i := range steps {
		if rng.IntN(steps) < cuts {
			saved[i] = snapshot(t, s.f)
		}
		act(s, rng)
	}
	again := laterStage(t)
	replayOn(t, again.f, s.cmds, 0)
	same(t, "the full replay", again.f, s.f)
	for i, b := range saved {
		f := restoredLater(t, b)
		if !bytes.Equal(snapshot(t, f), b) {
			t.Fatalf("at command %d: a restored state writes another snapshot", i)
		}
		middle := i + rng.IntN(len(s.cmds)-i+1)
		replayOn(t, f, s.cmds[:middle], i)
		f = restoredLater(t, snapshot(t, f))
		replayOn(t, f, s.cmds, middle)
		same(t, fmt.Sprintf("restored at command %d and again at %d", i, middle), f, s.f)
	}
}

// restoredLater restores into a program that knows the second logic too.
func restoredLater(t *testing.T, b []byte) *FSM {
	t.Helper()
	f, err := newFSM(later())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return f
}

func same(t *testing.T, what string, got, want *FSM) {
	t.Helper()
	switch {
	case got.state.output != want.state.output:
		t.Fatalf("%s: other results", what)
	case got.state.sum() != want.state.sum():
		t.Fatalf("%s: another hash of the state", what)
	case !bytes.Equal(snapshot(t, got), snapshot(t, want)):
		t.Fatalf("%s: another snapshot", what)
	}
}

// TestSnapshotAndTailAreTheReplay is the fuzz target below with fixed seeds
// and longer runs.
func TestSnapshotAndTailAreTheReplay(t *testing.T) {
	for seed := range uint64(12) {
		equivalent(t, newChooser(nil, seed), 250, 6)
	}
}

// FuzzSnapshotAndTail lets the fuzzer choose the commands, and where the
// snapshots are taken.
func FuzzSnapshotAndTail(f *testing.F) {
	for seed := range byte(4) {
		script := bytes.Repeat([]byte{seed * 37, 200, 17, seed, 90, 255, 130}, 20)
		f.Add(script, uint64(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte, seed uint64) {
		equivalent(t, newChooser(script, seed), 40, 4)
	})
}

// The commands of the fuzz target must reach what they are about, or it would
// prove nothing.
func TestRandomCommandsReachEverything(t *testing.T) {
	s := laterStage(t)
	rng := newChooser(nil, 1)
	for range 1500 {
		act(s, rng)
	}
	v := s.f.view()
	for what, n := range map[string]uint64{
		"settled": v.settled, "applied": v.counts.Sections[custody.Apply], "skipped": v.counts.Sections[custody.SkipPosition],
		"diverged": v.counts.Sections[custody.RefuseDiverge], "refused claims": v.counts.Refused, "malformed": v.counts.Malformed,
		"changes": v.changed, "commits": uint64(len(v.committed)), "restores": v.restores, "book": uint64(len(v.book)),
		"later logic": v.logic - patternLogic,
		"patterns":    v.patterns.version, "matches": uint64(len(s.matched())), "events of patterns": v.patterns.totals.Stepped, "votes": uint64(len(v.mark.votes)) + v.mark.number, "expectations": uint64(s.f.state.expectTotal), "positions": uint64(s.f.state.placed),
		"edges": uint64(v.edges), "closed": closedUnits(v),
	} {
		if n == 0 {
			t.Errorf("no %s in 1500 commands", what)
		}
	}
}

func closedUnits(v *view) (n uint64) {
	v.units.Ascend(func(_ event.Unit, u *unit) bool {
		if u.owner.Closed {
			n++
		}
		return true
	})
	return n
}
