package relay

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/aggregate"
)

// arrivalOf is a batch of so many lines of a unit, as many events each.
func arrivalOf(t testing.TB, unit event.Unit, lines, each int) *stream.Arrival {
	b := event.Batch{Unit: unit, First: 1}
	for i := range lines * each {
		at := int64(i) * 1e6
		b.Events = append(b.Events, event.Event{Seq: uint64(i) + 1, Criticality: 2 * uint8(unit.Lane), Source: "s", Entity: fmt.Sprint("app/", i%lines),
			Signal: "m", Value: float64(i), Stamp: event.Stamp{Lo: at, Hi: at, Point: at}})
	}
	bytes, err := b.Encode(nil)
	a := &stream.Arrival{}
	if err == nil {
		err = a.Decode(bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.Place(clock.Mapping{}, math.MaxInt64)
	return a
}

// What is prepared gets no new numbers, of whatever unit it says to be; what is
// stepped does, and the units longest unused make room.
func TestNumberingsAreBounded(t *testing.T) {
	n := newNumberings()
	n.most = 10
	unit := func(i int) event.Unit {
		return event.Unit{Origin: fmt.Sprint("eu/a", i), WAL: 1, Lane: event.Bulk}
	}
	for i := range 100 {
		n.prepare(arrivalOf(t, unit(i), 5, 1))
	}
	if len(n.of) != 0 {
		t.Fatalf("%d units were numbered before any batch was stepped", len(n.of))
	}
	n.number(arrivalOf(t, unit(0), 1, 1))
	if n.prepare(arrivalOf(t, unit(0), 5, 1)); n.of[unit(0)].by.Len() != 1 {
		t.Errorf("%d lines have a number, one batch of one was stepped", n.of[unit(0)].by.Len())
	}
	for i := range 50 {
		n.number(arrivalOf(t, unit(i), 3, 1))
		n.number(arrivalOf(t, unit(0), 3, 1))
		sum := 0
		for _, u := range n.of {
			sum += u.by.Len()
		}
		if sum != n.lines || sum > n.most || n.of[unit(0)] == nil || n.of[unit(i)] == nil {
			t.Fatalf("after unit %d: %d lines, counted %d, of %d units", i, sum, n.lines, len(n.of))
		}
	}
	n.number(arrivalOf(t, unit(7), 30, 1)) // more than all may have
	n.number(arrivalOf(t, unit(7), 2, 1))
	if n.lines != 2 || len(n.of) != 1 {
		t.Errorf("%d lines of %d units after a unit began anew", n.lines, len(n.of))
	}
	if n.forget(unit(7)); n.lines != 0 || len(n.of) != 0 {
		t.Errorf("%d lines of %d units are left", n.lines, len(n.of))
	}
}

// Whoever looks at the windows finds every batch in them that was shown before.
func TestWindowsHaveSeenAll(t *testing.T) {
	config := aggregate.Config{Windows: []aggregate.Window{{Name: "w", Length: time.Second, Quantiles: []float64{0.5}}}}
	beside, _ := aggregate.New(config, aggregate.DefaultLimits())
	direct, err := aggregate.New(config, aggregate.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	w, by := newWindowing(beside), stream.NewNumbering()
	unit := event.Unit{Origin: "eu/a", WAL: 1, Lane: event.Bulk}
	for round := range 200 {
		for range round % (3 * maxBehind) {
			a := arrivalOf(t, unit, 4, 50)
			a.Sums.Number(by)
			direct.Observe(a, math.MaxInt64)
			w.observe(a, math.MaxInt64)
		}
		got, want := pack.NewWriter(), pack.NewWriter()
		w.engine().Snapshot(got)
		direct.Snapshot(want)
		if string(got.Bytes()) != string(want.Bytes()) {
			t.Fatalf("round %d: a batch is missing", round)
		}
	}
}
