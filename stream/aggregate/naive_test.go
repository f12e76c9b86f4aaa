package aggregate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pando/event"
	"pando/internal/exact"
	"pando/internal/golden"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/sketch"
)

// traffic draws events in panes of a few seconds.
func traffic(r *rand.Rand, n int) (events []event.Event, points []int64) {
	values := []float64{1, 0.1, -3.75, 1e9, 1e18, math.NaN(), math.Inf(-1), 1e300, math.Copysign(0, -1), 0, 17}
	for range n {
		e := event.Event{
			Kind: event.Kind(r.IntN(3)), Entity: fmt.Sprintf("app/%d", r.IntN(6)), Signal: fmt.Sprintf("http.%d", 500+r.IntN(4)),
			Value: values[r.IntN(len(values))],
		}
		if r.IntN(2) == 0 {
			e.Peer = fmt.Sprintf("app/%d", r.IntN(6))
		}
		events = append(events, e)
		points = append(points, dawn+r.Int64N(6*second))
	}
	return events, points
}

// everything are windows of all kinds, so late that nothing is final within six
// seconds.
func everything() Config {
	return Config{Windows: []Window{
		{Name: "tumbling", Length: 500 * time.Millisecond, Lateness: time.Minute, Quantiles: []float64{0.1, 0.5, 0.9}},
		{Name: "sliding", By: ByEntity, Length: 2 * time.Second, Slide: 400 * time.Millisecond, Lateness: time.Minute, Distinct: []Field{"peer"}},
		{Name: "pane", By: BySignal, Entity: "app/1*", Length: 100 * time.Millisecond, Lateness: time.Minute},
		{Name: "all", By: ByNone, Entity: "app/?", Length: time.Second, Slide: 100 * time.Millisecond, Lateness: time.Minute, Top: []TopOf{{"entity", 3}}},
	}}
}

// naive adds up one window by looking at all events.
func naive(def *Window, end int64, group stream.Series, events []event.Event, points []int64) Result {
	r := Result{Window: def.Name, Group: group, Start: end - int64(def.Length), End: end}
	var s sketch.Sketch
	peers, entities := map[string]bool{}, map[string]uint64{}
	for i := range events {
		e := &events[i]
		series := stream.Series{Entity: e.Entity, Signal: e.Signal}
		if points[i] < r.Start || points[i] >= r.End || !stream.Match(def.Entity, e.Entity) || !stream.Match(def.Signal, e.Signal) || def.key(series) != group {
			continue
		}
		r.Count++
		entities[e.Entity]++
		if e.Peer != "" {
			peers[e.Peer] = true
		}
		v, ok := exact.FromFloat(e.Value)
		if !ok {
			r.Unsummed++
			continue
		}
		r.Sum = r.Sum.Add(v)
		s.Add(e.Value)
	}
	r.Min, r.Max = s.Min(), s.Max()
	for _, q := range def.Quantiles {
		if v, ok := s.Quantile(q); ok {
			r.Quantiles = append(r.Quantiles, Quantile{q, v, s.RelativeError()})
		}
	}
	if len(def.Distinct) > 0 {
		r.Distinct = []Different{{"peer", uint64(len(peers))}}
	}
	if len(def.Top) > 0 {
		var list []Entry
		for _, name := range slices.Sorted(maps.Keys(entities)) {
			list = append(list, Entry{name, entities[name], 0})
		}
		slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(b.Count, a.Count) })
		r.Top = []Ranking{{"entity", list[:min(3, len(list))]}}
	}
	return r
}

type resultKey struct {
	window string
	group  stream.Series
	end    int64
}

// TestAgainstNaive steps events out of order while time goes on. The last
// revision of each result must be what a look at all events gives, none may be
// missing, and revisions must rise. Half of the engines are restored from a
// snapshot at every step.
func TestAgainstNaive(t *testing.T) {
	cfg := everything()
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 4))
		events, points := traffic(r, 1+r.IntN(500))
		e, err := New(cfg, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		marks := stream.NewWatermarks()
		last := map[resultKey]Result{}
		take := func(list []Result) {
			for _, x := range list {
				key := resultKey{x.Window, x.Group, x.End}
				if old, ok := last[key]; ok && old.Revision >= x.Revision {
					t.Fatalf("seed %d: revision %d after %d of %v", seed, x.Revision, old.Revision, key)
				}
				last[key] = x
			}
		}
		at := dawn
		for i := range events {
			observe(e, bulk, events[i], points[i])
			if r.IntN(20) == 0 {
				at += r.Int64N(second)
				marks.Set(bulk, at)
				take(e.Advance(marks))
			}
			if seed%2 == 0 && r.IntN(20) == 0 {
				b := snapshotOf(e)
				if e, err = restored(cfg, DefaultLimits(), b); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if !bytes.Equal(snapshotOf(e), b) {
					t.Fatalf("seed %d: a restored engine has other bytes", seed)
				}
			}
		}
		marks.Set(bulk, dawn+30*second)
		take(e.Advance(marks))
		for _, def := range cfg.Windows {
			def = def.filled()
			for end := floorDiv(dawn, int64(def.Slide)) * int64(def.Slide); end < dawn+20*second; end += int64(def.Slide) {
				for _, group := range groupsOf(&def, events) {
					want := naive(&def, end, group, events, points)
					got, told := last[resultKey{def.Name, group, end}]
					if told != (want.Count > 0) {
						t.Fatalf("seed %d: %s %s until %d: told %v, there are %d events", seed, def.Name, group, end-dawn, told, want.Count)
					}
					want.Revision, want.Partial, want.Active, want.Units = got.Revision, got.Partial, 1, 1
					if told && !reflect.DeepEqual(got, want) {
						t.Fatalf("seed %d: got %+v\nwant %+v", seed, got, want)
					}
				}
			}
		}
	}
}

func groupsOf(def *Window, events []event.Event) []stream.Series {
	set := map[stream.Series]bool{}
	for i := range events {
		set[def.key(stream.Series{Entity: events[i].Entity, Signal: events[i].Signal})] = true
	}
	return slices.SortedFunc(maps.Keys(set), stream.Series.Compare)
}

// TestAnyOrderGivesEqualBytes shuffles the events that come between two
// watermarks.
func TestAnyOrderGivesEqualBytes(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 8))
		events, points := traffic(r, 400)
		var want []byte
		for round := range 3 {
			e, _ := New(everything(), DefaultLimits())
			marks := stream.NewWatermarks()
			marks.Set(bulk, dawn) // so that all agree when they began
			w := pack.NewWriter()
			for part := range 8 {
				list := r.Perm(50)
				if round == 0 {
					slices.Sort(list)
				}
				tell := e.Advance(marks)
				for i := range tell {
					AppendResult(w, &tell[i])
				}
				for _, i := range list {
					observe(e, bulk, events[50*part+i], points[50*part+i])
				}
				marks.Set(bulk, dawn+int64(part)*second)
			}
			e.Snapshot(w)
			if round == 0 {
				want = w.Copy()
			} else if !bytes.Equal(w.Bytes(), want) {
				t.Fatalf("seed %d: another order gives other bytes", seed)
			}
		}
	}
}

// TestGolden pins what is told, and the bytes of results and snapshots, on
// machines of other kinds.
func TestGolden(t *testing.T) {
	cfg := everything()
	cfg.Windows[0].MaxGroups, cfg.Windows[2].Lateness = 3, time.Second
	e, err := New(cfg, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	events, points := traffic(rand.New(rand.NewPCG(42, 42)), 200)
	marks := stream.NewWatermarks()
	var out bytes.Buffer
	for i := range events {
		observe(e, bulk, events[i], points[i])
		if i%50 != 49 {
			continue
		}
		marks.Set(bulk, dawn+int64(i)*6*second/200)
		w := pack.NewWriter()
		for _, r := range e.Advance(marks) {
			fmt.Fprintln(&out, describe(&r))
			AppendResult(w, &r)
		}
		fmt.Fprintf(&out, "%d bytes of results, sha256 %x\n", w.Len(), sha256.Sum256(w.Bytes()))
		b := snapshotOf(e)
		fmt.Fprintf(&out, "%d bytes of state, sha256 %x\n", len(b), sha256.Sum256(b))
		for _, s := range e.Stats() {
			fmt.Fprintf(&out, "%+v\n", s)
		}
	}
	golden.Compare(t, "windows.txt", out.Bytes(), "raise snapshotVersion or resultVersion")
}
