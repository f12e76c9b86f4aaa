package agent

import (
	"context"
	"errors"
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
// them to the journal. Put blocks while too much waits.
type intake struct {
	a     *Agent
	j     *journal.Journal
	limit int

	mu     sync.Mutex
	room   *sync.Cond
	lanes  [event.Lanes][]input.Item
	bytes  int
	synced wal.Seq // of the journal
	bulkAt wal.Seq // last bulk batch appended
	err    error
	work   chan struct{} // capacity 1

	// latest positions, whichever lane: what every lane may claim to have
	// read up to, as of its next batch.
	latest map[string]event.Position
	moved  [event.Lanes]map[string]bool
	next   [event.Lanes]uint64

	queued  [event.Lanes]uint64 // items ever queued
	taken   [event.Lanes]uint64 // items ever taken into a batch
	retires [event.Lanes][]retirement
}

// retirement is a position that a lane may drop once everything that was
// queued before it is in the log.
type retirement struct {
	source string
	after  uint64 // items of the lane
}

func newIntake(a *Agent, j *journal.Journal, limit int) *intake {
	in := &intake{a: a, j: j, limit: limit, work: make(chan struct{}, 1), latest: map[string]event.Position{}}
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
	for in.err == nil && ctx.Err() == nil && in.bytes >= in.limit {
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

func (in *intake) takeLocked(it input.Item) {
	for _, name := range it.Retires {
		delete(in.latest, name)
		for l := range in.retires {
			in.retires[l] = append(in.retires[l], retirement{name, in.queued[l]})
		}
	}
	in.positionLocked(it.Position)
	in.queueLocked(it.Event.Lane(), it)
}

func (in *intake) queueLocked(l event.Lane, it input.Item) {
	in.lanes[l] = append(in.lanes[l], it)
	in.queued[l]++
	in.bytes += size(&it.Event)
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
	if in.bytes >= 2*in.limit {
		return // the disk is full; what is not said is not observed
	}
	for _, s := range list {
		for _, p := range s.Positions {
			if _, known := in.latest[p.Source]; !known {
				in.positionLocked(p)
			}
		}
		for l := range in.lanes {
			e := event.Event{Kind: event.Heartbeat, Source: s.Source, Entity: in.a.name, Signal: state(s), Value: float64(s.Lag),
				Severity: event.SeverityInfo, Stamp: event.Stamp{Lo: s.AsOf, Hi: s.AsOf, Point: s.AsOf}}
			if event.Lane(l) == event.Bulk {
				e.Criticality = 2
			}
			in.queueLocked(event.Lane(l), input.Item{Event: e})
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
	err := in.flush(ctx)
	in.fail(context.Canceled)
	if err != nil {
		in.a.log.Error("stopping without room for the last events: those that came over the network are lost", "error", err)
	}
	return err
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
		if err := in.append(ctx, l, items, positions); err != nil {
			return err
		}
		if err := in.retire(ctx, l); err != nil {
			return err
		}
	}
}

// take takes the next batch's items off the queue.
func (in *intake) take() (l event.Lane, items []input.Item, positions []event.Position) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case len(in.lanes[event.Critical]) > 0:
		l = event.Critical
	case len(in.lanes[event.Bulk]) > 0 && (in.synced >= in.bulkAt || in.bytes >= batchBytes):
		l = event.Bulk
	default:
		return 0, nil, nil
	}
	queue, n, bytes := in.lanes[l], 0, 0
	at := places{list: map[string]event.Position{}}
	for n < len(queue) && n < batchEvents && bytes < batchBytes && at.put(queue[n].Position) {
		bytes += size(&queue[n].Event)
		n++
	}
	items = queue[:n:n]
	in.lanes[l] = queue[n:]
	in.taken[l] += uint64(n)
	in.bytes -= bytes
	if n == len(queue) {
		in.catchUpLocked(l, &at)
	}
	in.room.Broadcast()
	return l, items, at.sorted()
}

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

// append encodes one batch and appends it. Inputs hand over valid events
// only, and the sizes of a batch are below the codec's.
func (in *intake) append(ctx context.Context, l event.Lane, items []input.Item, positions []event.Position) error {
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
	at, err := in.journal(ctx, recBatch, body, l == event.Critical)
	if err != nil {
		return err
	}
	in.next[l] = b.Last() + 1
	if l == event.Bulk {
		in.mu.Lock()
		in.bulkAt = at
		in.mu.Unlock()
	}
	in.a.appended(&b, at)
	return nil
}

// journal appends a record, and waits while the disk is full: what was
// accepted from a source is not given up, and the sources wait meanwhile.
func (in *intake) journal(ctx context.Context, kind uint8, body []byte, urgent bool) (wal.Seq, error) {
	for {
		at, err := in.j.Append(kind, body, urgent)
		if !errors.Is(err, wal.ErrFull) {
			in.a.setFull(nil)
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
	for len(in.retires[l]) > 0 && in.retires[l][0].after <= in.taken[l] && len(names) < event.MaxPositions {
		names = append(names, in.retires[l][0].source)
		in.retires[l] = in.retires[l][1:]
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
