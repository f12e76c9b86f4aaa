package cep

import (
	"fmt"
	"strings"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
)

// pair is the pattern "a b" by entity within ten seconds.
func pair() *Pattern {
	return &Pattern{
		Name: "pair", Key: []Operand{{Field: FieldEntity}}, Within: 10 * tick,
		Slots:       []Slot{{Name: "a.entity", Op: Last, Of: field(FieldEntity)}, {Name: "a.signal", Op: Last, Of: field(FieldSignal)}},
		AboutSignal: 1,
		Steps:       []Step{{Name: "a", When: signalIs("a"), Min: 1, Max: 1}, {Name: "b", When: signalIs("b"), Min: 1, Max: 1}},
		Limits:      Limits{Runs: 8, Keys: 8, Events: 4, Text: 32},
		Report:      Report{Class: anomaly.Load, Severity: event.SeverityWarn, Summary: "a, then b"},
	}
}

func engineOf(t testing.TB, opts Options, patterns ...*Pattern) *Engine {
	set, err := NewSet(patterns)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(set, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func said(seq uint64, signal string, second int64) *Event {
	return &Event{Unit: event.Unit{Origin: "east/a", WAL: 1}, Seq: seq, Time: second * tick, Kind: KindLog, Entity: "e", Signal: signal}
}

func TestLateEvents(t *testing.T) {
	for policy, want := range map[LatePolicy]int{LateDrop: 0, LateNow: 1} {
		opts := DefaultOptions()
		opts.Late = policy
		e := engineOf(t, opts, pair())
		e.Observe(said(1, "a", 3))
		e.Advance(5 * tick)
		e.Observe(said(2, "b", 4))
		got := e.Advance(20 * tick)
		if len(got) != want || e.Totals().Late+e.Totals().Moved != 1 {
			t.Errorf("%s: %d matches, totals %+v", policy, len(got), e.Totals())
		}
		if len(got) == 1 && got[0].End != 5*tick {
			t.Errorf("the late event is taken as of %d, want the watermark", got[0].End)
		}
	}
}

// TestFullBuffer: what finds no room makes the earliest events step early, so
// that an order that fits the buffer is still put right.
func TestFullBuffer(t *testing.T) {
	opts := DefaultOptions()
	opts.Buffered = 2
	e := engineOf(t, opts, pair())
	for _, ev := range []*Event{said(2, "b", 2), said(1, "a", 1), said(3, "a", 3), said(4, "b", 4)} {
		e.Observe(ev)
	}
	if got := e.Totals(); got.Hurried != 2 || got.Late != 0 {
		t.Errorf("totals %+v, want 2 hurried and none late", got)
	}
	if got := e.Advance(5 * tick); len(got) != 2 {
		t.Errorf("%d matches, want 2", len(got))
	}
}

func TestFindingOfMatch(t *testing.T) {
	e := engineOf(t, DefaultOptions(), pair())
	a, b := said(7, "a", 1), said(8, "b", 2)
	a.Onset = clock.Interval{Lo: tick - 5, Hi: tick + 5}
	b.Trace, b.Span, b.Peer = [16]byte{1}, [8]byte{2}, "db"
	e.Observe(b)
	e.Observe(a)
	matches := e.Advance(3 * tick)
	if len(matches) != 1 {
		t.Fatalf("%d matches", len(matches))
	}
	f := matches[0].Finding(3 * tick)
	if f.Series != (stream.Series{Entity: "e", Signal: "a"}) || f.Onset != a.Onset || f.Decided != 2*tick || f.Peer != "db" ||
		len(f.Links) != 1 || len(f.Evidence) != 1 || f.Evidence[0].From != 7 || f.Evidence[0].To != 8 || !strings.HasPrefix(f.Summary, "a, then b") {
		t.Errorf("finding %+v", f)
	}
	w := pack.NewWriter()
	anomaly.AppendFinding(w, f)
	r := pack.NewReader(w.Bytes())
	if back := anomaly.ReadFinding(r); r.Done() != nil || back.ID != f.ID {
		t.Errorf("the finding cannot be read: %v", r.Err())
	}
	// A finding is seen as an event again.
	view := FromFinding(&f)
	if view.Kind != KindFinding || view.Value != Scale || view.attr("rule") != "pair" || view.attr("class") != "load" || view.Time != tick {
		t.Errorf("its view is %+v", view)
	}
}

// TestReportDoesNotChangeMeaning: what a finding says may be exchanged without
// losing runs, what a pattern does may not.
func TestReportDoesNotChangeMeaning(t *testing.T) {
	hash := func(change func(*Pattern)) Hash {
		p := pair()
		change(p)
		set, err := NewSet([]*Pattern{p})
		if err != nil {
			t.Fatal(err)
		}
		return set.Hash(0)
	}
	same := hash(func(*Pattern) {})
	if hash(func(p *Pattern) { p.Report = Report{} }) != same {
		t.Error("another report gives another hash")
	}
	for name, change := range map[string]func(*Pattern){
		"within": func(p *Pattern) { p.Within++ }, "limit": func(p *Pattern) { p.Limits.Runs++ },
		"condition": func(p *Pattern) { p.Steps[1].When = signalIs("c") }, "follow": func(p *Pattern) { p.Steps[1].Follow = Any },
		"absence": func(p *Pattern) { p.End = &Absence{Name: "x", When: signalIs("c")} },
	} {
		if hash(change) == same {
			t.Errorf("another %s gives the same hash", name)
		}
	}
}

// TestTiesGoByArrival: events of one time, unit and sequence, as the revisions
// of a finding are, keep the order in which they came, also over a restart.
func TestTiesGoByArrival(t *testing.T) {
	for _, tc := range []struct {
		signals []string
		matches int
	}{{[]string{"a", "b"}, 1}, {[]string{"b", "a"}, 0}, {[]string{"a", "x", "b", "a", "b"}, 2}} {
		e := engineOf(t, DefaultOptions(), pair())
		for _, signal := range tc.signals {
			e.Observe(said(1, signal, 1))
			e = revived(t, e)
		}
		if got := e.Advance(2 * tick); len(got) != tc.matches {
			t.Errorf("%v: %d matches, want %d", tc.signals, len(got), tc.matches)
		}
	}
}

// TestMissesSurviveRestart: a run that has matched is no near miss when its
// time is over, and one that has not is, whether the engine was restored in
// between or not.
func TestMissesSurviveRestart(t *testing.T) {
	p := pair()
	p.Steps[1].Follow = Any
	opts := DefaultOptions()
	opts.Misses = true
	e := engineOf(t, opts, p)
	e.Observe(said(1, "a", 1))
	e.Observe(said(2, "b", 2))
	e.Observe(said(3, "a", 3))
	matches := e.Advance(4 * tick)
	e = revived(t, e)
	e.Advance(60 * tick)
	misses := e.Misses()
	if len(matches) != 1 || len(misses) != 1 || misses[0].Evidence[0].Seq != 3 || misses[0].Due != 13*tick ||
		misses[0].Reason != "within 10s there was no b" {
		t.Errorf("matches %+v, near misses %+v", matches, misses)
	}
}

// TestReloadWithEventsThatWait exchanges the patterns while events wait for the
// watermark. What of them only the old patterns read is given up at once, or an
// engine that goes on would differ from one that was restored.
func TestReloadWithEventsThatWait(t *testing.T) {
	reads := pair()
	reads.Name = "reads"
	reads.Steps[0].When = node(OpEqual, Node{Op: OpField, Number: int64(FieldAttr), Text: "job"}, text("nightly"))
	e := engineOf(t, DefaultOptions(), reads, pair())
	ev := said(1, "a", 3)
	ev.Attrs = []event.Attr{{Key: "job", Value: "nightly"}}
	e.Observe(ev)
	set, err := NewSet([]*Pattern{pair()})
	if err != nil {
		t.Fatal(err)
	}
	e.Reconfigure(set)
	e = revived(t, e)
	e.Observe(said(2, "b", 4))
	if got := e.Advance(20 * tick); len(got) != 1 || got[0].Pattern.Name != "pair" {
		t.Errorf("%+v: want the event that waited to begin the match", got)
	}
}

// TestDiff tells what begins anew from what only says something else.
func TestDiff(t *testing.T) {
	named := func(name string) *Pattern { p := pair(); p.Name = name; return p }
	sets := func(patterns ...*Pattern) *Set {
		s, err := NewSet(patterns)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	wider, louder := named("wider"), named("louder")
	wider.Within++
	louder.Report.Severity++
	got := sets(named("same"), named("wider"), named("louder"), named("gone")).Diff(sets(named("new"), louder, wider, named("same")))
	want := Diff{Added: []string{"new"}, Changed: []string{"wider"}, Reworded: []string{"louder"}, Removed: []string{"gone"}, Unchanged: []string{"same"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
