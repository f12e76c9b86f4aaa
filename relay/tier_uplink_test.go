//go:build !zos

package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pando/transport"
	"pando/tree/wire"
)

// The way to the root goes and comes back: the relay below keeps its session
// and hears of both, and what had no answer gets none that is late.
func TestTheUplinkComesAndGoes(t *testing.T) {
	s := newStage(t)
	root := s.root("root", 0)
	root.holdBack(func(h heard) bool { return h.kind == wire.KindClaim })
	s.relay("eu", "top", nil, "root:1")
	c := s.child("eu.fra", "r1", "top:1")
	first := c.rooted()
	c.send(&wire.Claim{ID: 1, Origin: "a", WAL: 1})
	s.until("the claim", func() bool { return len(root.requests(c.name, wire.KindClaim)) == 1 })
	root.cutOff()
	var m wire.Uplink
	if c.next(wire.KindUplink, &m); m.Life != 0 {
		t.Errorf("the root went, the relay hears of life %d", m.Life)
	}
	root.holdBack(func(heard) bool { return false })
	if again := c.rooted(); again <= first {
		t.Errorf("the new life is %d, the old one was %d", again, first)
	}
	c.send(&wire.Claim{ID: 2, Origin: "a", WAL: 1})
	var a wire.ClaimAnswer
	if c.next(wire.KindClaimAnswer, &a); a.ID != 2 {
		t.Errorf("answer to claim %d, want that to 2", a.ID)
	}
}

// Each of two relays names the other as its parent, and one of them a root,
// too. Both must end up with a root.
func TestACircleOfRelaysIsOpened(t *testing.T) {
	s := newStage(t)
	s.root("root", 0)
	a, _ := s.relay("ap.x", "a", []string{"eu"}, "b:1")
	b, _ := s.relay("eu.x", "b", []string{"ap"}, "a:1", "root:1")
	s.until("both have a root", func() bool { return a.Health() == nil && b.Health() == nil })
	if a.Status().Parent != "eu.x/b" || b.Status().Parent != "core/root" {
		t.Errorf("a is below %s, b below %s", a.Status().Parent, b.Status().Parent)
	}
	_, err := transport.Dial(s.ctx, "a:1", transport.Hello{Term: transport.Term{Epoch: 1 << 60, Session: 1}}, s.options(transport.RoleRelay, "eu.x", "b"))
	if err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("b below a, which is below b: %v", err)
	}
}

// A parent whose way to the root leads over this relay, or over more nodes than
// any tree has tiers, is left.
func TestAParentInACircleIsLeft(t *testing.T) {
	deep := make([]string, wire.MaxPath)
	for n := range deep {
		deep[n] = fmt.Sprintf("eu/t%d", n)
	}
	for name, path := range map[string][]string{"this relay": {"eu/x", "eu.fra/r1", "core/root"}, "too many": deep} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			l, err := transport.Listen("top:1", s.options(transport.RoleRelay, "eu", "top"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			r, _ := s.relay("eu.fra", "r1", nil, "top:1")
			x, err := l.Accept(s.ctx)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { x.Close("the test is over") })
			if err := x.SendControl(s.ctx, wire.Encode(&wire.Uplink{Life: 1, Path: path})); err != nil {
				t.Fatal(err)
			}
			if err := (&lowerRelay{s: s, name: "top", x: x}).ended(); !strings.Contains(err.Error(), "circle") {
				t.Errorf("the session ends with %v", err)
			}
			if r.Health() == nil {
				t.Error("the relay believes that it has a root")
			}
		})
	}
}

// Bounds add up along the path, and root time is within them at its end.
func TestRootTimeOverTwoTiers(t *testing.T) {
	const bound, upper, lower = 7 * time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond
	s := newStage(t)
	for _, e := range []struct {
		a, b string
		d    time.Duration
	}{{"root", "top", upper}, {"top", "r1", lower}} {
		s.net.Delay(e.a, e.b, e.d)
		s.net.Delay(e.b, e.a, e.d)
	}
	s.root("root", int64(bound))
	top, _ := s.relay("eu", "top", nil, "root:1")
	r1, _ := s.relay("eu.fra", "r1", nil, "top:1")
	s.until("root time at both", func() bool {
		_, _, one := top.clock.Root()
		_, _, two := r1.clock.Root()
		return one && two
	})
	for _, c := range []struct {
		r     *Relay
		least time.Duration
	}{{top, bound + upper}, {r1, bound + upper + lower}} {
		before := rootTime()
		now, b, _ := c.r.clock.Root()
		after := rootTime()
		if b < int64(c.least) {
			t.Errorf("%s: bound %s, the path alone makes %s", c.r.Name(), time.Duration(b), c.least)
		}
		if now+b < before || now-b > after {
			t.Errorf("%s: root time %d ± %d, it is %d to %d", c.r.Name(), now, b, before, after)
		}
	}
}
