//go:build !zos

package root

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/status"
	"pando/tree/wire"
)

// forward is a request in another relay's name.
func forward(relay string, m wire.Message) *wire.Forward {
	x := wire.Encode(m)
	return &wire.Forward{Relay: relay, Kind: x.Kind, Body: x.Body}
}

// A relay speaks for two below it: claims, sections in one digest, findings and
// what is expected count as theirs.
func TestARelaySpeaksForThoseBelow(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	top := g.relay("top", leader)
	var sections []wire.Section
	for n := range 3 {
		name, origin := fmt.Sprintf("eu.fra/r%d", n), fmt.Sprintf("eu.fra/a%d", n)
		var a wire.ClaimAnswer
		id := uint64(100 + n)
		top.ask(transport.LaneCritical, forward(name, &wire.Claim{ID: id, Origin: origin, WAL: 1, Term: term(1, 1), Opened: 10}), wire.KindClaimAnswer, &a)
		if !a.Granted || a.ID != id || a.Origin != origin {
			t.Fatalf("claim in the name of %s: %+v", name, a)
		}
		u := critical(origin, 1)
		sections = append(sections, section(name, u, term(1, 1), 1, 5), section(name, u, term(1, 1), 6, uint64(10+n)))
	}
	// Of the relays in turn, as they are packed.
	mixed := []wire.Section{sections[0], sections[2], sections[4], sections[1], sections[3], sections[5]}
	// What is claimed by a relay below is not the relay's own.
	mixed = append(mixed, section("eu/top", critical("eu.fra/a0", 1), term(1, 1), 11, 12))
	a := top.digest(7, mixed...)
	for i, want := range []uint64{5, 5, 5, 10, 11, 12} {
		if j := a.Judgements[i]; j.Settled != want || j.Verdict != custody.Apply {
			t.Errorf("section %d: %+v, want settled %d", i, j, want)
		}
	}
	if j := a.Judgements[6]; j.Verdict != custody.SkipTerm {
		t.Errorf("a section of another owner's unit: %+v", j)
	}
	f := finding("gateway fails", "payments/swift-gateway", time.Now().UnixNano())
	var done wire.Done
	known := wire.Expect{Unit: critical("eu.fra/a1", 1), Term: term(1, 1)}
	top.ask(transport.LaneCritical, forward("eu.fra/r1", &wire.Findings{ID: 9, Findings: []anomaly.Finding{f}, Expect: []wire.Expect{known}}), wire.KindDone, &done)
	if done.ID != 9 {
		t.Errorf("findings are answered under id %d", done.ID)
	}
	if n := g.roots[leader].fsm.view().counts.Expectations; n != 0 {
		t.Errorf("%d expectations were refused: they are the owner's", n)
	}
	doc, err := json.Marshal(status.Report{Node: status.Node{Name: "liar", State: "live", Parent: "eu/top", Address: "10.0.0.1:7070"},
		Children: []status.Node{{Name: "eu.fra/a1", Role: "agent", State: "live"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := top.s.SendControl(within(t), wire.Encode(forward("eu.fra/r1", &wire.Status{JSON: doc}))); err != nil {
		t.Fatal(err)
	}
	g.eventually("the relay below is in the tree, and in the list of nodes", func() bool {
		found := 0
		for _, n := range g.roots[leader].Tree().Nodes {
			if n.Name == "eu.fra/r1" && n.Role == "relay" && n.Region == "eu.fra" && n.Parent == "eu/top" || n.Name == "eu.fra/a1" && n.Parent == "eu.fra/r1" {
				found++
			}
		}
		m, registered := g.roots[leader].fsm.view().nodes.Get("eu.fra/r1")
		return found == 2 && registered && m.addr == "10.0.0.1:7070"
	})
}

// A relay that speaks for one that is not below it loses its session, and
// nothing of it is decided.
func TestARelaySpeaksForNoOthers(t *testing.T) {
	g := newGroup(t)
	claim := &wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1)}
	foreign := section("eu/r2", critical(agent, 1), term(1, 1), 1, 5)
	for name, m := range map[string]wire.Message{
		"a neighbour's claim":   forward("eu/r2", claim),
		"another region's":      forward("us.nyc/r2", claim),
		"a root's":              forward("core/root-1", claim),
		"a neighbour's section": &wire.Digest{ID: 1, Sections: [][]byte{wire.EncodeSection(&foreign)}},
		"a digest in disguise":  forward("eu.fra/r1", &wire.Digest{ID: 1}),
		"a vote in disguise":    &wire.Forward{Relay: "eu.fra/r1", Kind: kindVote},
	} {
		r := g.relay("r1", g.leader())
		if err := r.s.SendControl(within(t), wire.Encode(m)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-r.s.Done():
		case <-time.After(patience):
			t.Fatalf("%s: the session goes on", name)
		}
	}
	if v := g.roots[g.leader()].fsm.view(); v.units.Len() != 0 || v.counts.Claims != 0 {
		t.Errorf("%d units were claimed, by %d claims", v.units.Len(), v.counts.Claims)
	}
}
