//go:build !zos

package root

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pando/event"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/wire"
)

// Whatever part of the state goes wrong in memory, the comparison sees it.
func TestMarkCoversAllState(t *testing.T) {
	build := func() *state {
		s := newStage(t)
		s.claim("eu/r1", agent, 1, term(1, 1), 10)
		s.digest("eu/r1", section("eu/r1", critical(agent, 1), term(1, 1), 1, 5))
		s.report("eu/r1", wire.Findings{ID: 1, Findings: []anomaly.Finding{finding("one", "shop/a", epoch), finding("two", "pay/b", epoch)},
			Named: []wire.Named{{ID: "INC-GIVEN", Anchor: finding("one", "", 0).ID}}})
		s.apply(nodeCommand(s.now, member{name: "eu/r1", role: "relay"}))
		s.f.state.sum() // what is kept of it must not hide a later change
		return s.f.state
	}
	want := build().sum()
	if build().sum() != want {
		t.Fatal("equal histories have different sums")
	}
	for what, change := range map[string]func(s *state){
		"an edge":                 func(s *state) { s.graph.AddEdge("shop/x", "shop/y", epoch) },
		"an edge's last sighting": func(s *state) { s.graph.AddEdge("shop/"+agent, "shop/db", epoch+int64(time.Hour)) },
		"edges that are gone":     func(s *state) { s.graph.Expire(epoch + int64(time.Hour)) },
		"a finding":               func(s *state) { s.set.Add(finding("three", "far/c", epoch), s.graph) },
		"time of the incidents":   func(s *state) { s.set.Tick(s.now+1, s.graph) },
		"an incident's status":    func(s *state) { s.set.Tick(s.now+int64(24*time.Hour), s.graph) },
		"an alias":                func(s *state) { s.set.Alias("INC-OTHER", finding("two", "", 0).ID) },
		"a commit":                func(s *state) { s.commits.Set(finding("one", "", 0).ID, commit{index: 99}) },
		"the order of commits":    func(s *state) { s.committed[0], s.committed[1] = s.committed[1], s.committed[0] },
		"a unit":                  func(s *state) { u, _ := s.getUnit(critical(agent, 1)); u.events++; s.setUnit(critical(agent, 1), u) },
		"when the graph is due":   func(s *state) { s.expired++ },
	} {
		s := build()
		if change(s); s.sum() == want {
			t.Errorf("the sum is the same with another value of %s", what)
		}
	}
}

// While the member that would decide is down, a dispute is kept: no new mark
// takes its place, the two can be told apart when the third one votes, and one
// that was restored votes anew.
func TestDisputeWaitsForWhoeverDecides(t *testing.T) {
	begin := func() (*stage, func(name string, change byte) error) {
		s := newStage(t)
		s.apply(markCommand(s.now, 3))
		m := s.f.view().mark
		return s, func(name string, change byte) error {
			hash := m.hash
			hash[0] ^= change
			s.at.Index++
			_, err := s.f.Apply(s.at, voteCommand(s.now, name, m.number, hash))
			return err
		}
	}
	s, vote := begin()
	if err := errors.Join(vote("a", 0), vote("b", 1)); err != nil {
		t.Fatal(err)
	}
	s.apply(tickCommand(s.now))
	s.apply(markCommand(s.now, 3))
	if m, disputed := s.f.dispute(); !disputed || len(m.votes) != 2 {
		t.Fatalf("the next mark takes the place of the dispute: %+v", m)
	}
	r := &Root{fsm: s.f}
	r.watch = newObserver(r)
	if _, err := r.read(t.Context(), true); err != nil || r.barred() {
		t.Errorf("it does not serve while the dispute is new: %v", err)
	}
	r.live.Store(s.at.Index) // it starts again
	if _, err := r.read(t.Context(), false); !errors.Is(err, ErrDiverged) {
		t.Errorf("started in a dispute, it answers reads: %v", err)
	}
	if _, err := r.answer(transport.Identity{Role: transport.RoleRelay}, transport.Hello{}); err == nil {
		t.Error("started in a dispute, it takes relays")
	}
	if err := vote("c", 1); !errors.Is(err, ErrDiverged) {
		t.Fatalf("the third member agrees with the other one, and this one goes on: %v", err)
	}
	s, vote = begin()
	if err := errors.Join(vote("a", 0), vote("b", 1), vote("b", 0)); err != nil {
		t.Fatal(err)
	}
	number := s.f.view().mark.number
	s.apply(markCommand(s.now, 3))
	if _, disputed := s.f.dispute(); disputed || s.f.view().mark.number == number {
		t.Fatal("a member was restored from the other, and the dispute goes on")
	}
}

// One root is down and the two others differ: nobody knows which is right, so
// both stop. When the third is back in time, it decides.
func TestTwoThatDifferStop(t *testing.T) {
	for name, back := range map[string]bool{"the third stays down": false, "the third comes back": true} {
		t.Run(name, func(t *testing.T) {
			g := newTunedGroup(t, func(_ int, o *Options) {
				o.disputeLimit = 500 * time.Millisecond
				if back {
					o.disputeLimit = time.Hour
				}
			})
			third := (g.leader() + 1) % 3
			leader, wrong := -1, -1
			differ := func() {
				leader = g.leader(third)
				wrong = 3 - leader - third
				f := g.roots[wrong].fsm
				f.mu.Lock()
				f.state.graph.AddEdge("no/such", "call", epoch) // a bit that fell over
				f.mu.Unlock()
				g.eventually("a dispute", func() bool {
					g.roots[leader].mark(timeout(t, time.Second))
					_, disputed := g.roots[leader].fsm.dispute()
					return disputed
				})
			}
			if back {
				g.restart(third, differ)
			} else {
				g.stopped(third)
				differ()
			}
			if err := g.ended(wrong); !errors.Is(err, ErrDiverged) {
				t.Errorf("the wrong one ends with %v", err)
			}
			if !back {
				if err := g.ended(leader); !errors.Is(err, ErrDiverged) {
					t.Errorf("the leader ends with %v", err)
				}
				for _, i := range []int{leader, wrong} { // their supervisors start them again
					g.open(i)
					g.servers[i] = g.place(i)
				}
				for _, i := range []int{leader, wrong} {
					if err := g.roots[i].SetServers(g.servers); err != nil {
						t.Fatal(err)
					}
					g.run(i)
				}
				g.leader(third)
				g.eventually("what was wrong in memory only is right again", func() bool {
					_, err := g.roots[wrong].Units(timeout(t, time.Second), false)
					return err == nil
				})
				return
			}
			g.leader(wrong) // the right ones go on
		})
	}
}

// BenchmarkMark compares states at the bounds: all series, edges, findings and
// commits that there may be, and a thousand incidents; between two marks 1024
// sections and some findings come.
func BenchmarkMark(b *testing.B) {
	s := newStage(b)
	for i := range 65536 {
		s.f.state.graph.AddEdge(fmt.Sprintf("shop/service-%d", i%1024), fmt.Sprintf("shop/callee-%d", i/1024), epoch)
	}
	for i := range maxCommits {
		f := finding(fmt.Sprint(i), "shop/a", epoch)
		s.f.state.remember(f.ID, s.at)
	}
	for i := range 4000 { // in incidents that settle, and the newest ones open
		s.pass(10)
		f := finding(fmt.Sprintf("finding %d", i), fmt.Sprintf("shop/entity-%d", i), s.now)
		f.Ended = true
		s.report("eu/r1", wire.Findings{ID: 1, Findings: []anomaly.Finding{f}})
		s.apply(tickCommand(s.now))
	}
	for i := range 100_000 {
		name := section("eu/r1", critical(fmt.Sprint(i), 1), term(1, 1), 1, 1).Rows.Rows[0].Series
		s.f.state.series.Set(name, &total{count: 1})
	}
	u := event.Unit{Origin: agent, WAL: 1}
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.f.state.sum()
	part := map[string]func() [32]byte{
		"all":       func() [32]byte { return s.f.state.sum() },
		"graph":     func() [32]byte { return s.f.state.graph.Sum() },
		"incidents": func() [32]byte { return s.f.state.set.Sum() },
	}
	for name, sum := range part {
		b.Run(name, func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				from := s.f.view().units
				at, _ := from.Get(u)
				s.digest("eu/r1", section("eu/r1", u, term(1, 1), at.owner.Settled+1, at.owner.Settled+5))
				for i := range 1024 { // a minute went by: edges are seen anew
					s.f.state.graph.AddEdge(fmt.Sprintf("shop/service-%d", i), "shop/callee-0", epoch+int64(n+1)*int64(time.Minute))
				}
				b.StartTimer()
				sum()
			}
		})
	}
}
