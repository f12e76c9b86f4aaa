//go:build !zos

package root

import (
	"bytes"
	"errors"
	"testing"

	"pando/internal/pack"
	"pando/root/consensus"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/wire"
)

// later are a program that knows one more logic, under which a tick counts as
// a claim. No other command differs.
func later() logics {
	return append(programLogics(), func(f *FSM, at consensus.At, kind uint8, r *pack.Reader) (result, []Change, error) {
		if kind == cmdTick {
			f.state.counts.Claims++
		}
		return f.stepMatching(at, kind, r)
	})
}

// laterLogic is what no program but that knows.
const laterLogic = patternLogic + 1

func laterStage(t testing.TB) *stage {
	t.Helper()
	s := newStage(t)
	s.f.logics = later()
	return s
}

func TestLogicChangesAtItsEntry(t *testing.T) {
	s := laterStage(t)
	claims := func() uint64 { return s.f.view().counts.Claims }
	s.apply(tickCommand(s.now))
	if claims() != 0 {
		t.Fatal("the later logic was used before it came into force")
	}
	s.apply(logicCommand(s.now, laterLogic))
	s.apply(tickCommand(s.now))
	s.apply(logicCommand(s.now, laterLogic)) // again: nothing
	s.apply(logicCommand(s.now, firstLogic)) // never back
	s.apply(tickCommand(s.now))
	if claims() != 2 || s.f.view().logic != laterLogic {
		t.Fatalf("%d claims under logic %d", claims(), s.f.view().logic)
	}

	// A snapshot carries the version, and a full replay gives the same.
	again := laterStage(t)
	replayOn(t, again.f, s.cmds, 0)
	b := snapshot(t, s.f)
	if !bytes.Equal(snapshot(t, again.f), b) {
		t.Fatal("a replay gave another state")
	}
	f, err := newFSM(later())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(bytes.NewReader(b)); err != nil || f.view().logic != laterLogic {
		t.Fatalf("restored with logic %d, %v", f.view().logic, err)
	}
}

// An older program stops at the entry, and cannot begin with a state of the
// newer logic.
func TestOlderProgramStops(t *testing.T) {
	s := laterStage(t)
	s.apply(logicCommand(s.now, laterLogic))
	s.apply(tickCommand(s.now))

	old := newStage(t)
	before := snapshot(t, old.f)
	if _, err := old.f.Apply(consensus.At{Index: 1, Items: 1}, s.cmds[0]); !errors.Is(err, ErrLogic) {
		t.Fatalf("an old program applied it: %v", err)
	}
	if old.f.state.logic != firstLogic {
		t.Fatal("a logic that is not known is in force")
	}
	if err := old.f.Restore(bytes.NewReader(snapshot(t, s.f))); !errors.Is(err, ErrLogic) || !errors.Is(err, ErrSnapshot) {
		t.Fatalf("an old program read the state: %v", err)
	}
	if err := old.f.Restore(bytes.NewReader(before)); err != nil {
		t.Fatal(err)
	}
	if res := s.apply(command(cmdLogic, s.now).Bytes()); res.fault == "" {
		t.Fatal("a logic without a number was taken")
	}
}

// TestLogicIsRaisedWhenAllKnowIt upgrades three roots one by one, as an
// operator does. An old program that comes back afterwards stops, and the
// others go on.
func TestLogicIsRaisedWhenAllKnowIt(t *testing.T) {
	upgraded := map[int]bool{0: true, 1: true}
	g := newTunedGroup(t, func(i int, o *Options) {
		if upgraded[i] {
			o.logics = later()
		}
	})
	g.leader()
	g.eventually("a new program leads, and knows all the others'", func() bool {
		g.lead(0)
		m, err := g.roots[0].Members(within(t), false)
		return err == nil && m.Members[0].Logic == laterLogic && m.Members[1].Logic == laterLogic && m.Members[2].Logic == patternLogic
	})
	pause(t.Context(), 3*stewardEvery)
	if v := g.roots[0].fsm.view(); v.logic != patternLogic {
		t.Fatalf("logic %d came into force while a root does not know it", v.logic)
	}
	g.restart(2, func() { upgraded[2] = true })
	g.eventually("the later logic is in force everywhere", func() bool {
		for _, r := range g.roots {
			if r.fsm.view().logic != laterLogic {
				return false
			}
		}
		return true
	})

	g.restart(2, func() { upgraded[2] = false })
	if err := g.ended(2); !errors.Is(err, ErrLogic) || !errors.Is(err, consensus.ErrFatal) {
		t.Fatalf("it ended with %v", err)
	}
	claim := wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10}
	if a := g.relay("r1", g.leader(2)).claim(claim); !a.Granted {
		t.Fatalf("%+v", a)
	}
}

// restart stops a root, lets something happen, and starts it at new addresses.
func (g *group) restart(i int, between func()) {
	g.t.Helper()
	g.stopped(i)
	if between != nil {
		between()
	}
	g.open(i)
	g.servers[i] = g.place(i)
	for _, r := range g.roots {
		if err := r.SetServers(g.servers); err != nil {
			g.t.Fatal(err)
		}
	}
	g.run(i)
}

// While a root that cannot read them may be a member, no command tells what
// tests have learnt, whatever relays say.
func TestTestsWaitForTheirLogic(t *testing.T) {
	for _, c := range []struct {
		logics logics
		want   int
	}{{programLogics()[:1], 0}, {programLogics(), 1}} {
		g := newTunedGroup(t, func(_ int, o *Options) { o.logics = c.logics })
		leader := g.leader()
		g.eventually("the newest logic is in force", func() bool { return g.roots[leader].fsm.view().logic == c.logics.newest() })
		r1 := g.relay("r1", leader)
		r1.claim(wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10})
		known := anomaly.Expectations{Since: epoch, Tests: []anomaly.Test{{}}}
		var done wire.Done
		r1.ask(transport.LaneCritical, &wire.Findings{ID: 2, Expect: []wire.Expect{{Unit: critical(agent, 1), Term: term(1, 1), Known: known}}}, wire.KindDone, &done)
		a := r1.claim(wire.Claim{ID: 3, Origin: agent, WAL: 1, Term: term(1, 2), Opened: 10})
		if x := a.Expect[0]; x.Since != epoch || len(x.Tests) != c.want {
			t.Errorf("under logic %d the root knows %d tests since %d, want %d since %d", c.logics.newest(), len(x.Tests), x.Since, c.want, epoch)
		}
		g.stopAll()
	}
}
