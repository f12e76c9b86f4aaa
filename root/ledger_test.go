//go:build !zos

package root

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"pando/event"
	"pando/transport"
	"pando/tree/status"
	"pando/tree/wire"
)

// What agents hold is known at the leader. Whoever else is asked says that it
// does not know, also if it led and heard of it then.
func TestLedgerSaysWhatItDoesNotKnow(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	follower := (leader + 1) % 3
	q := g.roots[leader].newRequest("eu/r1", func(id uint64) transport.Message {
		return wire.Encode(&wire.Claim{ID: id, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10})
	})
	if _, err := g.roots[leader].decide(within(t), q); err != nil {
		t.Fatal(err)
	}
	sec := section("eu/r1", critical(agent, 1), term(1, 1), 1, 5)
	if _, err := g.roots[leader].settle(within(t), "eu/r1", transport.LaneCritical, [][]byte{wire.EncodeSection(&sec)}); err != nil {
		t.Fatal(err)
	}
	for who, i := range map[string]int{"leader": leader, "follower": follower} {
		l, err := g.roots[i].Ledger(within(t), false)
		if err != nil || l.Unreported != event.Lanes || !strings.Contains(l.Note, "missing in held") {
			t.Errorf("no report has come, the %s says %+v, %v", who, l, err)
		}
	}
	doc, err := json.Marshal(status.Report{Node: status.Node{Name: "eu/r1"}, Children: []status.Node{{Name: agent, Role: "agent",
		WAL: event.WALID(1).String(), AsOf: 99, Units: []status.Unit{{Lane: "critical", Accepted: 9}, {Lane: "bulk"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	relay := transport.Identity{Role: transport.RoleRelay, Region: "eu", Name: "r1"}
	for _, i := range []int{leader, follower} { // that led once
		if err := g.roots[i].hear(relay, wire.Encode(&wire.Status{JSON: doc}).Body); err != nil {
			t.Fatal(err)
		}
	}
	l, err := g.roots[leader].Ledger(within(t), false)
	if err != nil || l.Unreported != 0 || l.Note != "" || l.Accounts[0].Held != 4 {
		t.Errorf("the leader says %+v, %v", l, err)
	}
	api := httptest.NewServer(g.roots[follower].API())
	defer api.Close()
	var stale Ledger
	get(t, api, "/v1/ledger?stale=true", &stale)
	if stale.Unreported != event.Lanes || !strings.Contains(stale.Note, g.roots[leader].Name()) || stale.Accounts[0].Settled != 5 {
		t.Errorf("the follower says %+v", stale)
	}
}
