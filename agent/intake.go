package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"pando/agent/input"
	"pando/event"
	"pando/internal/pack"
	"pando/tree/journal"
	"pando/wal"
)

// Sizes of batches. A critical batch goes at once; bulk collects while the
// disk is busy with the last one, so the fsync is the batching window.
const (
	batchBytes  = 256 << 10
	batchEvents = 4096
	// fullPause is how long to wait before trying a full disk again.
	fullPause = 100 * time.Millisecond
)

// intake collects what sources read into batches of each lane and appends
// them to the journal. While the disk is full, what a lane's policy wants
// happens: its queue waits, and Put blocks when it is long; or what is in it
// is dropped, and a loss that says so takes its place.
type intake struct {
	a *Agent
	j *journal.Journal

	mu     sync.Mutex
	room   *sync.Cond
	limit  int // bytes of a lane's queue
	policy [event.Lanes]Policy
	lanes  [event.Lanes]queue
	synced wal.Seq // of the journal
	bulkAt wal.Seq // last bulk batch appended
	err    error
	work   chan struct{} // capacity 1

	// latest positions, whichever lane: what every lane may claim to have
	// read up to, as of its next batch.
	latest map[string]event.Position
	moved  [event.Lanes]map[string]bool
	next   [event.Lanes]uint64
}

// queue is what waits for the log in one lane.
type queue struct {
	items   []input.Item
	bytes   int
	retires []retirement
	queued  uint64    // items ever put in
	taken   uint64    // items ever taken out
	retry   time.Time // the disk was full: not before then
}

// retirement is a position that a lane may drop once everything that was
// queued before it is in the log.
type retirement struct {
	source string
	after  uint64 // items of the lane
}

func newIntake(a *Agent, j *journal.Journal) *intake {
	in := &intake{a: a, j: j, work: make(chan struct{}, 1), latest: map[string]event.Position{}}
	in.room = sync.NewCond(&in.mu)
	for l := range in.moved {
		in.moved[l] = map[string]bool{}
	}
	j.View(func(c journal.Core) {
		for l := range in.next {
			in.next[l] = c.(*core).lanes[l].last + 1
		}
	})
	return in
}

// tune sets how much may wait, and what happens while the log is full.
func (in *intake) tune(limit int, policy [event.Lanes]Policy) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.limit, in.policy = limit, policy
	in.room.Broadcast()
}

// ahead moves positions on to what was handed over and is on its way to the
// log: whoever reads on from there hands on what follows.
func (in *intake) ahead(resume [event.Lanes][]event.Position) [event.Lanes][]event.Position {
	in.mu.Lock()
	defer in.mu.Unlock()
	for l := range resume {
		at := map[string]event.Position{}
		for _, p := range resume[l] {
			at[p.Source] = p
		}
		for name, p := range in.latest {
			at[name] = p
		}
		resume[l] = slices.SortedFunc(maps.Values(at), comparePositions)
	}
	return resume
}

// Put implements [input.Sink].
func (in *intake) Put(ctx context.Context, items []input.Item) error {
	stop := context.AfterFunc(ctx, func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.room.Broadcast()
	})
	defer stop()
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.err == nil && ctx.Err() == nil && in.crowdedLocked(items) {
		in.room.Wait()
	}
	if in.err != nil {
		return in.err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, it := range items {
		in.takeLocked(it)
	}
	in.wake()
	return nil
}

// crowdedLocked reports whether a lane that items go to is full.
func (in *intake) crowdedLocked(items []input.Item) bool {
	for i := range items {
		if in.lanes[items[i].Event.Lane()].bytes >= in.limit {
			return true
		}
	}
	return false
}

func (in *intake) takeLocked(it input.Item) {
	for _, name := range it.Retires {
		delete(in.latest, name)
		for l := range in.lanes {
			q := &in.lanes[l]
			q.retires = append(q.retires, retirement{name, q.queued})
		}
	}
	in.positionLocked(it.Position)
	in.lanes[it.Event.Lane()].put(it)
}

func (q *queue) put(it input.Item) {
	q.items = append(q.items, it)
	q.queued++
	q.bytes += size(&it.Event)
}

// positionLocked takes note of where a source stands. Both lanes may say so
// with their next batch: whatever of them came before is in it or before it.
func (in *intake) positionLocked(p event.Position) {
	in.latest[p.Source] = p
	for l := range in.moved {
		in.moved[l][p.Source] = true
	}
}

// size estimates an event's memory.
func size(e *event.Event) int {
	n := 128 + len(e.Entity) + len(e.Signal) + len(e.Raw)
	for _, a := range e.Attrs {
		n += len(a.Key) + len(a.Value)
	}
	return n
}

// beat appends the agent's word on its sources to both lanes, behind all that
// the sources handed over before they gave it.
func (in *intake) beat(list []input.Status) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range list {
		for _, p := range s.Positions {
			if _, known := in.latest[p.Source]; !known {
				in.positionLocked(p)
			}
		}
		for l := range in.lanes {
			if q := &in.lanes[l]; !q.retry.IsZero() || q.bytes >= 2*in.limit {
				continue // no room; what is not said is not observed
			}
			e := event.Event{Kind: event.Heartbeat, Source: s.Source, Entity: in.a.name, Signal: state(s), Value: float64(s.Lag),
				Severity: event.SeverityInfo, Stamp: event.Stamp{Lo: s.AsOf, Hi: s.AsOf, Point: s.AsOf}}
			if event.Lane(l) == event.Bulk {
				e.Criticality = 2
			}
			in.lanes[l].put(input.Item{Event: e})
		}
	}
	in.wake()
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

func (in *intake) wake() {
	select {
	case in.work <- struct{}{}:
	default:
	}
}

// onSync takes note of how far the journal is on disk.
func (in *intake) onSync(seq wal.Seq) {
	in.mu.Lock()
	in.synced = max(in.synced, seq)
	in.mu.Unlock()
	in.wake()
}

// run appends batches until ctx is done; then it appends what is left.
func (in *intake) run(ctx context.Context) error {
	for {
		if err := in.flush(ctx); err != nil {
			in.fail(err)
			return err
		}
		select {
		case <-ctx.Done():
			return in.last()
		case <-in.work:
		}
	}
}

// lastFlush is how long a stop waits for room on a full disk. What is given up
// then has no position in the log, so files are read again from before it.
const lastFlush = 5 * time.Second

// last appends what is left when the agent stops.
func (in *intake) last() error {
	in.mu.Lock()
	in.bulkAt = 0 // nothing to wait for any more
	in.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lastFlush)
	defer cancel()
	for {
		err := in.flush(ctx)
		if err == nil && in.waiting() > 0 {
			select {
			case <-in.work: // a full disk is to be tried again
				continue
			case <-ctx.Done():
				err = in.a.fullError()
			}
		}
		if err != nil {
			in.a.log.Error("stopping without room for the last events: those that came over the network are lost", "events", in.waiting(), "error", err)
		}
		in.fail(context.Canceled)
		return err
	}
}

// waiting is how many items are in the queues.
func (in *intake) waiting() (n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for l := range in.lanes {
		n += len(in.lanes[l].items)
	}
	return n
}

func (in *intake) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	in.room.Broadcast()
}

// flush appends all that may go now, critical first.
func (in *intake) flush(ctx context.Context) error {
	for {
		l, items, positions := in.take()
		if len(items) == 0 {
			return nil
		}
		err := in.append(l, items, positions)
		if errors.Is(err, wal.ErrFull) {
			in.full(l, items, positions, err)
			continue
		}
		if err != nil {
			return err
		}
		if err := in.retire(ctx, l); err != nil {
			return err
		}
	}
}

// take takes the next batch's items off a queue.
func (in *intake) take() (l event.Lane, items []input.Item, positions []event.Position) {
	in.mu.Lock()
	defer in.mu.Unlock()
	critical, bulk := &in.lanes[event.Critical], &in.lanes[event.Bulk]
	switch now := time.Now(); {
	case critical.due(now):
		l = event.Critical
	case bulk.due(now) && (in.synced >= in.bulkAt || bulk.bytes >= batchBytes):
		l = event.Bulk
	default:
		return 0, nil, nil
	}
	q, n, bytes := &in.lanes[l], 0, 0
	at := places{list: map[string]event.Position{}}
	for n < len(q.items) && n < batchEvents && bytes < batchBytes && at.put(q.items[n].Position) {
		bytes += size(&q.items[n].Event)
		n++
	}
	items = q.items[:n:n]
	q.items = q.items[n:]
	q.taken += uint64(n)
	q.bytes -= bytes
	if len(q.items) == 0 {
		in.catchUpLocked(l, &at)
	}
	in.room.Broadcast()
	return l, items, at.sorted()
}

func (q *queue) due(now time.Time) bool { return len(q.items) > 0 && !now.Before(q.retry) }

// catchUpLocked says where the sources stand now, since a batch empties the
// lane. What does not fit it is said with the next one.
func (in *intake) catchUpLocked(l event.Lane, at *places) {
	for name := range in.moved[l] {
		if p, known := in.latest[name]; known && !at.put(p) {
			continue
		}
		delete(in.moved[l], name)
	}
}

// full does what the lane's policy wants with items that found no room. They
// go back to the front of the queue, or the whole queue is dropped, and losses
// take its place: they count it, and move the sources' positions over it once
// they are in the log.
func (in *intake) full(l event.Lane, items []input.Item, positions []event.Position, cause error) {
	in.a.setFull(cause)
	in.mu.Lock()
	defer in.mu.Unlock()
	q := &in.lanes[l]
	all := append(items[:len(items):len(items)], q.items...)
	left := all
	if in.policy[l] == DropNewest {
		var dropped uint64
		left, dropped = losses(in.a.name, l, all)
		in.a.count.dropped.WithLabelValues(l.String(), event.Overflow.String()).Add(float64(dropped))
	}
	q.items, q.bytes = left, 0
	q.taken += uint64(len(all) - len(items))
	q.taken -= uint64(len(left))
	for i := range left {
		q.bytes += size(&left[i].Event)
	}
	for _, p := range positions {
		in.moved[l][p.Source] = true // it is still to be said
	}
	q.retry = time.Now().Add(fullPause)
	in.room.Broadcast()
	time.AfterFunc(fullPause, in.wake)
}

// append encodes one batch and appends it. Inputs hand over valid events
// only, and the sizes of a batch are below the codec's. [wal.ErrFull] means
// that nothing happened.
func (in *intake) append(l event.Lane, items []input.Item, positions []event.Position) error {
	b := event.Batch{Unit: event.Unit{Origin: in.a.name, WAL: event.WALID(in.j.Log().ID()), Lane: l},
		First: in.next[l], Boot: in.a.clock.Boot(), Positions: positions, Events: make([]event.Event, len(items))}
	for i := range items {
		b.Events[i] = items[i].Event
		b.Events[i].Seq = b.First + uint64(i)
		stamp, err := in.a.clock.Stamp()
		if err != nil {
			return err
		}
		b.Events[i].HLC = stamp
	}
	body, err := b.Encode(nil)
	if err != nil {
		return err
	}
	at, err := in.j.Append(recBatch, body, l == event.Critical)
	if err != nil {
		return err
	}
	in.a.setFull(nil)
	in.next[l] = b.Last() + 1
	in.mu.Lock()
	in.lanes[l].retry = time.Time{}
	if l == event.Bulk {
		in.bulkAt = at
	}
	in.mu.Unlock()
	in.a.appended(&b, at)
	return nil
}

// journal appends a record of the agent's own, and waits while the disk is
// full even for those.
func (in *intake) journal(ctx context.Context, kind uint8, body []byte, urgent bool) (wal.Seq, error) {
	for {
		at, err := in.j.Append(kind, body, urgent)
		if !errors.Is(err, wal.ErrFull) {
			return at, err
		}
		in.a.setFull(err)
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(fullPause):
		}
	}
}

// retire drops the positions that a lane needs no longer, now that one more of
// its batches is in the log. Heartbeats make sure that there is always a next
// one.
func (in *intake) retire(ctx context.Context, l event.Lane) error {
	in.mu.Lock()
	var names []string
	q := &in.lanes[l]
	for len(q.retires) > 0 && q.retires[0].after <= q.taken && len(names) < event.MaxPositions {
		names = append(names, q.retires[0].source)
		q.retires = q.retires[1:]
	}
	in.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	w := pack.NewWriter()
	w.Uint(uint64(l))
	w.Array(len(names))
	for _, n := range names {
		w.String(n)
	}
	_, err := in.journal(ctx, recRetire, w.Bytes(), false)
	return err
}
