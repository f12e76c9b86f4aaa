//go:build !zos

package root

import (
	"encoding/json"
	"testing"

	"pando/event"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/status"
	"pando/tree/wire"
)

// sums fails the test unless the account is as given, and adds up.
func sums(t *testing.T, when string, a Account, accepted, settled, held, dropped, unknown uint64, unaccounted int64) {
	t.Helper()
	if a.Accepted != accepted || a.Settled != settled || a.Held != held || a.Dropped != dropped || a.Unknown != unknown || a.Unaccounted != unaccounted {
		t.Errorf("%s: %+v, want %d accepted = %d settled + %d held + %d dropped + %d unknown + %d unaccounted", when, a, accepted, settled, held, dropped, unknown, unaccounted)
	}
	if int64(a.Accepted) != int64(a.Settled+a.Held+a.Dropped+a.Unknown)+a.Unaccounted {
		t.Errorf("%s: it does not add up: %+v", when, a)
	}
}

// An agent's disk is lost: what it had reported does not vanish from the
// ledger. What a relay has of it is settled, and the rest may be gone, or be
// read again: at most so much.
func TestLostDiskLeavesAnUnknownRest(t *testing.T) {
	s := newStage(t)
	old := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.want(s.digest("eu/r1", section("eu/r1", old, term(1, 1), 1, 5)), custody.Apply, 5)
	word := map[unitName]acceptance{{agent, old.WAL.String(), "critical"}: {accepted: 20, settled: 5, at: s.now}}
	sums(t, "before", accounts(s.f.view(), word)[0], 20, 5, 15, 0, 0, 0)
	s.claim("eu/r1", agent, 2, term(1, 1), 20) // which says nothing of a log before
	sums(t, "the disk is lost", accounts(s.f.view(), word)[0], 20, 5, 0, 0, 15, 0)
	rest := section("eu/r1", old, term(1, 1), 6, 9)
	three := section("eu/r1", old, term(1, 1), 6, 8)
	rest.Head.Rest, rest.Rows = true, three.Rows // one of the four is read again
	s.want(s.digest("eu/r1", rest), custody.Apply, 9)
	sums(t, "a relay had some of it", accounts(s.f.view(), word)[0], 19, 8, 0, 0, 11, 0)
	s.pass(601)
	s.apply(tickCommand(s.now))
	sums(t, "in the end", accounts(s.f.view(), word)[0], 19, 8, 0, 0, 11, 0)
	sums(t, "at a leader that never heard of it", accounts(s.f.view(), nil)[0], 8, 8, 0, 0, 0, 0)
}

// Agent, relays and root each count for themselves, and the ledger shows when
// they differ.
func TestLedgerShowsWhatNobodyCanExplain(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 1, 10)), custody.Apply, 10)
	ledger := func(w acceptance) Account {
		return accounts(s.f.view(), map[unitName]acceptance{{agent, u.WAL.String(), "critical"}: w})[0]
	}
	sums(t, "all is well", ledger(acceptance{30, 10, s.now}), 30, 10, 20, 0, 0, 0)
	sums(t, "the agent has yet to hear of it", ledger(acceptance{30, 4, s.now}), 30, 10, 20, 0, 0, 0)
	sums(t, "the report is older than the events", ledger(acceptance{8, 4, s.now}), 10, 10, 0, 0, 0, 0)
	sums(t, "the agent let go of what is not settled", ledger(acceptance{30, 13, s.now}), 30, 10, 17, 0, 0, 3)
	sums(t, "the agent never had what is settled", ledger(acceptance{8, 8, s.now + 2*lagNanos}), 8, 10, 0, 0, 0, -2)
	few := section("eu/r1", u, term(1, 1), 11, 15)
	four := section("eu/r1", u, term(1, 1), 11, 14)
	few.Rows = four.Rows
	s.want(s.digest("eu/r1", few), custody.Apply, 15)
	sums(t, "a relay counted one too few", ledger(acceptance{30, 15, s.now}), 30, 14, 15, 0, 0, 1)
}

// What an agent said of its log is remembered when it speaks of another.
func TestLeaderRemembersWhatAgentsSaid(t *testing.T) {
	g := newGroup(t)
	leader := g.roots[g.leader()]
	claim := func(id event.WALID) {
		q := leader.newRequest("eu/r1", func(n uint64) transport.Message {
			return wire.Encode(&wire.Claim{ID: n, Origin: agent, WAL: id, Term: term(1, 1), Opened: uint64(10 * id)})
		})
		if _, err := leader.decide(within(t), q); err != nil {
			t.Fatal(err)
		}
	}
	say := func(name string, id event.WALID, at int64, accepted uint64) {
		doc, err := json.Marshal(status.Report{Node: status.Node{Name: "eu/r1"}, Children: []status.Node{{Name: name, Role: "agent",
			WAL: id.String(), AsOf: at, Units: []status.Unit{{Lane: "critical", Accepted: accepted}, {Lane: "bulk"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := leader.hear(transport.Identity{Role: transport.RoleRelay, Region: "eu", Name: "r1"}, wire.Encode(&wire.Status{JSON: doc}).Body); err != nil {
			t.Fatal(err)
		}
	}
	claim(1)
	say(agent, 1, 50, 7)
	say(agent, 1, 40, 5) // an older one, by another relay
	say("eu/stranger", 1, 50, 7)
	claim(2)
	say(agent, 2, 60, 3)
	got := leader.accepted()
	if a, b := got[unitName{agent, event.WALID(1).String(), "critical"}], got[unitName{agent, event.WALID(2).String(), "critical"}]; a.accepted != 7 || b.accepted != 3 || len(got) != 4 {
		t.Errorf("remembered: %v", got)
	}
	for id := event.WALID(3); id < 3*maxWords; id++ {
		say(agent, id, 100, 1)
	}
	if got := leader.accepted(); len(got) != event.Lanes*maxWords {
		t.Errorf("%d units of one agent are remembered", len(got))
	}
}
