package aggregate

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
)

const (
	second = int64(time.Second)
	dawn   = int64(1_000_000) * second // when tests begin, at the end of every window
)

// stage is an engine with the units that feed it.
type stage struct {
	t      testing.TB
	engine *Engine
	marks  *stream.Watermarks
	told   []Result
}

func newStage(t testing.TB, limits Limits, windows ...Window) *stage {
	t.Helper()
	e, err := New(Config{Windows: windows}, limits)
	if err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, engine: e, marks: stream.NewWatermarks()}
}

func unit(origin string, lane event.Lane) event.Unit {
	return event.Unit{Origin: origin, WAL: 1, Lane: lane}
}

var bulk = unit("eu/a", event.Bulk)

func (s *stage) say(series string, value float64, at int64) {
	entity, signal, _ := strings.Cut(series, " ")
	observe(s.engine, bulk, event.Event{Kind: event.Metric, Entity: entity, Signal: signal, Value: value}, dawn+at)
}

// advance brings the one unit to a time.
func (s *stage) advance(at int64) {
	s.marks.Set(bulk, dawn+at)
	s.told = append(s.told, s.engine.Advance(s.marks)...)
}

// expect compares what was told since the last time.
func (s *stage) expect(want ...string) {
	s.t.Helper()
	var got []string
	for i := range s.told {
		got = append(got, describe(&s.told[i]))
	}
	s.told = nil
	if !slices.Equal(got, want) {
		s.t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func describe(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%d [%v,%v) %q", r.Window, r.Revision, time.Duration(r.Start-dawn), time.Duration(r.End-dawn), strings.TrimSpace(r.Group.String()))
	if r.Partial {
		b.WriteString(" partial")
	}
	if r.Active != r.Units {
		fmt.Fprintf(&b, " %d of %d", r.Active, r.Units)
	}
	fmt.Fprintf(&b, ": %d", r.Count)
	if r.Unsummed > 0 {
		fmt.Fprintf(&b, " (%d unsummed)", r.Unsummed)
	}
	fmt.Fprintf(&b, " sum %v from %v to %v", r.Sum, r.Min, r.Max)
	for _, q := range r.Quantiles {
		fmt.Fprintf(&b, ", p%v %v", 100*q.Q, q.Value)
	}
	for _, d := range r.Distinct {
		fmt.Fprintf(&b, ", %d %s", d.Count, d.Of)
	}
	for _, t := range r.Top {
		fmt.Fprintf(&b, ", %s %v", t.Of, t.Entries)
	}
	return b.String()
}

func snapshotOf(e *Engine) []byte {
	w := pack.NewWriter()
	e.Snapshot(w)
	return w.Copy()
}

func restored(cfg Config, limits Limits, b []byte) (*Engine, error) {
	e, err := New(cfg, limits)
	if err != nil {
		return nil, err
	}
	r := pack.NewReader(b)
	if err := e.Restore(r); err != nil {
		return nil, err
	}
	return e, r.Done()
}

func TestTumblingWindowsAndLateData(t *testing.T) {
	s := newStage(t, DefaultLimits(), Window{Name: "w", Length: time.Second, Lateness: 2 * time.Second})
	s.say("web up", 1, 100)
	s.say("db up", math.NaN(), 200)
	s.say("web up", -3.5, second-1)
	s.say("web up", 7, second)
	s.advance(second - 1)
	s.expect()
	s.advance(second)
	s.expect(`w/1 [0s,1s) "db up" partial: 1 (1 unsummed) sum 0 from 0 to 0`, `w/1 [0s,1s) "web up" partial: 2 sum -2.5 from -3.5 to 1`)

	s.say("web up", 10, 300)
	s.say("new up", 1, 300)
	s.advance(second) // time need not have moved
	s.expect(`w/2 [0s,1s) "new up" partial: 1 sum 1 from 1 to 1`, `w/2 [0s,1s) "web up" partial: 3 sum 7.5 from -3.5 to 10`)
	s.say("web up", 1, 0)
	s.advance(3*second - 1)
	s.expect(`w/3 [0s,1s) "web up" partial: 4 sum 8.5 from -3.5 to 10`, `w/1 [1s,2s) "web up": 1 sum 7 from 7 to 7`)
	s.say("web up", 1, 0) // in time until the end, when it is told as the last
	s.advance(3 * second)
	s.expect(`w/4 [0s,1s) "web up" partial: 5 sum 9.5 from -3.5 to 10`)
	s.say("web up", 1, 0)
	s.advance(10 * second)
	s.expect()
	if got, want := s.engine.Stats()[0], (Stats{Window: "w", Mark: dawn + 10*second, Late: 4, Expired: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestSlidingWindowsAreToldEachSlide(t *testing.T) {
	s := newStage(t, DefaultLimits(), Window{Name: "w", By: ByNone, Length: 3 * time.Second, Slide: time.Second, Lateness: time.Second})
	s.advance(0)
	s.say("a x", 1, 0)
	s.say("b y", 10, 2*second)
	s.advance(3 * second)
	s.expect(`w/1 [-2s,1s) "" partial: 1 sum 1 from 1 to 1`, `w/1 [-1s,2s) "" partial: 1 sum 1 from 1 to 1`,
		`w/1 [0s,3s) "": 2 sum 11 from 1 to 10`)
	s.say("c z", 100, second) // too late for [-1s,2s), in time for the next
	s.advance(4*second - 1)
	s.expect(`w/2 [0s,3s) "": 3 sum 111 from 1 to 100`)
	s.advance(9 * second)
	s.expect(`w/1 [1s,4s) "": 2 sum 110 from 10 to 100`, `w/1 [2s,5s) "": 1 sum 10 from 10 to 10`)
	if got := s.engine.Stats()[0]; got.Late != 1 || got.Expired != 1 || got.Cells != 0 || got.Slices != 0 || got.Groups != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestGroupsAndFields(t *testing.T) {
	s := newStage(t, DefaultLimits(),
		Window{Name: "entity", By: ByEntity, Signal: "http.*", Length: time.Second, Distinct: []Field{"signal", "attr:user.id", "trace"}},
		Window{Name: "signal", By: BySignal, Entity: "web/*", Length: time.Second, Quantiles: []float64{0.5, 1}, Top: []TopOf{{"peer", 2}, {"entity", 1}}},
		Window{Name: "critical", By: ByNone, Lanes: CriticalLane, Length: time.Second})
	for i := range 10 {
		e := event.Event{Kind: event.Span, Entity: fmt.Sprintf("web/%d", i%2), Signal: fmt.Sprintf("http.%d", 200+i%3), Value: float64(i)}
		if i < 7 {
			e.Peer = fmt.Sprintf("db/%d", i%3)
			e.TraceID[3] = byte(i / 2)
			e.Attrs = []event.Attr{{Key: "user.id", Value: fmt.Sprint(i % 4)}}
		}
		observe(s.engine, bulk, e, dawn)
	}
	observe(s.engine, unit("eu/a", event.Critical), event.Event{Entity: "job", Signal: "abend.S0C7", Value: 1}, dawn)
	observe(s.engine, bulk, event.Event{Kind: event.Heartbeat, Source: "console", Entity: "web/0", Signal: "http.x"}, dawn)
	s.marks.Set(unit("eu/a", event.Critical), dawn+2*second)
	s.advance(second)
	s.expect(`entity/1 [0s,1s) "web/0": 5 sum 20 from 0 to 8, 3 signal, 2 attr:user.id, 3 trace`,
		`entity/1 [0s,1s) "web/1": 5 sum 25 from 1 to 9, 3 signal, 2 attr:user.id, 2 trace`,
		`signal/1 [0s,1s) "http.200": 4 sum 18 from 0 to 9, p50 3.015625, p100 9, peer [{db/0 3 0}], entity [{web/0 2 0}]`,
		`signal/1 [0s,1s) "http.201": 3 sum 12 from 1 to 7, p50 4.03125, p100 7, peer [{db/1 2 0}], entity [{web/1 2 0}]`,
		`signal/1 [0s,1s) "http.202": 3 sum 15 from 2 to 8, p50 5.03125, p100 8, peer [{db/2 2 0}], entity [{web/0 2 0}]`,
		`critical/1 [0s,1s) "": 1 sum 1 from 1 to 1`)
}

// TestChildrenThatDoNotSpeak: the idle hold nothing back, the silent are told
// to be missing, and each lane has its own time.
func TestChildrenThatDoNotSpeak(t *testing.T) {
	s := newStage(t, DefaultLimits(), Window{Name: "both", By: ByNone, Length: time.Second},
		Window{Name: "bulk", By: ByNone, Lanes: BulkLane, Length: time.Second})
	critical, other := unit("eu/a", event.Critical), unit("eu/b", event.Bulk)
	s.marks.Set(critical, dawn)
	s.marks.Set(other, dawn)
	s.say("a x", 1, 0)
	s.advance(9 * second)
	s.expect() // other is behind
	s.marks.Exclude(other)
	s.advance(9 * second)
	s.expect(`bulk/1 [0s,1s) "" 1 of 2: 1 sum 1 from 1 to 1`)
	s.marks.Idle(critical)
	s.advance(9 * second)
	s.expect(`both/1 [0s,1s) "" 2 of 3: 1 sum 1 from 1 to 1`)
}

// TestRestartTellsNothingAgain: a restored engine has no partial window, and
// tells what it was told as a revision.
func TestRestartTellsNothingAgain(t *testing.T) {
	def := Window{Name: "w", By: ByNone, Length: time.Second, Lateness: time.Minute}
	s := newStage(t, DefaultLimits(), def)
	s.say("a x", 1, 0)
	s.say("a x", 1, 500)
	s.say("a x", 2, second)
	s.advance(second)
	s.expect(`w/1 [0s,1s) "": 2 sum 2 from 1 to 1`)
	s.say("a x", 3, 0) // not told yet
	var err error
	if s.engine, err = restored(Config{Windows: []Window{def}}, DefaultLimits(), snapshotOf(s.engine)); err != nil {
		t.Fatal(err)
	}
	s.say("a x", 4, second+1)
	s.advance(2 * second)
	s.expect(`w/2 [0s,1s) "": 3 sum 5 from 1 to 3`, `w/1 [1s,2s) "": 2 sum 6 from 2 to 4`)
}

func TestReconfigureKeepsWhatDidNotChange(t *testing.T) {
	kept := Window{Name: "kept", By: ByNone, Length: time.Second}
	first := []Window{{Name: "changed", By: ByNone, Length: time.Second}, kept, {Name: "gone", Length: time.Second}}
	kept.Lateness, kept.MaxGroups = 5*time.Second, 7
	next := Config{Windows: []Window{kept, {Name: "changed", By: ByNone, Signal: "x", Length: time.Second}, {Name: "new", By: ByNone, Length: time.Second}}}
	for name, reconfigure := range map[string]func(e *Engine) (*Engine, error){
		"in place":      func(e *Engine) (*Engine, error) { return e, e.Reconfigure(next) },
		"by a snapshot": func(e *Engine) (*Engine, error) { return restored(next, DefaultLimits(), snapshotOf(e)) },
	} {
		s := newStage(t, DefaultLimits(), first...)
		s.say("a x", 1, 0)
		var err error
		if s.engine, err = reconfigure(s.engine); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s.say("a x", 2, 10)
		s.say("b x", 2, second)
		s.advance(2 * second)
		s.expect(`kept/1 [0s,1s) "": 2 sum 3 from 1 to 2`, `kept/1 [1s,2s) "": 1 sum 2 from 2 to 2`,
			`changed/1 [0s,1s) "" partial: 1 sum 2 from 2 to 2`, `changed/1 [1s,2s) "": 1 sum 2 from 2 to 2`,
			`new/1 [0s,1s) "" partial: 1 sum 2 from 2 to 2`, `new/1 [1s,2s) "": 1 sum 2 from 2 to 2`)
		if err := s.engine.Reconfigure(Config{Windows: []Window{{Name: "w"}}}); err == nil || len(s.engine.windows) != 3 {
			t.Errorf("%s: a bad configuration: %v", name, err)
		}
	}
}

// config is what the engine was configured by.
func (e *Engine) config() (c Config) {
	for _, w := range e.windows {
		c.Windows = append(c.Windows, w.def)
	}
	return c
}

// TestLimitsFoldButLoseNothing: with any limit the counts of a window add up
// to all events, its groups stay under the limit, and so does its state.
func TestLimitsFoldButLoseNothing(t *testing.T) {
	full := DefaultLimits()
	for name, x := range map[string]struct {
		limits Limits
		groups int
		check  func(Stats) bool
	}{
		"groups": {full, 5, func(s Stats) bool { return s.Groups <= 6 && s.Folded > 0 && s.Undetailed == 0 }},
		"cells":  {Limits{Cells: 40, Weight: full.Weight}, 1000, func(s Stats) bool { return s.Cells <= 40 && s.Folded > 0 }},
		"weight": {Limits{Cells: full.Cells, Weight: 10}, 1000, func(s Stats) bool { return s.Weight <= 10+6 && s.Undetailed > 0 && s.Folded == 0 }},
	} {
		def := Window{Name: "w", Length: time.Second, Lateness: time.Second, MaxGroups: x.groups, Quantiles: []float64{0.5}, Top: []TopOf{{"peer", 1}}}
		s := newStage(t, x.limits, def)
		r := rand.New(rand.NewPCG(5, 5))
		events, points := traffic(r, 3000)
		total := uint64(0)
		for round := range 4 { // groups are let go of, and others come
			for i := range events {
				e := events[i]
				e.Entity = fmt.Sprintf("%d/%s", r.IntN(1+round), e.Entity)
				observe(s.engine, bulk, e, points[i]+int64(round)*10*second)
			}
			if st := s.engine.Stats()[0]; !x.check(st) {
				t.Fatalf("%s: %+v", name, st)
			}
			var err error
			b := snapshotOf(s.engine)
			if s.engine, err = restored(Config{Windows: []Window{def}}, x.limits, b); err != nil || !bytes.Equal(snapshotOf(s.engine), b) {
				t.Fatalf("%s: restored: %v", name, err)
			}
			s.advance(int64(round)*10*second + 9*second)
			for _, told := range s.told {
				total += told.Count
			}
			s.told = nil
			if s.engine.cells != 0 || s.engine.weight != 0 {
				t.Fatalf("%s: %d cells of weight %d are left", name, s.engine.cells, s.engine.weight)
			}
		}
		if total != 4*uint64(len(events)) {
			t.Errorf("%s: %d of %d events were told", name, total, 4*len(events))
		}
	}
}

func TestTooManySlicesAreRefused(t *testing.T) {
	s := newStage(t, DefaultLimits(), Window{Name: "w", By: ByNone, Length: 100 * time.Millisecond})
	for i := range int64(MaxSlices + 10) {
		s.say("a x", 1, i*stream.PaneNanos)
	}
	if st := s.engine.Stats()[0]; st.Refused != 10 || st.Slices != MaxSlices {
		t.Errorf("stats %+v", st)
	}
	observe(s.engine, bulk, event.Event{Entity: "a", Signal: "x"}, math.MaxInt64)
	observe(s.engine, bulk, event.Event{Entity: "a", Signal: "x"}, math.MinInt64)
	s.marks.Set(bulk, math.MaxInt64)
	if told := s.engine.Advance(s.marks); len(told) != MaxSlices || told[0].Start != dawn {
		t.Errorf("%d results", len(told))
	}
	observe(s.engine, bulk, event.Event{Entity: "a", Signal: "x"}, math.MinInt64)
	if st := s.engine.Stats()[0]; st.Expired != 1 || st.Slices != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	good := Window{Name: "w", Length: time.Second}
	faults := map[string]func(*Window){
		"name":                 func(w *Window) { w.Name = "" },
		"by is":                func(w *Window) { w.By = "host" },
		"lanes is":             func(w *Window) { w.Lanes = "slow" },
		"window is 0s":         func(w *Window) { w.Length = 0 },
		"window is 1.05s":      func(w *Window) { w.Length = 1050 * time.Millisecond },
		"slide is -1s":         func(w *Window) { w.Slide = -time.Second },
		"times the slide":      func(w *Window) { w.Slide = 300 * time.Millisecond },
		"make the slide":       func(w *Window) { w.Lateness = time.Hour },
		"lateness is":          func(w *Window) { w.Lateness = -1 },
		"max_groups":           func(w *Window) { w.MaxGroups = -1 },
		"quantiles: NaN":       func(w *Window) { w.Quantiles = []float64{math.NaN()} },
		"distinct: \"colour\"": func(w *Window) { w.Distinct = []Field{"colour"} },
		"distinct: \"attr:\"":  func(w *Window) { w.Distinct = []Field{"attr:"} },
		"top: of is \"trace\"": func(w *Window) { w.Top = []TopOf{{"trace", 1}} },
		"top: k is 101":        func(w *Window) { w.Top = []TopOf{{"peer", 101}} },
	}
	all := Config{Windows: []Window{good, good}}
	for want, spoil := range faults {
		w := good
		spoil(&w)
		all.Windows = append(all.Windows, w)
		if err := (&Config{Windows: []Window{w}}).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	err := all.Validate()
	for want := range faults {
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "another window has it") {
			t.Errorf("of all faults at once, %s is missing in %v", want, err)
		}
	}
	if err := (&Config{Windows: []Window{good}}).Validate(); err != nil {
		t.Error(err)
	}
}
