package stream

import (
	"slices"

	"pando/event"
	"pando/event/clock"
)

// Arrival is a batch of a unit, placed in root time and added up: what those see
// that step its events. Everything in it but Map, At and the lines' numbers is a
// function of the batch's bytes and of Map and At. It is used again for other
// batches, so nobody keeps pointers into it; strings last. Not safe for concurrent
// use, but for reading.
type Arrival struct {
	event.Columns
	Map    clock.Mapping // places the batch's stamps in root time
	At     int64         // root time at which the batch arrived
	Points []int64       // best single times of the events in root time
	Sums   Combined
}

// Place places the events of the decoded batch.
func (a *Arrival) Place(m clock.Mapping, at int64) {
	a.Map, a.At = m, at
	a.Points = slices.Grow(a.Points[:0], a.Count)[:a.Count]
	for i, point := range a.Point {
		a.Points[i] = m.Point(point)
	}
	a.Sums.Combine(&a.Columns, a.Points)
}

// Size is about how many bytes the batch takes beside its own.
func (a *Arrival) Size() int { return a.Columns.Size() + a.Sums.size() }

// Interval is the time of event i in root time.
func (a *Arrival) Interval(i int) clock.Interval {
	iv, _ := a.Time(i, a.Map)
	return iv
}
