//go:build !zos

package root

import (
	"encoding/json"
	"testing"
	"time"

	"pando/event"
	"pando/root/consensus"
	"pando/tree/status"
	"pando/tree/wire"
)

// doubles lets an agent open so many new WAL ids, one each so many seconds,
// and returns how often the alarm was raised.
func (s *stage) doubles(first event.WALID, n int, every float64) (alarms int) {
	s.t.Helper()
	s.f.hooks.Cloned = func(name string, _ consensus.At) {
		if name == agent {
			alarms++
		}
	}
	for i := range n {
		id := first + event.WALID(i)
		if a := s.claim("eu/r1", agent, id, term(1, 1), uint64(id)); !a.Granted {
			s.t.Fatalf("WAL %d: %+v", id, a)
		}
		s.pass(every)
	}
	return alarms
}

func (s *stage) cloned() int { return s.f.view().cloned(s.now) }

func TestDoublesRaiseOneAlarm(t *testing.T) {
	s := newStage(t)
	s.claim("eu/r1", "eu/other", 99, term(1, 1), 1)
	if n := s.doubles(1, 3, 100); n != 0 || s.cloned() != 0 {
		t.Fatalf("two replacements: %d alarms", n)
	}
	if n := s.doubles(4, 5, 100); n != 1 || s.cloned() != 1 {
		t.Fatalf("seven replacements within minutes: %d alarms, %d agents are cloned; want one of each", n, s.cloned())
	}
	// From here on they pause for five minutes and more between two.
	if n := s.doubles(9, 5, 400); n != 0 || s.cloned() != 1 {
		t.Fatalf("while it goes on: %d more alarms, %d agents are cloned", n, s.cloned())
	}
	again := restored(t, snapshot(t, s.f))
	if n := again.view().cloned(s.now); n != 1 || again.state.sum() != s.f.state.sum() {
		t.Fatalf("%d agents are cloned after a restart from a snapshot", n)
	}
	s.pass(float64(cloneQuiet / 1e9))
	if s.cloned() != 0 {
		t.Fatal("the alarm stays after the copy is gone")
	}
	if n := s.doubles(20, 4, 1); n != 1 {
		t.Fatalf("%d alarms when it begins again, want 1", n)
	}
}

// Disks are lost, and an operator may try three times; that takes him longer.
func TestLostDisksAreNoDoubles(t *testing.T) {
	s := newStage(t)
	if n := s.doubles(1, 12, float64(cloneWithin/1e9)/2+1); n != 0 || s.cloned() != 0 {
		t.Fatalf("%d alarms", n)
	}
	// A claim of the WAL id in force, or of one that is closed, replaces none.
	for range 10 {
		s.claim("eu/r2", agent, 12, term(2, 1), 12)
		s.claim("eu/r2", agent, 3, term(2, 1), 99)
	}
	if s.cloned() != 0 {
		t.Fatal("claims that replace nothing raised the alarm")
	}
}

// Whichever of the doubles reports that all is well, the tree does not.
func TestClonedAgentShowsInTheTree(t *testing.T) {
	g := newGroup(t)
	leader := g.roots[g.leader()]
	r1 := g.relay("r1", 0)
	for id := range event.WALID(4) {
		r1.claim(wire.Claim{ID: uint64(id), Origin: agent, WAL: id + 1, Term: term(1, 1), Opened: uint64(id) + 1})
	}
	doc, err := json.Marshal(status.Report{Node: status.Node{State: "live"},
		Children: []status.Node{{Name: agent, Role: "agent", Region: "eu", State: "live", WAL: "4", AsOf: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r1.s.SendControl(within(t), wire.Encode(&wire.Status{JSON: doc})); err != nil {
		t.Fatal(err)
	}
	g.eventually("the agent as reported, and cloned", func() bool {
		for _, n := range leader.Tree().Nodes {
			if n.Name == agent && n.AsOf == 6 {
				return n.State == stateCloned
			}
		}
		return false
	})
	if n := leader.fsm.view().cloned(time.Now().UnixNano()); n != 1 {
		t.Errorf("%d agents are cloned by the metric", n)
	}
}
