//go:build !zos

package root

import (
	"testing"

	"pando/event"
	"pando/tree/custody"
	"pando/tree/wire"
)

// What a restored root does not know any more is settled or entered as lost,
// never counted again and never waited for.
func TestRestoredRootGoesOn(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 1, 5)), custody.Apply, 5)
	next := section("eu/r1", u, term(1, 1), 9, 12)
	s.want(s.digest("eu/r1", next), custody.SkipPosition, 5)
	next.Head.Resumes = true
	s.want(s.digest("eu/r2", next), custody.SkipTerm, 5)
	s.want(s.digest("eu/r1", next), custody.Apply, 12)
	s.want(s.digest("eu/r1", next), custody.SkipPosition, 12)
	if v := s.f.view(); v.counts.Forfeited != 3 {
		t.Errorf("%d events forfeited, want 6 to 8", v.counts.Forfeited)
	}
	if v, _ := s.f.view().units.Get(u); v.events != 9 {
		t.Errorf("%d events counted, want 9", v.events)
	}
}

func TestRestoredRootClosesAgain(t *testing.T) {
	s := newStage(t)
	s.claim("eu/r1", agent, 2, term(1, 1), 20)
	for name, wal := range map[string]event.WALID{"open": 2, "unknown": 1} {
		t.Run(name, func(t *testing.T) {
			rest := section("eu/r3", critical(agent, wal), term(1, 1), 4, 6)
			rest.Head.Rest, rest.Head.Resumes = true, true
			j := s.digest("eu/r3", rest)
			s.want(j, custody.Apply, 6)
			if !j[0].Closed {
				t.Error("the unit stays open")
			}
			if a := s.claim("eu/r1", agent, wal, term(5, 1), 99); a.Granted || !a.Closed {
				t.Errorf("its other lane stays open: %+v", a)
			}
		})
	}
}

func TestRestoredRootStartsAnUnknownWALOnceMore(t *testing.T) {
	s := newStage(t)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	m := wire.Claim{ID: 8, Origin: agent, WAL: 2, Term: term(1, 1), Opened: 20, Started: 15}
	var a wire.ClaimAnswer
	if err := wire.Decode(s.apply(claimCommand(s.now, "eu/r1", &m)).answer.Body, &a); err != nil {
		t.Fatal(err)
	}
	if a.Granted || !a.Closed {
		t.Errorf("a WAL id that was started elsewhere: %+v", a)
	}
	// What it replaced stays in force until the agent comes with another.
	s.want(s.digest("eu/r1", section("eu/r1", critical(agent, 1), term(1, 1), 1, 5)), custody.Apply, 5)
	if a := s.claim("eu/r1", agent, 3, term(1, 1), 30); !a.Granted {
		t.Errorf("a fresh WAL id: %+v", a)
	}
}
