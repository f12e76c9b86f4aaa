package placement

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// world drives one policy through a day and checks at every step what must
// always hold.
type world struct {
	t      *testing.T
	policy *Policy
	now    time.Time
	relays []Candidate
	last   Decision
}

func newWorld(t *testing.T, key string, n int) *world {
	t.Helper()
	p, err := NewPolicy(DefaultPolicyOptions(key, "eu"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, policy: p, now: time.Unix(1_000_000, 0)}
	for _, r := range relays(n) {
		w.relays = append(w.relays, Candidate{Relay: r, LiveSince: w.now.Add(-time.Hour)})
	}
	return w
}

func (w *world) relay(node string) *Candidate {
	i := slices.IndexFunc(w.relays, func(c Candidate) bool { return c.Node == node })
	return &w.relays[i]
}

func (w *world) dies(node string)    { w.relay(node).LiveSince = time.Time{} }
func (w *world) returns(node string) { w.relay(node).LiveSince = w.now }

// after lets d pass in steps of one second and returns the last decision that
// was not to stay, or the last of all.
func (w *world) after(d time.Duration) Decision {
	w.t.Helper()
	var moved Decision
	for end := w.now.Add(d); ; w.now = w.now.Add(time.Second) {
		w.step()
		if w.last.Action != Stay {
			moved = w.last
		}
		if !w.now.Before(end) {
			break
		}
	}
	if moved.Action == Wait {
		return w.last
	}
	return moved
}

func (w *world) step() {
	w.t.Helper()
	before := w.last
	d := w.policy.Step(w.now, w.relays)
	w.last = d
	live := slices.ContainsFunc(w.relays, func(c Candidate) bool { return !c.LiveSince.IsZero() && c.Weight > 0 })
	switch {
	case (d.Action == Wait) == (d.Parent.Node != ""):
		w.t.Fatalf("%s with parent %q", d.Action, d.Parent.Node)
	case d.Action == Wait && live:
		w.t.Fatal("waits although a relay is live")
	case d.Action == Wait:
		return
	case w.relay(d.Parent.Node).LiveSince.IsZero():
		w.t.Fatalf("parent %s is not live", d.Parent.Node)
	case d.Standby.Node == d.Parent.Node:
		w.t.Fatalf("%s is parent and standby", d.Parent.Node)
	case d.Standby.Node != "" && w.relay(d.Standby.Node).LiveSince.IsZero():
		w.t.Fatalf("standby %s is not live", d.Standby.Node)
	case (d.Action == Stay) != (d.Parent.Node == before.Parent.Node):
		w.t.Fatalf("%s, but the parent was %q and is %q", d.Action, before.Parent.Node, d.Parent.Node)
	case d.Action == MoveBack && w.now.Sub(w.relay(d.Parent.Node).LiveSince) < w.policy.opts.HoldDown:
		w.t.Fatalf("back to %s before it proved stable", d.Parent.Node)
	}
}

func TestAgentGoesToItsStandbyAndBack(t *testing.T) {
	w := newWorld(t, agent(1), 3)
	w.step()
	home, standby := w.last.Parent.Node, w.last.Standby.Node
	want := names(Rank(agent(1), relays(3)))
	if home != want[0] || standby != want[1] {
		t.Fatalf("parent %s and standby %s, want %s and %s", home, standby, want[0], want[1])
	}

	w.dies(home)
	w.step()
	if w.last.Action != MoveNow || w.last.Parent.Node != standby || w.last.Standby.Node != want[2] {
		t.Fatalf("after the parent's death: %+v", w.last)
	}

	w.returns(home)
	if d := w.after(29 * time.Second); d.Action == MoveBack {
		t.Fatalf("moved back within the hold-down: %+v", d)
	}
	if d := w.after(31 * time.Second); d.Action != MoveBack || d.Parent.Node != home {
		t.Fatalf("a minute after the return: %+v", d)
	}
	if w.last.Standby.Node != standby {
		t.Fatalf("standby is %s, want %s again", w.last.Standby.Node, standby)
	}
}

// The warm standby takes over even if a better relay has come back meanwhile:
// its session is open, and a death is no time to try something new.
func TestWarmStandbyTakesOver(t *testing.T) {
	w := newWorld(t, agent(1), 3)
	w.policy.opts.Spread = time.Hour // the wish for the better one stays a wish
	ranked := names(Rank(agent(1), relays(3)))
	w.dies(ranked[1])
	w.step()
	w.returns(ranked[1])
	w.after(31 * time.Second)
	w.dies(ranked[0])
	w.step()
	if w.last.Action != MoveNow || w.last.Parent.Node != ranked[2] {
		t.Errorf("took %+v, want the standby %s", w.last, ranked[2])
	}
}

func TestStableRelayIsPreferredWhenTheStandbyDiesToo(t *testing.T) {
	w := newWorld(t, agent(1), 4)
	ranked := names(Rank(agent(1), relays(4)))
	w.dies(ranked[2])
	w.step()
	w.returns(ranked[2])
	w.dies(ranked[0])
	w.dies(ranked[1])
	w.step()
	if w.last.Parent.Node != ranked[3] || w.last.Standby.Node != ranked[2] {
		t.Errorf("took %+v, want %s, which has been live for an hour", w.last, ranked[3])
	}
}

func TestRelayThatFlapsIsLeftAlone(t *testing.T) {
	w := newWorld(t, agent(1), 3)
	w.step()
	home := w.last.Parent.Node
	w.dies(home)
	w.step()
	for range 20 {
		w.returns(home)
		if d := w.after(20 * time.Second); d.Action == MoveBack {
			t.Fatalf("moved to a relay that flaps: %+v", d)
		}
		w.dies(home)
		w.after(5 * time.Second)
	}
}

func TestNobodyLiveThenOne(t *testing.T) {
	w := newWorld(t, agent(1), 2)
	w.step()
	w.dies(w.relays[0].Node)
	w.dies(w.relays[1].Node)
	w.step()
	if w.last.Action != Wait {
		t.Fatalf("without a live relay: %+v", w.last)
	}
	w.returns(w.relays[1].Node)
	w.step()
	if w.last.Action != MoveNow || w.last.Parent.Node != w.relays[1].Node {
		t.Fatalf("with one live relay: %+v", w.last)
	}
}

func TestAgentsDoNotMoveTogether(t *testing.T) {
	for name, change := range map[string]func(w *world, home string){
		"a relay returned": func(w *world, home string) { w.dies(home); w.step(); w.returns(home) },
		"a relay drains":   func(w *world, home string) { w.relay(home).Weight = 0 },
		"a relay returned twice": func(w *world, home string) {
			w.dies(home)
			w.step()
			w.returns(home)
			w.now = w.now.Add(30 * time.Second)
			w.step() // some already wish to go back
			w.dies(home)
			w.step()
			w.returns(home)
		},
	} {
		t.Run(name, func(t *testing.T) {
			const agents = 600
			perSecond := map[int]int{}
			for i := range agents {
				w := newWorld(t, agent(i), 2)
				w.step()
				change(w, w.last.Parent.Node)
				start := w.now
				for w.last.Action != MoveBack {
					w.now = w.now.Add(time.Second)
					w.step()
					if w.now.Sub(start) > 2*time.Minute {
						t.Fatalf("%s never moved", agent(i))
					}
				}
				perSecond[int(w.now.Sub(start)/time.Second)]++
			}
			for second, count := range perSecond {
				if count > agents/10 { // an even spread gives 20 a second
					t.Errorf("%d of %d agents moved in second %d", count, agents, second)
				}
			}
		})
	}
}

func TestFullParentKeepsItsChildren(t *testing.T) {
	w := newWorld(t, agent(1), 3)
	w.step()
	w.relay(w.last.Parent.Node).Full = true
	if d := w.after(5 * time.Minute); d.Action == MoveBack {
		t.Errorf("left a live parent because it is full: %+v", d)
	}
}

func TestRedirectHoldsUntilTheRelayIsStable(t *testing.T) {
	w := newWorld(t, agent(1), 3)
	w.step()
	home, other := w.last.Parent.Node, w.last.Standby.Node
	w.policy.SetParent(other)
	w.last.Parent.Node = other
	w.returns(home) // it refused: live since now
	if d := w.after(29 * time.Second); d.Action == MoveBack {
		t.Errorf("went back to the relay that redirected: %+v", d)
	}
}

// However relays come and go, an agent ends at its first choice once they
// stand still; world.step checks the rest.
func TestEveryHistoryEndsAtTheFirstChoice(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, agent(int(seed)), 4)
		for range 60 {
			c := &w.relays[rng.IntN(len(w.relays))]
			switch rng.IntN(5) {
			case 0, 1:
				c.LiveSince = time.Time{}
			case 2, 3:
				if c.LiveSince.IsZero() {
					c.LiveSince = w.now
				}
			case 4:
				c.Weight = uint32(rng.IntN(3)) * 50
			}
			w.now = w.now.Add(time.Duration(rng.IntN(20)) * time.Second)
			w.step()
		}
		for i := range w.relays {
			w.relays[i].Weight, w.relays[i].LiveSince = 100, w.now
		}
		w.after(5 * time.Minute)
		want := names(Rank(agent(int(seed)), relays(4)))
		if w.last.Parent.Node != want[0] || w.last.Standby.Node != want[1] {
			t.Fatalf("seed %d: parent %s, standby %s, want %v", seed, w.last.Parent.Node, w.last.Standby.Node, want[:2])
		}
	}
}

func TestPolicyNamesEveryFault(t *testing.T) {
	_, err := NewPolicy(PolicyOptions{HoldDown: -1, Spread: 2 * time.Hour})
	for _, part := range []string{"key", "regions", "hold-down", "spread"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not name the %s", err, part)
		}
	}
}
