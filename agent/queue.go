package agent

import (
	"time"

	"pando/agent/input"
	"pando/event"
)

const (
	// firstQueue is how many items a queue has room for at first.
	firstQueue = 256
	// keptQueue is the room that a queue keeps which is found empty, some 2 MiB:
	// twice what a batch takes. More is for a backlog.
	keptQueue = 2 * batchEvents
)

// queue is what waits for the log in one lane: a ring, so that its memory is
// used again. Item i since the start lies at i modulo its length.
type queue struct {
	events    []event.Event    // a power of two of them, or none
	positions []event.Position // after each event
	bytes     int              // of the events that wait, as [event.Event.EncodedBound] has them
	queued    uint64           // items ever put in
	taken     uint64           // items ever taken out
	retires   []retirement
	retry     time.Time // the disk was full: not before then
}

// retirement is a position that a lane may drop once everything that was
// queued before it is in the log.
type retirement struct {
	source string
	after  uint64 // items of the lane
}

func (q *queue) len() int { return int(q.queued - q.taken) }

func (q *queue) due(now time.Time) bool { return q.len() > 0 && !now.Before(q.retry) }

// at is the nth of the items that wait.
func (q *queue) at(n int) (*event.Event, *event.Position) {
	i := (q.taken + uint64(n)) & uint64(len(q.events)-1)
	return &q.events[i], &q.positions[i]
}

func (q *queue) put(e *event.Event, p *event.Position) {
	if q.len() == len(q.events) {
		q.resize(max(firstQueue, 2*len(q.events)))
	}
	i := q.queued & uint64(len(q.events)-1)
	q.events[i], q.positions[i] = *e, *p
	q.queued++
	q.bytes += e.EncodedBound()
}

// resize moves what waits to a ring of another length.
func (q *queue) resize(length int) {
	events, positions := make([]event.Event, length), make([]event.Position, length)
	for n := range q.len() {
		e, p := q.at(n)
		i := (q.taken + uint64(n)) & uint64(length-1)
		events[i], positions[i] = *e, *p
	}
	q.events, q.positions = events, positions
}

// take moves the first n items, of so many bytes, into memory that it is given,
// and returns it.
func (q *queue) take(n, bytes int, events []event.Event, positions []event.Position) ([]event.Event, []event.Position) {
	clear(events) // what the batch before referred to
	events, positions = events[:0], positions[:0]
	for i := range n {
		e, p := q.at(i)
		events, positions = append(events, *e), append(positions, *p)
		*e, *p = event.Event{}, event.Position{}
	}
	q.taken += uint64(n)
	q.bytes -= bytes
	return events, positions
}

// ease gives the memory back that a backlog took.
func (q *queue) ease() {
	if q.len() == 0 && len(q.events) > keptQueue {
		q.events, q.positions = nil, nil
	}
}

// refill puts items in the place of all that waits and of what was taken last.
func (q *queue) refill(items []input.Item) {
	q.events, q.positions, q.bytes = nil, nil, 0
	q.queued -= uint64(len(items)) // they get the numbers of the last ones
	q.taken = q.queued
	for i := range items {
		q.put(&items[i].Event, &items[i].Position)
	}
}
