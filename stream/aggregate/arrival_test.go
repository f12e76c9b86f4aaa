package aggregate

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
)

// arrivalOf is a batch of a unit's events that happened at these root times.
func arrivalOf(unit event.Unit, events []event.Event, points []int64) *stream.Arrival {
	b := event.Batch{Unit: unit, First: 1}
	for i, e := range events {
		e.Seq = b.First + uint64(i)
		if unit.Lane == event.Bulk {
			e.Criticality = 2
		}
		b.Events = append(b.Events, e)
	}
	bytes, err := b.Encode(nil)
	if err != nil {
		panic(err)
	}
	var a stream.Arrival
	if err := a.Decode(bytes); err != nil {
		panic(err)
	}
	a.Place(clock.Mapping{}, 0)
	copy(a.Points, points)
	recount(&a)
	return &a
}

// numbering is that of all units: the engine only knows lines by their names.
var numbering = stream.NewNumbering()

// recount makes up for a change of the times of a batch.
func recount(a *stream.Arrival) {
	a.Sums.Combine(&a.Columns, a.Points)
	a.Sums.Number(numbering)
}

// observe shows an engine one event, long after it happened.
func observe(e *Engine, unit event.Unit, ev event.Event, point int64) {
	e.Observe(arrivalOf(unit, []event.Event{ev}, []int64{point}), math.MaxInt64)
}

// TestBatchesCountAsTheirEvents shows one engine batches and another each of
// their events alone, in the order of their lines, some of them ahead of what has
// come of root time, some late and with little room: the states are the same.
func TestBatchesCountAsTheirEvents(t *testing.T) {
	for seed := range uint64(18) {
		r := rand.New(rand.NewPCG(seed, 9))
		limits := DefaultLimits()
		if seed%3 == 0 {
			limits = Limits{Cells: 40, Weight: 15}
		}
		config := everything()
		if seed%3 == 0 { // which windows share
			config.Windows = config.Windows[:1]
		}
		for i := range config.Windows {
			config.Windows[i].Lateness = 300 * time.Millisecond
		}
		whole, err := New(config, limits)
		if err != nil {
			t.Fatal(err)
		}
		single, _ := New(config, limits)
		marks := stream.NewWatermarks()
		for step := range int64(20) {
			events, points := traffic(r, 1+r.IntN(40))
			now := dawn + (step+3)*200*int64(time.Millisecond)
			for i := range points {
				points[i] = now - int64(time.Second) + r.Int64N(int64(1100*time.Millisecond))
			}
			a := arrivalOf(bulk, events, points)
			whole.Observe(a, now)
			if !single.started && a.Sums.Observed() {
				i := slices.IndexFunc(events, func(e event.Event) bool { return observed(e.Kind) })
				single.start(min(points[i], now))
			}
			for n := range a.Sums.Len() {
				for _, p := range a.Sums.Parts(n) {
					for _, i := range p.Events {
						single.Observe(arrivalOf(bulk, events[i:i+1], points[i:i+1]), now)
					}
				}
			}
			marks.Set(bulk, now-int64(400*time.Millisecond))
			if w, s := whole.Advance(marks), single.Advance(marks); !reflect.DeepEqual(w, s) {
				for i := range w {
					if i >= len(s) || !reflect.DeepEqual(w[i], s[i]) {
						t.Fatalf("seed %d: told %+v\none by one %+v", seed, w[i], s[min(i, len(s)-1)])
					}
				}
				t.Fatalf("seed %d: %d results were told, one by one %d", seed, len(w), len(s))
			}
		}
		w, s := pack.NewWriter(), pack.NewWriter()
		whole.Snapshot(w)
		single.Snapshot(s)
		if !bytes.Equal(w.Bytes(), s.Bytes()) {
			t.Fatalf("seed %d: the states differ", seed)
		}
		for i, x := range whole.Stats() {
			if x.Late == 0 || x.Window == "all" && x.Expired == 0 || limits.Cells == 40 && (x.Folded == 0 || x.Undetailed == 0) {
				t.Errorf("seed %d: window %d was not tried: %+v", seed, i, x)
			}
		}
	}
}
