package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"pando/agent/input"
	"pando/event"
	"pando/tree/journal"
	"pando/wal"
)

// intake appends what sources read to the journal, in the batches that a
// [Gather] makes of it. While the disk is full, what a lane's policy wants
// happens: its queue waits, and Put blocks when it is long; or what is in it
// is dropped, and a loss that says so takes its place.
type intake struct {
	a    *Agent
	j    *journal.Journal
	work chan struct{} // capacity 1

	// Memory of append, which only run calls.
	encoder event.Encoder
	body    []byte

	mu     sync.Mutex
	room   *sync.Cond
	gather *Gather
	err    error
}

func newIntake(a *Agent, j *journal.Journal) *intake {
	in := &intake{a: a, j: j, work: make(chan struct{}, 1)}
	in.room = sync.NewCond(&in.mu)
	var last [event.Lanes]uint64
	j.View(func(c journal.Core) {
		for l := range last {
			last[l] = c.(*Core).lanes[l].last
		}
	})
	in.gather = NewGather(a.name, a.opts.PendingBytes, a.opts.WhenFull, last)
	return in
}

// tune sets how much may wait, and what happens while the log is full.
func (in *intake) tune(limit int, whenFull [event.Lanes]Policy) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.gather.Tune(limit, whenFull)
	in.room.Broadcast()
}

// ahead is [Gather.Ahead].
func (in *intake) ahead(resume [event.Lanes][]event.Position) [event.Lanes][]event.Position {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.gather.Ahead(resume)
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
	for in.err == nil && ctx.Err() == nil && in.gather.Crowded(items) {
		in.room.Wait()
	}
	if in.err != nil {
		return in.err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	in.gather.Put(items)
	in.wake()
	return nil
}

// beat appends the agent's word on its sources to both lanes.
func (in *intake) beat(list []input.Status) {
	in.mu.Lock()
	in.gather.Beat(list)
	in.mu.Unlock()
	in.wake()
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
	in.gather.Synced(seq)
	in.mu.Unlock()
	in.wake()
}

// run appends batches until ctx is done; then it appends what is left.
func (in *intake) run(ctx context.Context) error {
	more := time.NewTimer(0) // when bulk has waited long enough for more of it
	defer more.Stop()
	for {
		if err := in.flush(ctx); err != nil {
			in.fail(err)
			return err
		}
		if d := in.due(); d > 0 {
			more.Reset(d)
		}
		select {
		case <-ctx.Done():
			return in.last()
		case <-in.work:
		case <-more.C:
		}
	}
}

func (in *intake) due() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.gather.Due(time.Now())
}

// lastFlush is how long a stop waits for room on a full disk. What is given up
// then has no position in the log, so files are read again from before it.
const lastFlush = 5 * time.Second

// last appends what is left when the agent stops.
func (in *intake) last() error {
	in.mu.Lock()
	in.gather.Hurry()
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
func (in *intake) waiting() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.gather.Waiting()
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
		t, ok := in.take()
		if !ok {
			return nil
		}
		err := in.append(t)
		if errors.Is(err, wal.ErrFull) {
			in.full(t, err)
			continue
		}
		if err != nil {
			return err
		}
		if err := in.retire(ctx, t.Lane); err != nil {
			return err
		}
	}
}

func (in *intake) take() (Taken, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	defer in.room.Broadcast()
	return in.gather.Take(time.Now())
}

func (in *intake) full(t Taken, cause error) {
	in.a.setFull(cause)
	in.mu.Lock()
	defer in.mu.Unlock()
	dropped, retry := in.gather.Full(t, time.Now())
	in.a.count.dropped.WithLabelValues(t.Lane.String(), event.Overflow.String()).Add(float64(dropped))
	in.room.Broadcast()
	time.AfterFunc(time.Until(retry), in.wake)
}

// append encodes one batch and appends it. [wal.ErrFull] means that nothing
// happened.
func (in *intake) append(t Taken) error {
	// Not under the lock: a stamp may wait for the disk, and what Batch reads
	// only this goroutine changes.
	b, err := in.gather.Batch(t, event.WALID(in.j.Log().ID()), in.a.clock.Boot(), in.a.clock.Stamps)
	if err != nil {
		return err
	}
	if in.body, err = in.encoder.Encode(in.body[:0], b); err != nil {
		return err
	}
	at, err := appendRecord(in.j, BatchRecord(t.Lane, in.body))
	if err != nil {
		return err
	}
	in.a.setFull(nil)
	in.mu.Lock()
	in.gather.Appended(b, at)
	in.mu.Unlock()
	in.a.appended(b, at)
	return nil
}

// journal appends a record of the agent's own, and waits while the disk is
// full even for those.
func (in *intake) journal(ctx context.Context, r Record) (wal.Seq, error) {
	for {
		at, err := appendRecord(in.j, r)
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

// retire drops the positions that a lane needs no longer.
func (in *intake) retire(ctx context.Context, l event.Lane) error {
	in.mu.Lock()
	names := in.gather.Retired(l)
	in.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	_, err := in.journal(ctx, RetireRecord(l, names))
	return err
}
