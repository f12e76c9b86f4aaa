package aggregate

import (
	"math"

	"pando/event"
	"pando/event/clock"
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
	a.Sums.Combine(&a.Columns, a.Points)
	return &a
}

// observe shows an engine one event, long after it happened.
func observe(e *Engine, unit event.Unit, ev event.Event, point int64) {
	e.Observe(arrivalOf(unit, []event.Event{ev}, []int64{point}), math.MaxInt64)
}
