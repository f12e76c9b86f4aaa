package agent

import (
	"maps"
	"slices"
	"time"

	"pando/agent/input"
	"pando/event"
	"pando/event/clock"
	"pando/event/hlc"
	"pando/wal"
)

// Sizes of batches. A critical batch goes at once. The first bulk after a pause does,
// too; while bulk batches follow one another, each collects while the disk is busy
// with the last one, and for bulkEvery at least. What a batch costs beside its events
// (an fsync here and at the relay, messages, wake-ups) is worth some hundreds of
// them, and a millisecond of a processor.
const (
	bulkEvery = 30 * time.Millisecond
	// batchBytes is how large its events may become: with positions and header
	// it stays below event.MaxBatchBytes.
	batchBytes  = 640 << 10
	batchEvents = 4096
	// fullPause is how long to wait before trying a full disk again.
	fullPause = 100 * time.Millisecond
)

// Gather collects what sources read into batches of each lane. It is pure: the
// caller passes the time, appends the batches to a log, says what became of
// them, and owns the lock.
type Gather struct {
	origin   string
	limit    int // bytes of a lane's queue
	whenFull [event.Lanes]Policy

	lanes  [event.Lanes]queue
	next   [event.Lanes]uint64 // sequence of a lane's next event
	synced wal.Seq             // of the log
	bulkAt wal.Seq             // last bulk batch appended
	bulkIn time.Time           // when the next one may go that is not full
	every  time.Duration       // between two of them
	events []event.Event       // what was taken last, and the positions after it:
	after  []event.Position    // memory that is used again

	// latest positions, whichever lane: what every lane may claim to have
	// read up to, as of its next batch.
	latest map[string]event.Position
	moved  [event.Lanes]map[string]bool
}

// NewGather gathers for a log whose lanes end at last. A lane is crowded from
// limit bytes on.
func NewGather(origin string, limit int, whenFull [event.Lanes]Policy, last [event.Lanes]uint64) *Gather {
	g := &Gather{origin: origin, limit: limit, whenFull: whenFull, every: bulkEvery, latest: map[string]event.Position{}}
	for l := range g.moved {
		g.moved[l] = map[string]bool{}
		g.next[l] = last[l] + 1
	}
	return g
}

// Tune changes how much may wait, and what happens while the log is full.
func (g *Gather) Tune(limit int, whenFull [event.Lanes]Policy) { g.limit, g.whenFull = limit, whenFull }

// Ahead moves positions on to what was handed over and is on its way to the
// log: whoever reads on from there hands on what follows.
func (g *Gather) Ahead(resume [event.Lanes][]event.Position) [event.Lanes][]event.Position {
	for l := range resume {
		at := map[string]event.Position{}
		for _, p := range resume[l] {
			at[p.Source] = p
		}
		for name, p := range g.latest {
			at[name] = p
		}
		resume[l] = slices.SortedFunc(maps.Values(at), comparePositions)
	}
	return resume
}

// Crowded reports whether a lane that items go to is full.
func (g *Gather) Crowded(items []input.Item) bool {
	if g.lanes[event.Critical].bytes < g.limit && g.lanes[event.Bulk].bytes < g.limit {
		return false
	}
	return slices.ContainsFunc(items, func(it input.Item) bool { return g.lanes[it.Event.Lane()].bytes >= g.limit })
}

// Put takes items of one source. It keeps what they refer to, not the slice.
func (g *Gather) Put(items []input.Item) {
	for i := range items {
		it := &items[i]
		for _, name := range it.Retires {
			delete(g.latest, name)
			for l := range g.lanes {
				q := &g.lanes[l]
				q.retires = append(q.retires, retirement{name, q.queued})
			}
		}
		if i+1 == len(items) || items[i+1].Position.Source != it.Position.Source || len(items[i+1].Retires) > 0 {
			g.position(it.Position) // the last of a run says it all
		}
		g.lanes[it.Event.Lane()].put(&it.Event, &it.Position)
	}
}

// position takes note of where a source stands. Both lanes may say so with
// their next batch: whatever of them came before is in it or before it.
func (g *Gather) position(p event.Position) {
	g.latest[p.Source] = p
	for l := range g.moved {
		g.moved[l][p.Source] = true
	}
}

// Beat puts the agent's word on its sources into both lanes, behind all that
// the sources handed over before they gave it. It is also the moment to give
// back memory that is not needed.
func (g *Gather) Beat(list []input.Status) {
	for l := range g.lanes {
		g.lanes[l].ease()
	}
	for _, s := range list {
		for _, p := range s.Positions {
			if _, known := g.latest[p.Source]; !known {
				g.position(p)
			}
		}
		for l := range g.lanes {
			if q := &g.lanes[l]; !q.retry.IsZero() || q.bytes >= 2*g.limit {
				continue // no room; what is not said is not observed
			}
			e := event.Event{Kind: event.Heartbeat, Source: s.Source, Entity: g.origin, Signal: state(s), Value: float64(s.Lag),
				Severity: event.SeverityInfo, Stamp: event.Stamp{Lo: s.AsOf, Hi: s.AsOf, Point: s.AsOf}}
			if event.Lane(l) == event.Bulk {
				e.Criticality = 2
			}
			g.lanes[l].put(&e, &event.Position{})
		}
	}
}

// state is the signal of a heartbeat.
func state(s input.Status) string {
	switch {
	case !s.Readable:
		return "unreadable"
	case !s.CaughtUp:
		return "behind"
	}
	return "readable"
}

// Synced takes note of how far the log is on disk.
func (g *Gather) Synced(seq wal.Seq) { g.synced = max(g.synced, seq) }

// Hurry lets bulk go without waiting for the disk, or for more, for the last flush.
func (g *Gather) Hurry() { g.bulkAt, g.bulkIn, g.every = 0, time.Time{}, 0 }

// Due is how long bulk waits for more of it, from now; 0 if it does not.
func (g *Gather) Due(now time.Time) time.Duration {
	if q := &g.lanes[event.Bulk]; !q.due(now) || q.bytes >= batchBytes {
		return 0
	}
	return max(0, g.bulkIn.Sub(now))
}

// Waiting is how many items are in the queues.
func (g *Gather) Waiting() (n int) {
	for l := range g.lanes {
		n += g.lanes[l].len()
	}
	return n
}

// Taken is what the next batch is made of. It is good until the next Take.
type Taken struct {
	Lane      event.Lane
	Positions []event.Position // that the batch tells

	events []event.Event
	after  []event.Position // each event
}

// Take takes the next batch off the queues, critical first; false if none may
// go now.
func (g *Gather) Take(now time.Time) (t Taken, ok bool) {
	critical, bulk := &g.lanes[event.Critical], &g.lanes[event.Bulk]
	switch {
	case critical.due(now):
		t.Lane = event.Critical
	case bulk.due(now) && (bulk.bytes >= batchBytes || g.synced >= g.bulkAt && !now.Before(g.bulkIn)):
		t.Lane = event.Bulk
		g.bulkIn = now.Add(g.every)
	default:
		return t, false
	}
	q, n, bytes := &g.lanes[t.Lane], 0, 0
	at := newPlaces()
	for n < q.len() && n < batchEvents {
		e, p := q.at(n)
		size := e.EncodedBound()
		if n > 0 && bytes+size > batchBytes || !at.put(p) {
			break
		}
		bytes += size
		n++
	}
	g.events, g.after = q.take(n, bytes, g.events, g.after)
	t.events, t.after = g.events, g.after
	if q.len() == 0 {
		g.catchUp(t.Lane, at)
	}
	t.Positions = at.sorted()
	return t, true
}

// catchUp says where the sources stand now, since a batch empties the lane.
// What does not fit it is said with the next one.
func (g *Gather) catchUp(l event.Lane, at *places) {
	for name := range g.moved[l] {
		if p, known := g.latest[name]; known && !at.put(&p) {
			continue
		}
		delete(g.moved[l], name)
	}
}

// Batch makes what was taken into the lane's next batch, which is good until the
// next Take. Inputs hand over valid events only, and the sizes are below the
// codec's. Stamps issues so many timestamps and returns the first.
func (g *Gather) Batch(t Taken, id event.WALID, boot clock.Boot, stamps func(n int) (hlc.Timestamp, error)) (*event.Batch, error) {
	first, err := stamps(len(t.events))
	if err != nil {
		return nil, err
	}
	b := &event.Batch{Unit: event.Unit{Origin: g.origin, WAL: id, Lane: t.Lane}, First: g.next[t.Lane], Boot: boot,
		Positions: t.Positions, Events: t.events}
	for i := range b.Events {
		b.Events[i].Seq, b.Events[i].HLC = b.First+uint64(i), first+hlc.Timestamp(i)
	}
	return b, nil
}

// Appended takes note that the batch is in the log.
func (g *Gather) Appended(b *event.Batch, at wal.Seq) {
	l := b.Unit.Lane
	g.next[l] = b.Last() + 1
	g.lanes[l].retry = time.Time{}
	if l == event.Bulk {
		g.bulkAt = at
	}
}

// Full does what the lane's policy wants with what found no room. It goes back
// to the front of the queue, or the whole queue is dropped, and losses take its
// place: they count it, and move the sources' positions over it once they are
// in the log. The result is how many events are dropped, and when to try again.
func (g *Gather) Full(t Taken, now time.Time) (dropped uint64, retry time.Time) {
	q := &g.lanes[t.Lane]
	items := make([]input.Item, 0, len(t.events)+q.len())
	for i := range t.events {
		items = append(items, input.Item{Event: t.events[i], Position: t.after[i]})
	}
	for i := range q.len() {
		e, p := q.at(i)
		items = append(items, input.Item{Event: *e, Position: *p})
	}
	if g.whenFull[t.Lane] == DropNewest {
		items, dropped = losses(g.origin, t.Lane, items)
	}
	q.refill(items)
	for _, p := range t.Positions {
		g.moved[t.Lane][p.Source] = true // it is still to be said
	}
	q.retry = now.Add(fullPause)
	return dropped, q.retry
}

// Retired are the positions that a lane needs no longer, now that one more of
// its batches is in the log. Heartbeats make sure that there is always a next
// one.
func (g *Gather) Retired(l event.Lane) (names []string) {
	q := &g.lanes[l]
	for len(q.retires) > 0 && q.retires[0].after <= q.taken && len(names) < event.MaxPositions {
		names = append(names, q.retires[0].source)
		q.retires = q.retires[1:]
	}
	return names
}
