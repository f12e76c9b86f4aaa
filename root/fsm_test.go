//go:build !zos

package root

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pando/event"
	"pando/root/consensus"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/wire"
)

const agent = "eu/a1"

func TestOwnerSettlesInOrder(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	if a := s.claim("eu/r1", agent, 1, term(1, 1), 10); !a.Granted || a.Closed || a.ID != 7 {
		t.Fatalf("first claim: %+v", a)
	}
	first := section("eu/r1", u, term(1, 1), 1, 5)
	s.want(s.digest("eu/r1", first), custody.Apply, 5)
	s.want(s.digest("eu/r1", first), custody.SkipPosition, 5) // the same again
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 8, 9)), custody.SkipPosition, 5)
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 6, 9)), custody.Apply, 9)
	s.counted(u, 9)
	v := s.f.view()
	total, _ := v.series.Get(stream.Series{Entity: "shop/" + agent, Signal: "http.200"})
	if total == nil || total.count != 9 || total.sum.String() != "9" {
		t.Fatalf("series: %+v", total)
	}
	if v.edges != 1 {
		t.Fatalf("%d edges", v.edges)
	}
}

func TestLedgerAddsUp(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	for _, part := range []struct{ from, to, lost uint64 }{{1, 5, 0}, {6, 9, 70}, {10, 12, 30}} {
		sec := section("eu/r1", u, term(1, 1), part.from, part.to)
		if part.lost > 0 {
			less := section("eu/r1", u, term(1, 1), part.from, part.to-1)
			sec.Rows = less.Rows // the last event tells of the loss
			sec.Rows.Losses, sec.Rows.Lost = 1, []stream.Lost{{Reason: event.Overflow, Count: part.lost, First: int64(part.from), Last: int64(part.to)}}
		}
		s.want(s.digest("eu/r1", sec), custody.Apply, part.to)
	}
	want := Account{Origin: agent, WAL: u.WAL.String(), Lane: "critical", Accepted: 112, Settled: 12, Dropped: 100,
		Lost: []Loss{{Reason: "overflow", Count: 100, From: 6, To: 12, First: 6, Last: 12}}}
	if got := accounts(s.f.view(), nil)[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("account %+v, want %+v", got, want)
	}
	reports := map[unitName]acceptance{{agent, u.WAL.String(), "critical"}: {accepted: 20, at: 99}}
	want.Accepted, want.Held, want.AsOf = 120, 8, 99
	if got := accounts(s.f.view(), reports)[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("with the agent's report: %+v, want %+v", got, want)
	}
}

// What a replaced log left behind is held while a relay may still settle it,
// and dropped afterwards; what is read again is not missing.
func TestReplacedLogIsAccountedFor(t *testing.T) {
	s := newStage(t)
	old := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.digest("eu/r1", section("eu/r1", old, term(1, 1), 1, 5))
	claim := wire.Claim{Origin: agent, WAL: 2, Term: term(2, 1), Opened: 20,
		Estate: wire.Estate{WAL: 1, Last: [event.Lanes]uint64{20}, Unread: [event.Lanes]uint64{8}}}
	s.apply(claimCommand(s.now, "eu/r1", &claim))
	s.apply(claimCommand(s.now, "eu/r1", &claim)) // said again after a reconnect
	is := func(when string, settled, held, dropped uint64) {
		t.Helper()
		a := accounts(s.f.view(), nil)[0]
		if a.Settled != settled || a.Held != held || a.Dropped != dropped || a.Accepted != settled+held+dropped {
			t.Errorf("%s: %+v, want %d settled, %d held, %d dropped", when, a, settled, held, dropped)
		}
	}
	is("at first", 5, 8, 0)
	rest := section("eu/r1", old, term(1, 1), 6, 9)
	three := section("eu/r1", old, term(1, 1), 6, 8)
	rest.Head.Rest, rest.Rows = true, three.Rows // one of the four is read again
	s.want(s.digest("eu/r1", rest), custody.Apply, 9)
	is("after a rest", 8, 5, 0)
	s.pass(601)
	s.apply(tickCommand(s.now))
	is("in the end", 8, 0, 5)
	if lost := accounts(s.f.view(), nil)[0].Lost; len(lost) != 1 || lost[0].Reason != "replaced" || lost[0].From != 10 || lost[0].To != 20 {
		t.Errorf("lost %+v", lost)
	}
}

// A rest may be settled before the agent, or a clone of it, says what it left
// behind.
func TestEstateThatComesAfterTheRest(t *testing.T) {
	s := newStage(t)
	old := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.digest("eu/r1", section("eu/r1", old, term(1, 1), 1, 5))
	s.claim("eu/r1", agent, 2, term(2, 1), 20)
	rest := section("eu/r1", old, term(1, 1), 6, 9)
	three := section("eu/r1", old, term(1, 1), 6, 8)
	rest.Head.Rest, rest.Rows = true, three.Rows // one of the four is read again
	s.want(s.digest("eu/r1", rest), custody.Apply, 9)
	s.apply(claimCommand(s.now, "eu/r1", &wire.Claim{Origin: agent, WAL: 2, Term: term(2, 2), Opened: 21,
		Estate: wire.Estate{WAL: 1, Last: [event.Lanes]uint64{20}, Unread: [event.Lanes]uint64{8}}}))
	a := accounts(s.f.view(), nil)[0]
	if a.Settled != 8 || a.Held != 5 || a.Dropped != 0 || a.Unaccounted != 0 || a.Accepted != 13 {
		t.Errorf("%+v, want 8 settled, 5 held, nothing unaccounted for", a)
	}
}

func TestHigherTermTakesUnitOver(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 1, 5)), custody.Apply, 5)
	a := s.claim("eu/r2", agent, 1, term(1, 2), 11)
	if !a.Granted || a.Settled[0] != 5 || a.Chain[0] != chain(u, 5) {
		t.Fatalf("second relay's claim: %+v", a)
	}
	if again := s.claim("eu/r2", agent, 1, term(1, 2), 11); !again.Granted {
		t.Fatalf("a retry was refused: %+v", again)
	}
	if late := s.claim("eu/r1", agent, 1, term(1, 1), 10); late.Granted || late.Known != term(1, 2) {
		t.Fatalf("the old term was granted: %+v", late)
	}
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 6, 7)), custody.SkipTerm, 5)
	// A relay cannot speak in another's name: the certificate counts.
	s.want(s.digest("eu/r1", section("eu/r2", u, term(1, 2), 6, 7)), custody.SkipTerm, 5)
	s.want(s.digest("eu/r2", section("eu/r2", u, term(1, 2), 6, 7)), custody.Apply, 7)
	s.counted(u, 7)
	if o, _ := s.f.view().origins.Get(agent); o.relay != "eu/r2" {
		t.Fatalf("the agent is at %q", o.relay)
	}
}

func TestOtherContentIsRefused(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 1, 5)), custody.Apply, 5)
	rolledBack := section("eu/r1", u, term(1, 1), 6, 9)
	rolledBack.Head.Before = chain(u, 4)
	s.want(s.digest("eu/r1", rolledBack), custody.RefuseDiverge, 5)
	s.counted(u, 5)
}

func TestSectionsAreJudgedAlone(t *testing.T) {
	s := newStage(t)
	a, b := critical("eu/a", 1), critical("eu/b", 2)
	s.claim("eu/r1", "eu/a", 1, term(1, 1), 10)
	s.claim("eu/r1", "eu/b", 2, term(1, 1), 10)
	js := s.digest("eu/r1", section("eu/r1", a, term(1, 1), 3, 4), section("eu/r1", b, term(1, 1), 1, 2), section("eu/r1", critical("eu/c", 3), term(1, 1), 1, 2))
	got := fmt.Sprint(js[0].Verdict, ", ", js[1].Verdict, ", ", js[2].Verdict)
	if want := "not at the settled position, applied, old term"; got != want {
		t.Fatalf("judged %q, want %q", got, want)
	}
	s.counted(b, 2)
}

func TestNewWALClosesTheOldAndInheritsPositions(t *testing.T) {
	s := newStage(t)
	old, fresh := critical(agent, 1), critical(agent, 2)
	at := func(source, file string, offset int64) event.Position {
		return event.Position{Source: source, File: file, Offset: offset, Replayable: true}
	}
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.digest("eu/r1", section("eu/r1", old, term(1, 1), 1, 5, at("log#1:2.0", "1:2.0/0/10:aa", 100)))
	s.digest("eu/r1", section("eu/r1", old, term(1, 1), 6, 6, at("log#1:2.0", "1:2.0/0/256:bb", 300), at("log#1:3.0", "f", 7)))
	known := anomaly.Expectations{Since: epoch, Codes: []stream.Series{{Entity: "e", Signal: "c"}}}
	s.report("eu/r1", wire.Findings{ID: 1, Expect: []wire.Expect{{Unit: old, Term: term(1, 1), Known: known}}})

	a := s.claim("eu/r2", agent, 2, term(1, 3), 12)
	if !a.Granted || a.Settled[0] != 0 || len(a.Positions[1]) != 0 {
		t.Fatalf("claim of the new WAL: %+v", a)
	}
	if got, want := fmt.Sprint(a.Positions[0]), "[{log#1:2.0 1:2.0/0/256:bb 300 true} {log#1:3.0 f 7 true}]"; got != want {
		t.Fatalf("positions %s, want %s", got, want)
	}
	for l := range event.Lanes {
		if len(a.Expect[l].Codes) != 1 || a.Expect[l].Since != epoch {
			t.Fatalf("lane %d inherits %+v", l, a.Expect[l])
		}
	}
	// The old WAL id takes nothing but its rest, which counts and moves no
	// position: the new one reads on from those it was given.
	s.want(s.digest("eu/r1", section("eu/r1", old, term(1, 1), 7, 8)), custody.SkipClosed, 6)
	rest := section("eu/r1", old, term(1, 1), 7, 8, at("log#1:2.0", "1:2.0/0/256:bb", 900))
	rest.Head.Rest = true
	s.want(s.digest("eu/r1", rest), custody.Apply, 8)
	s.counted(old, 8)
	if o, _ := s.f.view().origins.Get(agent); o.positions[0][0].Offset != 300 {
		t.Fatalf("the rest moved a position: %+v", o.positions[0])
	}
	late := s.claim("eu/r1", agent, 1, term(9, 9), 11)
	if late.Granted || !late.Closed || late.Settled[0] != 8 {
		t.Fatalf("a late claim of the old WAL: %+v", late)
	}
	s.want(s.digest("eu/r2", section("eu/r2", fresh, term(1, 3), 1, 3)), custody.Apply, 3)
}

func TestLateClaimOfAnOldWALClosesIt(t *testing.T) {
	s := newStage(t)
	s.claim("eu/r2", agent, 2, term(1, 2), 20)
	a := s.claim("eu/r1", agent, 1, term(1, 1), 10)
	if a.Granted || !a.Closed {
		t.Fatalf("claim of a WAL that was replaced before it was known: %+v", a)
	}
	rest := section("eu/r1", critical(agent, 1), term(1, 1), 1, 4)
	rest.Head.Rest = true
	s.want(s.digest("eu/r1", rest), custody.Apply, 4)
}

// An agent's disk is lost, so a new WAL id takes over; then an image of the old
// disk is put back. It must not come into force again, nor close the new one.
func TestClosedWALThatReturnsStaysClosed(t *testing.T) {
	s := newStage(t)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	s.claim("eu/r1", agent, 2, term(1, 1), 20)
	a := s.claim("eu/r1", agent, 1, term(9, 9), 30)
	if a.Granted || !a.Closed {
		t.Fatalf("the claim of a WAL id that was replaced: %+v", a)
	}
	s.want(s.digest("eu/r1", section("eu/r1", critical(agent, 2), term(1, 1), 1, 3)), custody.Apply, 3)
	if a := s.claim("eu/r1", agent, 3, term(1, 1), 40); !a.Granted {
		t.Fatalf("the claim of the WAL id that the agent opens then: %+v", a)
	}
}

func TestExpectationsComeFromTheOwner(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	expect := func(code string, t custody.Term) wire.Findings {
		return wire.Findings{Expect: []wire.Expect{{Unit: u, Term: t, Known: anomaly.Expectations{Since: epoch, Codes: []stream.Series{{Entity: "e", Signal: code}}}}}}
	}
	s.report("eu/r2", expect("by-a-stranger", term(1, 1)))
	s.report("eu/r1", expect("by-an-old-term", term(0, 9)))
	s.report("eu/r1", expect("one", term(1, 1)))
	s.report("eu/r1", expect("two", term(1, 1)))
	a := s.claim("eu/r2", agent, 1, term(1, 2), 11)
	if got := fmt.Sprint(a.Expect[0].Codes); got != "[e one e two]" {
		t.Fatalf("expected codes %s", got)
	}
}

func TestExpectationsAreBounded(t *testing.T) {
	var x anomaly.Expectations
	for i := range anomaly.MaxCodes {
		x.Codes = append(x.Codes, stream.Series{Entity: strings.Repeat("e", 200), Signal: fmt.Sprintf("code-%05d", i)})
	}
	if b := fit(&x, MaxExpect); len(b) > MaxExpect || !x.Partial {
		t.Fatalf("%d bytes, partial %v", len(b), x.Partial)
	}
}

func TestPositionsAreBounded(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	for n := range uint64(3) {
		var ps []event.Position
		for i := range 1000 {
			ps = append(ps, event.Position{Source: fmt.Sprintf("log#%d-%04d", n, i), File: "f", Offset: 1})
		}
		s.pass(1)
		s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), n+1, n+1, ps...)), custody.Apply, n+1)
	}
	o, _ := s.f.view().origins.Get(agent)
	if len(o.positions[0]) != MaxPositions || s.f.view().counts.Positions != 3000-MaxPositions {
		t.Fatalf("%d positions are kept, %d were dropped", len(o.positions[0]), s.f.view().counts.Positions)
	}
	if first := o.positions[0][0].Source; first != "log#0-0952" {
		t.Fatalf("the oldest that is left is %s", first)
	}
}

func TestLostDisksAreBounded(t *testing.T) {
	s := newStage(t)
	for i := range event.WALID(MaxWALs + 3) {
		if a := s.claim("eu/r1", agent, i+1, term(1, 1), uint64(i)+1); !a.Granted {
			t.Fatalf("WAL %d: %+v", i+1, a)
		}
	}
	if n := s.f.view().units.Len(); n != MaxWALs*event.Lanes {
		t.Fatalf("%d units", n)
	}
	// A forgotten WAL id must not be counted from its beginning again.
	if a := s.claim("eu/r1", agent, 1, term(2, 1), 1); a.Granted || !a.Closed {
		t.Fatalf("%+v", a)
	}
	rest := section("eu/r1", critical(agent, 1), term(1, 1), 1, 4)
	rest.Head.Rest = true
	s.want(s.digest("eu/r1", rest), custody.SkipClosed, 4)
}

// A relay holds the rest of a WAL id that the root has forgotten. It must be
// told to let go, or it keeps its log for ever; what is given up is counted.
func TestRestOfAForgottenWALIsGivenUp(t *testing.T) {
	s := newStage(t)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 1)
	s.want(s.digest("eu/r1", section("eu/r1", u, term(1, 1), 1, 10)), custody.Apply, 10)
	for i := range event.WALID(MaxWALs) {
		s.claim("eu/r2", agent, i+2, term(1, 1), uint64(i)+2)
	}
	if j := s.f.view().settledUnits([]event.Unit{u, critical("eu/nobody", 1), critical(agent, 99)}); !j[0].Closed || j[1].Closed || !j[2].Closed {
		t.Fatalf("asked for a unit that is forgotten, one of an unknown agent, and one that was closed before it was known: %+v", j)
	}
	for _, rest := range []bool{false, true} { // its relay may not know yet that it is closed
		given := s.f.view().counts.GivenUp
		sec := section("eu/r1", u, term(1, 1), 11, 14)
		sec.Head.Rest = rest
		js := s.digest("eu/r1", sec)
		s.want(js, custody.SkipClosed, 14)
		if !js[0].Closed || js[0].Chain != chain(u, 14) {
			t.Fatalf("rest %t: %+v", rest, js[0])
		}
		if n := s.f.view().counts.GivenUp - given; n != 4 {
			t.Fatalf("rest %t: %d events are counted as given up, want 4", rest, n)
		}
	}
	before := s.f.view().settled
	stranger := section("eu/r1", u, term(1, 1), 15, 20)
	s.want(s.digest("eu/r2", stranger), custody.SkipTerm, 0)
	if v := s.f.view(); v.counts.GivenUp != 8 || v.settled != before {
		t.Fatalf("%d events given up, %d settled; want 8, and none", v.counts.GivenUp, v.settled-before)
	}
	if _, ok := s.f.view().units.Get(u); ok {
		t.Fatal("a forgotten unit came back")
	}
}

// What is settled goes before what a relay is known to hold the rest of.
func TestSettledWALsAreForgottenFirst(t *testing.T) {
	s := newStage(t)
	held, done := critical(agent, 1), critical(agent, 2)
	s.claim("eu/r1", agent, 1, term(1, 1), 1)
	s.claim("eu/r1", agent, 2, term(1, 1), 2)
	s.want(s.digest("eu/r1", section("eu/r1", held, term(1, 1), 1, 10)), custody.SkipClosed, 0)
	s.want(s.digest("eu/r1", section("eu/r1", done, term(1, 1), 1, 10)), custody.Apply, 10)
	for i := range event.WALID(MaxWALs) - 1 {
		s.claim("eu/r2", agent, i+3, term(1, 1), uint64(i)+3)
	}
	v := s.f.view()
	if _, ok := v.units.Get(done); ok || v.counts.WALs != 1 {
		t.Fatalf("%d WAL ids are forgotten, and not the settled one", v.counts.WALs)
	}
	rest := section("eu/r1", held, term(1, 1), 1, 10)
	rest.Head.Rest = true
	s.want(s.digest("eu/r1", rest), custody.Apply, 10)
	if n := s.f.view().counts.GivenUp; n != 0 {
		t.Fatalf("%d events were given up", n)
	}
	// Now the first is settled, too, and the next to go.
	s.claim("eu/r2", agent, 1000, term(1, 1), 1000)
	if _, ok := s.f.view().units.Get(held); ok {
		t.Fatal("a WAL id whose rest is settled is kept longer than others")
	}
	again := restored(t, snapshot(t, s.f))
	if again.state.sum() != s.f.state.sum() {
		t.Fatal("another hash of the state after a restart from a snapshot")
	}
}

func TestMalformedCommandsChangeNothing(t *testing.T) {
	s := newStage(t)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	good := section("eu/r1", critical(agent, 1), term(1, 1), 1, 2)
	res := s.apply(digestCommand(s.now, "eu/r1", [][]byte{{0xc1}, wire.EncodeSection(&good)}))
	var a wire.DigestAnswer
	if err := wire.Decode(res.answer.Body, &a); err != nil || res.fault == "" || len(a.Judgements) != 2 || a.Judgements[1].Verdict != custody.Apply {
		t.Fatalf("%+v, fault %q, %v", a, res.fault, err)
	}
	w := command(cmdClaim, s.now)
	w.String("eu/r1")
	w.Bin([]byte{1, 2})
	if res := s.apply(w.Bytes()); res.fault == "" {
		t.Fatal("half a claim was taken")
	}
	s.counted(critical(agent, 1), 2)
	if n := s.f.view().counts.Malformed; n != 2 {
		t.Fatalf("%d malformed", n)
	}
	for _, cmd := range [][]byte{nil, {0xc1}, command(cmdPatterns+1, 0).Bytes()} {
		if _, err := s.f.Apply(consensus.At{Index: 99}, cmd); err == nil {
			t.Fatalf("command % x of an unknown kind was applied", cmd)
		}
	}
}

func TestFindingsMakeIncidentsOnce(t *testing.T) {
	s := newStage(t)
	first := finding("gateway fails", "payments/swift-gateway", epoch)
	second := finding("checkout fails", "shop/checkout", epoch+1e9)
	second.Peer = "payments/swift-gateway"
	s.pass(2)
	s.report("eu/r1", wire.Findings{ID: 3, Findings: []anomaly.Finding{second}})
	s.report("eu/r2", wire.Findings{ID: 4, Findings: []anomaly.Finding{first}})
	count := s.f.view().changed
	s.report("eu/r2", wire.Findings{ID: 4, Findings: []anomaly.Finding{first}}) // again
	v := s.f.view()
	if n := v.openIncidents(); n != 1 || v.changed != count {
		t.Fatalf("%d open incidents, %d changes and then %d", n, count, v.changed)
	}
	if i := v.set.Incidents()[0]; i.First != "payments/swift-gateway" || len(i.Findings) != 2 {
		t.Fatalf("%+v", i)
	}
	if c, ok := v.commits.Get(first.ID); !ok || c.index != 2 {
		t.Fatalf("commit of the first finding: %+v", c)
	}
	s.pass(3600)
	s.apply(tickCommand(s.now))
	last := s.f.view().changes[len(s.f.view().changes)-1]
	if last.Kind != "resolved" || last.Index != s.at.Index || last.At != s.now {
		t.Fatalf("after an hour: %+v", last)
	}
}

func TestProvisionalIDLeadsToTheRootsIncident(t *testing.T) {
	s := newStage(t)
	cause, effect := finding("gateway fails", "payments/swift-gateway", epoch), finding("job fails", "sysplex1/LPARA/JOB", epoch+1e9)
	effect.Peer = cause.Series.Entity
	s.report("eu/r1", wire.Findings{ID: 1, Findings: []anomaly.Finding{cause}})
	// The region of the job was cut off, saw no more than that, and gave it an
	// id of its own.
	s.report("eu/r2", wire.Findings{ID: 1, Findings: []anomaly.Finding{effect}, Named: []wire.Named{{ID: "INC-LOCAL", Anchor: effect.ID}}})
	v := s.f.view()
	if list := v.set.Summaries(); len(list) != 1 {
		t.Fatalf("incidents %+v, want one", list)
	}
	d, err := v.incident("INC-LOCAL")
	if err != nil || d.First != "payments/swift-gateway" || len(d.Findings) != 2 {
		t.Errorf("the region's id leads to %+v, %v", d, err)
	}
}

func TestMinorityStops(t *testing.T) {
	vote := func(s *stage, name string, change byte) error {
		m := s.f.view().mark
		hash := m.hash
		hash[0] ^= change
		s.at.Index++
		_, err := s.f.Apply(s.at, voteCommand(s.now, name, m.number, hash))
		return err
	}
	t.Run("its own vote differs", func(t *testing.T) {
		s := newStage(t)
		s.claim("eu/r1", agent, 1, term(1, 1), 10)
		s.apply(markCommand(s.now, 3))
		if err := errors.Join(vote(s, "c", 1), vote(s, "a", 0), vote(s, "c", 1), vote(s, "b", 0)); err != nil {
			t.Fatalf("a healthy member stopped: %v", err)
		}
	})
	t.Run("two others agree on another state", func(t *testing.T) {
		s := newStage(t)
		s.apply(markCommand(s.now, 3))
		if err := vote(s, "a", 1); err != nil {
			t.Fatalf("one vote alone stopped it: %v", err)
		}
		if err := vote(s, "b", 1); !errors.Is(err, ErrDiverged) {
			t.Fatalf("it goes on: %v", err)
		}
	})
	t.Run("three states", func(t *testing.T) {
		s := newStage(t)
		s.apply(markCommand(s.now, 3))
		if err := errors.Join(vote(s, "a", 0), vote(s, "b", 1)); err != nil {
			t.Fatal(err)
		}
		if err := vote(s, "c", 2); !errors.Is(err, ErrDiverged) {
			t.Fatalf("it goes on: %v", err)
		}
	})
}

func TestLargeSectionsShrink(t *testing.T) {
	u := critical(agent, 1)
	sec := section("eu/r1", u, term(1, 1), 1, 1)
	fold := stream.NewFold(stream.Limits{Series: 1 << 15, Rows: 1 << 15, Edges: 10})
	for i := range 60_000 {
		e := event.Event{Entity: fmt.Sprintf("entity-with-a-long-name/%d", i%12_000), Signal: "http.200", Value: 2}
		fold.Merge(stream.RowsOf(&e, epoch+int64(i)*1e8))
	}
	sec.Rows = fold.Take()
	b := wire.EncodeSection(&sec)
	small, err := shrink(b, maxPayload)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodeSection(small)
	if err != nil || len(small) > maxPayload || len(b) <= maxPayload {
		t.Fatalf("%d bytes became %d: %v", len(b), len(small), err)
	}
	if got.Rows.Events != 60_000 || got.Rows.Sum.String() != "120000" {
		t.Fatalf("%d events, sum %s", got.Rows.Events, got.Rows.Sum)
	}
}
