//go:build !zos

package root

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/incident"
	"pando/root/consensus"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/status"
	"pando/tree/wire"
)

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestLeaderCutOff moves a relay to another leader in the middle of its work:
// what it sends twice is counted once.
func TestLeaderCutOff(t *testing.T) {
	g := newGroup(t)
	old := g.leader()
	r1 := g.relay("r1", (old+1)%3)
	if r1.at() != g.roots[old].Name() {
		t.Fatalf("the follower did not redirect to %s but to %s", g.roots[old].Name(), r1.at())
	}
	u := critical(agent, 1)
	claim := wire.Claim{ID: 41, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10}
	if a := r1.claim(claim); !a.Granted || a.ID != 41 {
		t.Fatalf("claim: %+v", a)
	}
	first := section("eu/r1", u, term(1, 1), 1, 50)
	if a := r1.digest(42, first); a.Judgements[0].Verdict != custody.Apply || a.Judgements[0].Settled != 50 {
		t.Fatalf("digest: %+v", a)
	}

	g.islands[old].setCut(true)
	now := g.leader(old)
	r1 = g.relay("r1", 3-now-old)
	if r1.at() != g.roots[now].Name() {
		t.Fatalf("connected to %s, %s leads", r1.at(), g.roots[now].Name())
	}
	if a := r1.digest(43, first); a.Judgements[0].Verdict != custody.SkipPosition || a.Judgements[0].Settled != 50 {
		t.Fatalf("the same digest again: %+v", a)
	}
	if a := r1.digest(44, section("eu/r1", u, term(1, 1), 51, 60)); a.Judgements[0].Settled != 60 {
		t.Fatalf("the next digest: %+v", a)
	}
	if _, err := g.roots[old].Units(timeout(t, time.Second), false); err == nil {
		t.Fatal("a root without a quorum answers a linearizable read")
	}
	if us, err := g.roots[old].Units(within(t), true); err != nil || us[0].Settled != 50 {
		t.Fatalf("a stale read on it: %+v, %v", us, err)
	}

	g.islands[old].setCut(false)
	g.eventually("the old leader follows", func() bool {
		us, err := g.roots[old].Units(within(t), true)
		return err == nil && us[0].Settled == 60
	})
	for i, r := range g.roots {
		us, err := r.Units(within(t), false)
		if err != nil || us[0].Events != 60 || us[0].SumExact != "60" {
			t.Fatalf("root %d: %+v, %v", i+1, us, err)
		}
	}
}

func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestFollowerPassesOn goes through a follower's link to the leader.
func TestFollowerPassesOn(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	follower := g.roots[(leader+1)%3]
	ctx := within(t)
	q := follower.newRequest("eu/r9", func(id uint64) transport.Message {
		return wire.Encode(&wire.Claim{ID: id, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10})
	})
	m, err := follower.decide(ctx, q)
	var a wire.ClaimAnswer
	if err == nil {
		err = wire.Decode(m.Body, &a)
	}
	if err != nil || !a.Granted {
		t.Fatalf("claim through a follower: %+v, %v", a, err)
	}
	sec := section("eu/r9", critical(agent, 1), term(1, 1), 1, 5)
	js, err := follower.settle(ctx, "eu/r9", transport.LaneCritical, [][]byte{wire.EncodeSection(&sec)})
	// A digest whose answer was lost is sent again: the copy is skipped, and
	// says that the first one counted.
	if err != nil || js[0].Settled != 5 {
		t.Fatalf("digest through a follower: %+v, %v", js, err)
	}
	if _, err := follower.settle(ctx, "eu/r9", transport.LaneCritical, [][]byte{{1, 2, 3}}); !errors.Is(err, errMalformed) {
		t.Fatalf("bytes that are no section: %v", err)
	}
	// A linearizable read on the follower sees what was just acknowledged.
	us, err := follower.Units(ctx, false)
	if err != nil || us[0].Settled != 5 {
		t.Fatalf("%+v, %v", us, err)
	}
	ask := follower.newRequest("eu/r9", func(id uint64) transport.Message {
		return wire.Encode(&wire.Ask{ID: id, Units: []event.Unit{critical(agent, 1), critical("eu/nobody", 1)}})
	})
	var d wire.DigestAnswer
	if m, err = follower.decide(ctx, ask); err == nil {
		err = wire.Decode(m.Body, &d)
	}
	if err != nil || d.Judgements[0].Settled != 5 || d.Judgements[0].To != 0 || d.Judgements[1].Settled != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	// All members vote on the leader's marks, followers through their link.
	g.eventually("three votes", func() bool { return follower.State().Agreed == 3 })
	g.eventually("the leader's tree", func() bool {
		states := map[string]int{}
		for _, n := range g.roots[leader].Tree().Nodes {
			states[n.Role+" "+n.State]++
		}
		return states["root leader"] == 1 && states["root follower"] == 2 && states["agent silent"]+states["agent unknown"] == 1
	})
}

func TestRelayMayNotForward(t *testing.T) {
	g := newGroup(t)
	r1 := g.relay("r1", g.leader())
	claim := wire.Encode(&wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1)})
	if err := r1.s.SendControl(within(t), wire.Encode(&wire.Forward{Relay: "eu/r2", Kind: claim.Kind, Body: claim.Body})); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r1.s.Done():
	case <-time.After(patience):
		t.Fatal("the session goes on")
	}
	if n := g.roots[g.leader()].fsm.view().units.Len(); n != 0 {
		t.Fatalf("%d units were claimed", n)
	}
}

// TestIncidentIsServed follows a finding from a relay to the API of a
// follower.
func TestIncidentIsServed(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	follower := g.roots[(leader+1)%3]
	api := httptest.NewServer(follower.API())
	defer api.Close()
	defer api.CloseClientConnections()
	r1 := g.relay("r1", leader)
	f := finding("gateway fails", "payments/swift-gateway", time.Now().UnixNano())
	f.Evidence = []anomaly.Ref{{Unit: critical(agent, 1), From: 3, To: 9}}
	var done wire.Done
	r1.ask(transport.LaneCritical, &wire.Findings{ID: 9, Findings: []anomaly.Finding{f}}, wire.KindDone, &done)
	if done.ID != 9 {
		t.Fatalf("findings are answered by %+v", done)
	}
	var list struct{ Incidents []incident.Summary }
	get(t, api, "/v1/incidents", &list)
	if len(list.Incidents) != 1 || list.Incidents[0].First != "payments/swift-gateway" {
		t.Fatalf("%+v", list)
	}
	var d incident.Detail
	get(t, api, "/v1/incidents/"+list.Incidents[0].ID, &d)
	if len(d.Findings) != 1 || d.Findings[0].Index == 0 || d.Findings[0].Evidence[0] != (incident.Evidence{Unit: critical(agent, 1).String(), From: 3, To: 9}) {
		t.Fatalf("%+v", d)
	}
	resp, err := api.Client().Get(api.URL + "/v1/incidents/watch?from=0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	var c Change
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &c) != nil || c.Kind != "opened" || c.ID != d.ID {
		t.Fatalf("watch says %q", lines.Text())
	}
	if _, err := follower.Incident(within(t), "INC-NONE", false); !errors.Is(err, ErrUnknown) {
		t.Fatalf("an incident that is none: %v", err)
	}
	if n := g.roots[leader].Detections().Count; n != 1 {
		t.Fatalf("%d detections were measured", n)
	}
}

func get(t testing.TB, api *httptest.Server, path string, into any) {
	t.Helper()
	resp, err := api.Client().Get(api.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestStatusesMakeTheTree(t *testing.T) {
	g := newGroup(t)
	leader := g.roots[g.leader()]
	r1 := g.relay("r1", 0)
	doc, err := json.Marshal(status.Report{
		Node:     status.Node{Name: "eu/liar", Role: "root", State: "live", AsOf: 5},
		Children: []status.Node{{Name: "eu/a1", Role: "agent", Region: "eu", State: "live", AsOf: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r1.s.SendControl(within(t), wire.Encode(&wire.Status{JSON: doc})); err != nil {
		t.Fatal(err)
	}
	g.eventually("relay and agent in the tree", func() bool {
		found := 0
		for _, n := range leader.Tree().Nodes {
			if n.Name == "eu/r1" && n.Role == "relay" && n.State == "live" || n.Name == "eu/a1" && n.Parent == "eu/r1" {
				found++
			}
			if n.Name == "eu/liar" {
				t.Fatal("a relay named itself")
			}
		}
		return found == 2
	})
}

// TestStoppedGroupReplays stops all roots, replays each one's log, starts
// them again and finds everything where it was.
func TestStoppedGroupReplays(t *testing.T) {
	g := newGroup(t)
	g.leader()
	r1 := g.relay("r1", 0)
	r1.claim(wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10})
	for n := range uint64(20) {
		r1.digest(n, section("eu/r1", critical(agent, 1), term(1, 1), n+1, n+1))
	}
	r1.s.Close("done")
	for _, r := range g.roots {
		if err := r.node.Snapshot(); err != nil {
			t.Logf("snapshot: %v", err) // one that has nothing new
		}
	}
	g.stopAll()
	for i := range g.roots {
		rep, err := Replay(ReplayOptions{Dir: g.data(i)})
		if err != nil || !rep.Identical || rep.Hashes == 0 || rep.Records < 20 {
			t.Fatalf("replay of root %d: %+v, %v", i+1, rep, err)
		}
	}
	for i := range g.roots {
		g.open(i)
	}
	g.start()
	us, err := g.roots[g.leader()].Units(within(t), false)
	if err != nil || len(us) != 2 || us[0].Settled != 20 {
		t.Fatalf("after the restart: %+v, %v", us, err)
	}
}

func TestReplayFindsDamage(t *testing.T) {
	if _, err := Replay(ReplayOptions{Dir: t.TempDir()}); err == nil {
		t.Fatal("an empty folder was replayed")
	}
	dir := t.TempDir()
	o := consensus.DefaultOptions()
	o.ID, o.Dir, o.Bind, o.BootstrapExpect = "core/root-1", raftDir(dir), "127.0.0.1:0", 1
	f, err := NewFSM()
	if err != nil {
		t.Fatal(err)
	}
	o.FSM, o.Servers = f, []consensus.Server{{ID: o.ID, Addr: "127.0.0.1:1"}}
	n, err := consensus.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	<-n.Leadership()
	// Three members, of which the other two never voted: this one's log holds
	// a vote for a state that was another.
	for _, cmd := range [][]byte{claimCommand(1, "eu/r1", &wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 1}), markCommand(2, 3),
		voteCommand(3, "core/root-1", 2, event.Hash{1})} {
		if _, _, err := n.Propose(ctx, cmd); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	rep, err := Replay(ReplayOptions{Dir: dir})
	if err != nil || rep.Identical || rep.Hashes != 1 || !strings.Contains(rep.Fault, "core/root-1") {
		t.Fatalf("%+v, %v", rep, err)
	}
}

func TestOptionsNameEveryFault(t *testing.T) {
	dir := t.TempDir()
	o := DefaultOptions()
	o.TickEvery = 0
	err := o.Validate()
	for _, part := range []string{"dir:", "tls:", "listen:", "tick every:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Fatalf("%v does not name %q", err, part)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "raft")); err == nil {
		t.Fatal("checking made a folder")
	}
}
