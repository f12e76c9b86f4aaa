package stream

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/exact"
	"pando/internal/pack"
)

func TestPaneOf(t *testing.T) {
	for root, want := range map[int64]Pane{
		0: 0, PaneNanos - 1: 0, PaneNanos: 1, -1: -1, -PaneNanos: -1, -PaneNanos - 1: -2,
		math.MaxInt64: math.MaxInt64 / PaneNanos, math.MinInt64: math.MinInt64/PaneNanos - 1,
	} {
		if got := PaneOf(root); got != want {
			t.Errorf("pane of %d is %d, want %d", root, got, want)
		}
		if p := PaneOf(root); p.Start() > root || root-p.Start() >= PaneNanos && p.Start() != math.MinInt64 {
			t.Errorf("pane %d starts at %d, which does not fit %d", p, p.Start(), root)
		}
	}
}

// traffic draws events that share panes, series and edges.
func traffic(r *rand.Rand, n int) (events []event.Event, points []int64) {
	values := []float64{1, 0.1, -3.75, 1e9, 1e18, math.NaN(), math.Inf(-1), 1e300, math.SmallestNonzeroFloat64}
	for range n {
		e := event.Event{
			Entity: fmt.Sprintf("app/%d", r.IntN(6)), Signal: fmt.Sprintf("http.%d", 500+r.IntN(4)),
			Severity: event.Severity(r.IntN(25)), Value: values[r.IntN(len(values))],
			Flags: event.Backlog * event.Flags(r.IntN(2)),
		}
		switch r.IntN(6) {
		case 0:
			e.Kind = event.Heartbeat
		case 3:
			if r.IntN(4) == 0 {
				e = event.NewLoss("s", "eu/a", event.Reason(r.IntN(event.Reasons)), 1+r.Uint64N(1<<54), 0, 0)
			}
		case 1, 2:
			e.Peer = fmt.Sprintf("app/%d", r.IntN(6))
		}
		events = append(events, e)
		points = append(points, int64(r.IntN(5)-2)*PaneNanos)
	}
	return events, points
}

func foldOf(events []event.Event, points []int64, limits Limits) Rows {
	f := NewFold(limits)
	add(f, events, points)
	return f.Take()
}

// add folds events in as one batch, as a relay does.
func add(f *Fold, events []event.Event, points []int64) {
	var c Combined
	c.Combine(columnsOf(events), points)
	c.Number(NewNumbering())
	f.Add(&c, nil)
	for _, i := range c.Rest {
		if e := &events[i]; e.Kind == event.Loss {
			f.Lose(e, clock.Interval{Lo: points[i] - 5, Hi: points[i]})
		} else {
			f.Beat()
		}
	}
}

// columnsOf is what arrives of events.
func columnsOf(events []event.Event) *event.Columns {
	b := event.Batch{Unit: event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}, First: 1, Events: slices.Clone(events)}
	for i := range b.Events {
		e := &b.Events[i]
		e.Seq, e.Criticality = uint64(i)+1, 2
	}
	bytes, err := b.Encode(nil)
	if err != nil {
		panic(err)
	}
	var c event.Columns
	if err := c.Decode(bytes); err != nil {
		panic(err)
	}
	return &c
}

func rowBytes(rows Rows) []byte {
	w := pack.NewWriter()
	AppendRows(w, rows)
	return w.Copy()
}

func decoded(b []byte) (Rows, error) {
	r := pack.NewReader(b)
	rows := ReadRows(r)
	return rows, r.Done()
}

func TestFoldAddsUp(t *testing.T) {
	f := NewFold(DefaultLimits())
	say := func(pane Pane, severity event.Severity, value float64, peer string, flags event.Flags) {
		add(f, []event.Event{{Entity: "web", Signal: "http.503", Severity: severity, Value: value, Peer: peer, Flags: flags}},
			[]int64{pane.Start() + PaneNanos/2})
	}
	say(7, event.SeverityInfo, 1.5, "db", 0)
	say(6, event.SeverityInfo, 2, "", event.Backlog)
	say(7, event.SeverityError, -4, "db", 0)
	say(7, event.SeverityDebug, math.Inf(1), "", 0)
	f.Beat()
	for _, at := range []int64{30, 10} {
		lost := event.NewLoss("in", "eu/a", event.Overflow, 40, at, at+5)
		f.Lose(&lost, clock.Interval{Lo: at, Hi: at + 5})
	}
	half, _ := exact.FromFloat(-2.5)
	total, _ := exact.FromFloat(-0.5)
	s := Series{"web", "http.503"}
	want := Rows{
		Rows: []Row{
			{Pane: 6, Series: s, Severity: event.SeverityInfo, Count: 1, Sum: exact.FromInt(2), Backlog: 1},
			{Pane: 7, Series: s, Severity: event.SeverityError, Count: 3, Sum: half},
		},
		Edges:  []Edge{{From: "web", To: "db", Pane: 7, Count: 2, Errors: 1}},
		Events: 4, Heartbeats: 1, Unsummed: 1, Sum: total,
		Losses: 2, Lost: []Lost{{Reason: event.Overflow, Count: 80, First: 10, Last: 35}},
	}
	if got := f.Take(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := f.Take(); !reflect.DeepEqual(got, Rows{}) || f.Len() != 0 {
		t.Errorf("a taken fold holds %+v", got)
	}
}

// TestBatchesCountAsTheirEvents compares what batches add up to with what each
// event counts for, with and without room, however many things they name. Where
// room is short it goes to lines in the order in which they come.
func TestBatchesCountAsTheirEvents(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		events, points := traffic(r, 1+r.IntN(400))
		if seed%3 == 0 { // more names than a grid is made for
			for i := range events {
				events[i].Source, events[i].Signal = fmt.Sprint(r.IntN(300)), fmt.Sprint(r.IntN(300))
			}
		}
		limits := DefaultLimits()
		if seed%2 == 0 {
			limits = Limits{Series: 1 + r.IntN(8), Rows: 1 + r.IntN(16), Edges: 1 + r.IntN(8)}
		}
		one := NewFold(limits)
		for _, i := range byLine(events) {
			if e := &events[i]; e.Kind == event.Loss {
				one.Lose(e, clock.Interval{Lo: points[i] - 5, Hi: points[i]})
			} else {
				one.Merge(RowsOf(e, points[i]))
			}
		}
		want, got := one.Take(), foldOf(events, points, limits)
		// Of the events that found no room a merge knows only their rows'.
		if want.Folded = got.Folded; !bytes.Equal(rowBytes(got), rowBytes(want)) {
			t.Fatalf("seed %d: %+v\nwant %+v", seed, got, want)
		}
	}
}

// byLine is the order of the events by their line's first.
func byLine(events []event.Event) []int {
	lines, order := map[Line]int{}, make([]int, len(events))
	line := func(i int) int {
		e := &events[i]
		return lines[Line{e.Source, e.Entity, e.Signal, e.Peer}]
	}
	for i := range events {
		e := &events[i]
		if l := (Line{e.Source, e.Entity, e.Signal, e.Peer}); lines[l] == 0 {
			lines[l] = len(lines) + 1
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return line(i) - line(j) })
	return order
}

// TestAnyOrderAnyGrouping folds the same events whole, shuffled, and in parts
// that are merged by either way in another order.
func TestAnyOrderAnyGrouping(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		events, points := traffic(r, 1+r.IntN(400))
		want := rowBytes(foldOf(events, points, DefaultLimits()))
		r.Shuffle(len(events), func(i, j int) {
			events[i], events[j] = events[j], events[i]
			points[i], points[j] = points[j], points[i]
		})
		if !bytes.Equal(rowBytes(foldOf(events, points, DefaultLimits())), want) {
			t.Fatalf("seed %d: shuffled events fold to other bytes", seed)
		}
		var parts []Rows
		for i := 0; i < len(events); {
			n := min(1+r.IntN(60), len(events)-i)
			parts = append(parts, foldOf(events[i:i+n], points[i:i+n], DefaultLimits()))
			i += n
		}
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		f := NewFold(DefaultLimits())
		for _, p := range parts {
			f.Merge(p)
		}
		if !bytes.Equal(rowBytes(f.Take()), want) {
			t.Fatalf("seed %d: parts merged into a fold give other bytes", seed)
		}
		for len(parts) > 1 { // any two of them, in either order
			i := r.IntN(len(parts) - 1)
			parts[i] = MergeRows(parts[i+1], parts[i])
			parts = append(parts[:i+1], parts[i+2:]...)
		}
		if !bytes.Equal(rowBytes(parts[0]), want) {
			t.Fatalf("seed %d: merged parts give other bytes", seed)
		}
		back, err := decoded(want)
		if err != nil || !bytes.Equal(rowBytes(back), want) {
			t.Fatalf("seed %d: read back: %v", seed, err)
		}
	}
}

func TestLimitsFoldButLoseNothing(t *testing.T) {
	for _, limits := range []Limits{{Series: 3, Rows: 1000, Edges: 2}, {Series: 100, Rows: 4, Edges: 100}, {}} {
		r := rand.New(rand.NewPCG(5, 5))
		events, points := traffic(r, 2000)
		all := foldOf(events, points, DefaultLimits())
		got := foldOf(events, points, limits)
		if got.Events != all.Events || got.Sum != all.Sum || got.Unsummed != all.Unsummed || got.Folded == 0 {
			t.Errorf("%+v: totals %+v, unbounded %+v", limits, got, all)
		}
		if l := limits.clamp(); len(got.Rows) > l.Rows+1 || len(got.Edges) > l.Edges+1 {
			t.Errorf("%+v: %d rows and %d edges", limits, len(got.Rows), len(got.Edges))
		}
		if _, err := decoded(rowBytes(got)); err != nil { // which adds everything up
			t.Errorf("%+v: %v", limits, err)
		}
		f := NewFold(limits)
		f.Merge(all)
		merged := f.Take()
		if merged.Events != all.Events || merged.Sum != all.Sum {
			t.Errorf("%+v: merged totals %+v", limits, merged)
		}
		if _, err := decoded(rowBytes(merged)); err != nil {
			t.Errorf("%+v: merged: %v", limits, err)
		}
	}
}

func TestReadRowsRefuses(t *testing.T) {
	good := func() Rows {
		return Rows{
			Rows: []Row{{Pane: 1, Series: Series{"a", "b"}, Count: 2, Sum: exact.FromInt(2)},
				{Pane: 2, Series: Series{"a", "b"}, Count: 1, Sum: exact.FromInt(1)}},
			Edges: []Edge{{From: "a", To: "c", Pane: 1, Count: 2}}, Events: 3, Sum: exact.FromInt(3),
		}
	}
	if _, err := decoded(rowBytes(good())); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Rows){
		"events that no row counts":    func(r *Rows) { r.Events++ },
		"rows that no event is in":     func(r *Rows) { r.Rows[1].Count = 7 },
		"a sum that is not the total":  func(r *Rows) { r.Rows[0].Sum = exact.FromInt(1) },
		"rows out of order":            func(r *Rows) { r.Rows[0].Pane = 3 },
		"the same row twice":           func(r *Rows) { r.Rows[1].Pane = 1 },
		"a row that counts nothing":    func(r *Rows) { r.Rows[1].Count, r.Events = 0, 2 },
		"more backlog than events":     func(r *Rows) { r.Rows[0].Backlog = 3 },
		"a severity beyond fatal":      func(r *Rows) { r.Rows[0].Severity = 25 },
		"an edge that counts nothing":  func(r *Rows) { r.Edges[0].Count = 0 },
		"more errors than calls":       func(r *Rows) { r.Edges[0].Errors = 3 },
		"more calls than events":       func(r *Rows) { r.Edges[0].Count = 4 },
		"more folded than events":      func(r *Rows) { r.Folded = 4 },
		"a name that is not UTF-8":     func(r *Rows) { r.Edges[0].To = "\xff" },
		"panes that wrap round":        func(r *Rows) { r.Rows[0].Pane, r.Rows[1].Pane = math.MaxInt64, math.MinInt64 },
		"counts that wrap round to it": func(r *Rows) { r.Rows[0].Count, r.Rows[1].Count = math.MaxUint64, 4 },
	} {
		rows := good()
		spoil(&rows)
		if _, err := decoded(rowBytes(rows)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzRows(f *testing.F) {
	events, points := traffic(rand.New(rand.NewPCG(1, 1)), 50)
	f.Add(rowBytes(foldOf(events, points, DefaultLimits())))
	f.Add(rowBytes(Rows{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := decoded(b)
		if err != nil {
			return
		}
		again, err := decoded(rowBytes(rows))
		if err != nil || !reflect.DeepEqual(again, rows) {
			t.Errorf("%+v became %+v, %v", rows, again, err)
		}
	})
}

// TestGoldenRows pins the bytes of a fold for machines of other kinds.
func TestGoldenRows(t *testing.T) {
	events, points := traffic(rand.New(rand.NewPCG(42, 42)), 1000)
	const want = "de5e77795d7111708daddba3ec7d026a20f39aecc5e1526aa03bf4026f25ab3d"
	if got := fmt.Sprintf("%x", sha256.Sum256(rowBytes(foldOf(events, points, DefaultLimits())))); got != want {
		t.Errorf("the rows' hash is %s, want %s; if the format was meant to change, raise rowsVersion", got, want)
	}
}

func TestWatermarks(t *testing.T) {
	w := NewWatermarks()
	unit := func(name string, lane event.Lane) event.Unit { return event.Unit{Origin: name, WAL: 1, Lane: lane} }
	a, b, c := unit("a", event.Bulk), unit("b", event.Bulk), unit("c", event.Bulk)
	expect := func(what string, at int64, active, total int) {
		t.Helper()
		if g, ga, gt := w.Min(event.Bulk); g != at || ga != active || gt != total {
			t.Errorf("%s: %d from %d of %d, want %d from %d of %d", what, g, ga, gt, at, active, total)
		}
	}
	expect("nobody", math.MinInt64, 0, 0)
	w.Set(unit("a", event.Critical), 1)
	w.Set(a, 10)
	w.Set(b, 20)
	w.Set(c, 30)
	w.Set(c, 25)
	expect("the slowest counts", 10, 3, 3)
	w.Idle(a)
	expect("an idle one holds nobody back", 20, 3, 3)
	w.Exclude(b)
	expect("an excluded one is missing", 30, 2, 3)
	w.Idle(c)
	expect("all idle: the furthest", 30, 2, 3)
	if at, active, total := w.Min(event.Critical, event.Bulk); at != 1 || active != 3 || total != 4 {
		t.Errorf("both lanes: %d from %d of %d", at, active, total)
	}
	w.Idle(unit("a", event.Critical))
	if at, _, _ := w.Min(event.Critical, event.Bulk); at != 30 {
		t.Errorf("an idle lane holds the other back at %d", at)
	}
	w.Set(b, 22)
	expect("back again", 22, 3, 3)
	out := pack.NewWriter()
	w.Append(out)
	r := pack.NewReader(out.Bytes())
	again := ReadWatermarks(r)
	if r.Done() != nil || !reflect.DeepEqual(again, w) {
		t.Errorf("read back %+v, %v; want %+v", again, r.Err(), w)
	}
	w.Remove(b)
	expect("gone", 30, 2, 2)
}

func FuzzWatermarks(f *testing.F) {
	w := NewWatermarks()
	w.Set(event.Unit{Origin: "a", WAL: 1}, 10)
	w.Set(event.Unit{Origin: "b", WAL: 1}, 12)
	w.Idle(event.Unit{Origin: "b", WAL: 1})
	out := pack.NewWriter()
	w.Append(out)
	f.Add(out.Copy())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pack.NewReader(b)
		w := ReadWatermarks(r)
		if r.Err() != nil {
			return
		}
		out := pack.NewWriter()
		w.Append(out)
		r = pack.NewReader(out.Bytes())
		if again := ReadWatermarks(r); r.Done() != nil || !reflect.DeepEqual(again, w) {
			t.Errorf("%+v became %+v, %v", w, again, r.Err())
		}
	})
}

// BenchmarkFold combines and folds batches of metric-like events: Zipf over 200
// entities, 20 signals, a million a second of event time, cut every second.
func BenchmarkFold(b *testing.B) {
	const size, second = 4096, 1_000_000
	r := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(r, 1.2, 1, 199)
	batches := make([]*event.Columns, 16)
	for i := range batches {
		events := make([]event.Event, size)
		for k := range events {
			events[k] = event.Event{Kind: event.Metric, Entity: fmt.Sprintf("payments/service-%d", zipf.Uint64()),
				Signal: fmt.Sprintf("metric.%d", r.IntN(20)), Value: math.Exp(r.NormFloat64())}
		}
		batches[i] = columnsOf(events)
	}
	f := NewFold(DefaultLimits())
	points := make([]int64, size)
	var c Combined
	numbering := NewNumbering()
	var point int64
	n, cut, rows, bytes := 0, 0, 0, 0
	w := pack.NewWriter()
	b.ReportAllocs()
	for b.Loop() {
		for i := range points {
			point += 1000
			points[i] = point
		}
		c.Combine(batches[n%len(batches)], points)
		c.Number(numbering)
		f.Add(&c, nil)
		if n++; (n-cut)*size >= second {
			b.StopTimer()
			taken := f.Take()
			w.Reset()
			AppendRows(w, taken)
			rows, bytes, cut = rows+len(taken.Rows), bytes+w.Len(), n
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/event")
	if rows > 0 {
		b.ReportMetric(float64(bytes)/float64(rows), "bytes/row")
	}
}

// Joining panes keeps every count and sum, and the series that are to be kept
// as they are; what it makes reads back.
func TestJoinKeepsWhatItAddsUp(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		events, points := traffic(r, 1+r.IntN(300))
		limits := DefaultLimits()
		if seed%4 == 0 {
			limits = Limits{Series: 1 + r.IntN(8), Rows: 1 + r.IntN(16), Edges: 1 + r.IntN(8)}
		}
		rows := foldOf(events, points, limits)
		fine := Series{"app/1", "http.501"}
		f := NewFold(limits)
		add(f, events, points)
		joined := f.TakeJoined(3, func(s Series) bool { return s == fine })
		back, err := decoded(rowBytes(joined))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if back.Events != rows.Events || back.Sum != rows.Sum || len(back.Rows) > len(rows.Rows) {
			t.Fatalf("seed %d: %d events in %d rows were joined to %d in %d", seed, rows.Events, len(rows.Rows), back.Events, len(back.Rows))
		}
		want, got := map[Series]Row{}, map[Series]Row{}
		for _, x := range []struct {
			rows []Row
			into map[Series]Row
		}{{rows.Rows, want}, {back.Rows, got}} {
			for _, row := range x.rows {
				sum := x.into[row.Series]
				sum.add(&row)
				x.into[row.Series] = sum
			}
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: series add up to %v, before to %v", seed, got, want)
		}
		only := func(list []Row) (out []Row) {
			for _, row := range list {
				if row.Series == fine {
					out = append(out, row)
				}
			}
			return out
		}
		if !reflect.DeepEqual(only(rows.Rows), only(back.Rows)) {
			t.Fatalf("seed %d: a series that was to stay fine changed", seed)
		}
	}
}
