//go:build !zos

package relay

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pando/event"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/wire"
)

func finding(n byte) anomaly.Finding { return anomaly.Finding{ID: anomaly.ID{n}, Revision: 1} }

// Two relays below use the same ids, and the root answers in another order
// than it was asked: each answer finds whoever asked, under its own id.
func TestAnswersFindTheirChild(t *testing.T) {
	s := newStage(t)
	root := s.root("root", 0)
	root.holdBack(func(h heard) bool { return h.kind != wire.KindStatus })
	s.relay("eu", "top", nil, "root:1")
	children := []*lowerRelay{s.child("eu.fra", "r1", "top:1"), s.child("eu.fra", "r2", "top:1")}
	for i, c := range children {
		c.rooted()
		n := i + 1
		c.send(&wire.Claim{ID: 1, Origin: c.name, WAL: event.WALID(n)})
		c.send(&wire.Ask{ID: 2, Units: []event.Unit{{Origin: c.name, WAL: event.WALID(n)}}})
		c.send(&wire.Findings{ID: 3, Findings: []anomaly.Finding{finding(byte(n))}})
		c.send(&wire.Digest{ID: 4, Sections: [][]byte{c.section(1, 5, 0), c.section(6, uint64(10*n), 0)}})
	}
	for _, c := range children {
		for _, kind := range []uint8{wire.KindClaim, wire.KindAsk, wire.KindFindings} {
			s.until(fmt.Sprintf("request of kind %d in the name of %s", kind, c.name), func() bool { return len(root.requests(c.name, kind)) == 1 })
		}
	}
	root.holdBack(func(heard) bool { return false })
	root.release()
	for i, c := range children {
		n := event.WALID(i + 1)
		got := map[uint8]bool{}
		for len(got) < 4 {
			m, err := c.x.ReceiveControl(s.ctx)
			if err != nil {
				t.Fatal(err)
			}
			answer, id, err := wire.Answer(m.Kind, m.Body)
			if err != nil {
				continue // the directory
			}
			got[uint8(*id)] = true
			switch a := answer.(type) {
			case *wire.ClaimAnswer:
				if a.ID != 1 || a.Origin != c.name || a.WAL != n {
					t.Errorf("%s: claim answered by %+v", c.name, a)
				}
			case *wire.DigestAnswer:
				switch {
				case a.ID == 2 && len(a.Judgements) == 1 && a.Judgements[0].Unit.WAL == n:
				case a.ID == 4 && len(a.Judgements) == 2 && a.Judgements[0].To == 5 && a.Judgements[1].To == uint64(10*n) &&
					strings.HasPrefix(a.Judgements[0].Unit.Origin, c.name):
				default:
					t.Errorf("%s: answered by %+v", c.name, a)
				}
			case *wire.Done:
				if a.ID != 3 {
					t.Errorf("%s: findings answered under id %d", c.name, a.ID)
				}
			}
		}
	}
}

// One relay below sends as much as it can, of everything, and its answers stay
// away. What its neighbour asks goes on.
func TestAFloodOfOneChildDoesNotStallTheOther(t *testing.T) {
	s := newStage(t)
	root := s.root("root", 0)
	flooder := "eu.fra/flood"
	root.holdBack(func(h heard) bool { return h.relay == flooder })
	s.relay("eu", "top", nil, "root:1")
	flood, quiet := s.child("eu.fra", "flood", "top:1"), s.child("eu.fra", "quiet", "top:1")
	flood.rooted()
	quiet.rooted()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		section := flood.section(1, 5, 200<<10)
		for id := uint64(1); ; id++ {
			for _, m := range []wire.Message{
				&wire.Digest{ID: id, Sections: [][]byte{section, section}},
				&wire.Claim{ID: id, Origin: "a", WAL: 1},
				&wire.Findings{ID: id, Findings: []anomaly.Finding{finding(1)}},
			} {
				if flood.x.SendControl(s.ctx, wire.Encode(m)) != nil {
					return
				}
			}
		}
	}()
	s.until("the flood has come", func() bool { return len(root.requests(flooder, wire.KindClaim)) > 0 })
	for id := uint64(1); id <= 20; id++ {
		quiet.send(&wire.Claim{ID: id, Origin: quiet.name, WAL: 1})
		var c wire.ClaimAnswer
		var d wire.DigestAnswer
		if quiet.next(wire.KindClaimAnswer, &c); c.ID != id {
			t.Fatalf("claim %d is answered by %d", id, c.ID)
		}
		quiet.send(&wire.Digest{ID: id, Sections: [][]byte{quiet.section(id, id, 0)}})
		if quiet.next(wire.KindDigestAnswer, &d); d.ID != id {
			t.Fatalf("digest %d is answered by %d", id, d.ID)
		}
	}
	if n := len(root.requests(flooder, wire.KindClaim)); n > lowerWindow {
		t.Errorf("%d claims without an answer were passed on, the window is %d", n, lowerWindow)
	}
	flood.x.Close("enough")
	<-stopped
}

// Bulk that the root does not answer, far more of it than a middle relay takes,
// holds up nothing that is critical, over all tiers.
func TestBulkHoldsUpNothingOverTwoTiers(t *testing.T) {
	s := newStage(t)
	root := s.root("root", 0)
	root.holdBack(func(h heard) bool { return h.bulk })
	s.relay("eu", "top", nil, "root:1")
	c := s.child("eu.fra", "r1", "top:1")
	c.rooted()
	const digests = 20
	section := c.section(1, 1, 200<<10)
	var flood sync.WaitGroup
	flood.Go(func() {
		for id := uint64(1); id <= digests; id++ {
			if err := c.x.Send(s.ctx, transport.LaneBulk, wire.Encode(&wire.Digest{ID: id, Sections: [][]byte{section}})); err != nil {
				t.Error(err)
				return
			}
		}
	})
	s.until("bulk reaches the root", func() bool { return len(root.requests("eu/top", wire.KindDigest)) == 1 })
	for id := uint64(100); id < 110; id++ {
		c.send(&wire.Findings{ID: id, Findings: []anomaly.Finding{finding(1)}})
		c.send(&wire.Digest{ID: id, Sections: [][]byte{c.section(1, 1, 0)}})
		var a wire.DigestAnswer
		if c.next(wire.KindDigestAnswer, &a); a.ID != id {
			t.Fatalf("digest %d is answered by %d", id, a.ID)
		}
	}
	root.holdBack(func(heard) bool { return false })
	root.release()
	flood.Wait()
	for id := uint64(1); id <= digests; id++ {
		var a wire.DigestAnswer
		if c.next(wire.KindDigestAnswer, &a); a.ID != id {
			t.Fatalf("digest %d is answered by %d", id, a.ID)
		}
	}
}

// Sections of several relays share a digest, and no digest is above its bound.
func TestSectionsOfSeveralRelaysShareADigest(t *testing.T) {
	s := newStage(t)
	root := s.root("root", 0)
	root.holdBack(func(h heard) bool { return h.kind == wire.KindDigest })
	s.relay("eu", "top", nil, "root:1")
	var all []*lowerRelay
	for n := range 5 {
		c := s.child("eu.fra", fmt.Sprintf("r%d", n), "top:1")
		c.rooted()
		all = append(all, c)
	}
	all[0].send(&wire.Digest{ID: 1, Sections: [][]byte{all[0].section(1, 1, 0)}})
	s.until("the first digest", func() bool { return len(root.requests("eu/top", wire.KindDigest)) == 1 })
	for _, c := range all[1:] {
		c.send(&wire.Digest{ID: 1, Sections: [][]byte{c.section(1, 1, 100<<10), c.section(2, 2, 100<<10)}})
	}
	// Whatever was received by then: a claim on the same channel came later.
	for _, c := range all {
		c.send(&wire.Claim{ID: 2, Origin: "a", WAL: 1})
		c.next(wire.KindClaimAnswer, &wire.ClaimAnswer{})
	}
	for _, c := range all {
		var a wire.DigestAnswer
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.next(wire.KindDigestAnswer, &a)
		}()
		s.until("answers to "+c.name, func() bool {
			root.release()
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
	}
	sent := root.requests("eu/top", wire.KindDigest)
	if len(sent) > 4 {
		t.Errorf("nine sections of some 110 kB took %d digests", len(sent))
	}
	for i, h := range sent {
		size := 0
		relays := map[string]bool{}
		for _, b := range h.m.(*wire.Digest).Sections {
			sec, err := wire.DecodeSection(b)
			if err != nil {
				t.Fatal(err)
			}
			relays[sec.Head.Relay] = true
			size += len(b)
		}
		if size > maxDigest {
			t.Errorf("digest %d has %d bytes, the bound is %d", i, size, maxDigest)
		}
		if i == 1 && len(relays) < 3 {
			t.Errorf("the second digest is of %d relays, four waited", len(relays))
		}
	}
}

// What the root grants is for this relay and those below it together, and goes
// to where it is needed.
func TestTheRateIsSharedOut(t *testing.T) {
	const pool = 4 << 20
	s := newStage(t)
	root := s.root("root", 0)
	s.relay("eu", "top", nil, "root:1")
	busy, idle := s.child("eu.fra", "busy", "top:1"), s.child("eu.fra", "idle", "top:1")
	busy.rooted()
	idle.rooted()
	root.say(&wire.Grant{BytesPerS: pool})
	var most, least wire.Grant
	busy.next(wire.KindGrant, &most)
	idle.next(wire.KindGrant, &least)
	if most.BytesPerS+least.BytesPerS > pool || most.BytesPerS == 0 || least.BytesPerS == 0 {
		t.Fatalf("%d and %d bytes a second of %d", most.BytesPerS, least.BytesPerS, pool)
	}
	section := busy.section(1, 1, 300<<10)
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for id := uint64(1); ; id++ {
			select {
			case <-stop:
				return
			default:
				_ = busy.x.SendControl(s.ctx, wire.Encode(&wire.Digest{ID: id, Sections: [][]byte{section}})) // shares tell
			}
		}
	})
	for most.BytesPerS <= pool*2/3 {
		busy.next(wire.KindGrant, &most)
	}
	close(stop)
	sending.Wait()
}

// The findings of one relay keep their order, however long an answer takes.
func TestFindingsOfARelayKeepTheirOrder(t *testing.T) {
	s := newStage(t)
	root := s.root("root", 0)
	root.holdBack(func(h heard) bool { return h.kind == wire.KindFindings })
	s.relay("eu", "top", nil, "root:1")
	c := s.child("eu.fra", "r1", "top:1")
	c.rooted()
	for n := range byte(10) {
		c.send(&wire.Findings{ID: uint64(n) + 1, Findings: []anomaly.Finding{finding(n)}})
	}
	for n := range 10 {
		s.until("the next findings", func() bool { return len(root.requests(c.name, wire.KindFindings)) == n+1 })
		got := root.requests(c.name, wire.KindFindings)
		if id := got[n].m.(*wire.Findings).Findings[0].ID; id != (anomaly.ID{byte(n)}) {
			t.Fatalf("finding %x comes as number %d", id, n)
		}
		root.release()
	}
}

// A relay that speaks for one it may not speak for is refused, and nothing of
// it reaches the root.
func TestOnlyRelaysAboveSpeakForOthers(t *testing.T) {
	claim := wire.Encode(&wire.Claim{ID: 1, Origin: "a", WAL: 1})
	for name, c := range map[string]struct {
		say  func(l *lowerRelay) wire.Message
		want string
	}{
		"a neighbour's section": {func(l *lowerRelay) wire.Message {
			other := &lowerRelay{name: "eu.fra/r2"}
			return &wire.Digest{ID: 1, Sections: [][]byte{other.section(1, 1, 0)}}
		}, "does not cover"},
		"a neighbour's claim": {func(*lowerRelay) wire.Message {
			return &wire.Forward{Relay: "eu.fra/r2", Kind: claim.Kind, Body: claim.Body}
		}, "does not cover"},
		"a claim of another region": {func(*lowerRelay) wire.Message {
			return &wire.Forward{Relay: "us.nyc/r2", Kind: claim.Kind, Body: claim.Body}
		}, "does not cover"},
		"this relay's own claim": {func(*lowerRelay) wire.Message {
			return &wire.Forward{Relay: "eu/top", Kind: claim.Kind, Body: claim.Body}
		}, "circle"},
		"a digest in disguise": {func(*lowerRelay) wire.Message {
			return &wire.Forward{Relay: "eu.fra.dc1/r2", Kind: wire.KindDigest, Body: wire.Encode(&wire.Digest{}).Body}
		}, "malformed"},
		"a section that cannot be read": {func(*lowerRelay) wire.Message {
			return &wire.Digest{ID: 1, Sections: [][]byte{{1, 2, 3}}}
		}, "malformed"},
		"positions that no entry could hold": {func(l *lowerRelay) wire.Message {
			s := wire.Section{Head: custody.Head{Unit: event.Unit{Origin: "a", WAL: 1}, Relay: l.name, From: 1, To: 1}}
			for n := range 2000 {
				s.Positions = append(s.Positions, event.Position{Source: fmt.Sprintf("%0250d", n)})
			}
			return &wire.Digest{ID: 1, Sections: [][]byte{wire.EncodeSection(&s)}}
		}, "malformed"},
		"an agent's message": {func(*lowerRelay) wire.Message { return &wire.Open{WAL: 1} }, "does not travel so"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			root := s.root("root", 0)
			s.relay("eu", "top", nil, "root:1")
			l := s.child("eu.fra", "r1", "top:1")
			l.rooted()
			l.send(c.say(l))
			if err := l.ended(); !strings.Contains(err.Error(), c.want) {
				t.Errorf("the session ends with %v, want %q", err, c.want)
			}
			root.mu.Lock()
			defer root.mu.Unlock()
			for _, h := range root.got {
				if h.kind != wire.KindStatus {
					t.Errorf("kind %d of %s reached the root", h.kind, h.relay)
				}
			}
		})
	}
	s := newStage(t)
	s.root("root", 0)
	s.relay("eu", "top", nil, "root:1")
	_, err := transport.Dial(s.ctx, "top:1", transport.Hello{Term: transport.Term{Epoch: 1, Session: 1}}, s.options(transport.RoleRelay, "eu", "sibling"))
	if !errors.Is(err, transport.ErrIdentity) {
		t.Errorf("a relay of the same region below: %v", err)
	}
}

// What a parent two tiers up passes on is checked there as well.
func TestRequestsCrossTwoTiers(t *testing.T) {
	s := newStage(t)
	root := s.root("root", 0)
	s.relay("eu", "top", nil, "root:1")
	s.relay("eu.fra", "mid", nil, "top:1")
	c := s.child("eu.fra.dc1", "r1", "mid:1")
	c.rooted()
	c.send(&wire.Claim{ID: 8, Origin: "a", WAL: 1})
	var a wire.ClaimAnswer
	if c.next(wire.KindClaimAnswer, &a); a.ID != 8 {
		t.Errorf("answered under id %d", a.ID)
	}
	c.send(&wire.Digest{ID: 9, Sections: [][]byte{c.section(1, 3, 0)}})
	var d wire.DigestAnswer
	if c.next(wire.KindDigestAnswer, &d); d.ID != 9 || d.Judgements[0].Settled != 3 {
		t.Errorf("answered by %+v", d)
	}
	c.send(&wire.Status{JSON: []byte(`{"node":{"name":"liar"}}`)})
	s.until("the status in its relay's name", func() bool { return len(root.requests(c.name, wire.KindStatus)) > 0 })
	if n := len(root.requests(c.name, wire.KindClaim)); n != 1 {
		t.Errorf("%d claims came in the name of %s", n, c.name)
	}
}
