package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"pando/internal/durable"
)

// trailer is the room that records leave at the end of a segment: for its
// seal, and for one mark, so that an idle log can always vouch for its last
// record.
const trailer = sealSize + markSize

// urgentMemory is for how many groups after the last urgent record bulk stays
// limited to GroupBytes. Critical traffic is rarely alone: whoever sent one
// record will send its answer or its retry within these few milliseconds.
const urgentMemory = 16

// Log is an open write-ahead log. Its methods are safe for concurrent use.
// It owns two goroutines, one that writes and one that prepares segments, and for
// a while one that works out a hash; [Log.Close] joins them.
type Log struct {
	opts    Options
	id      uint64
	lock    io.Closer // of the folder
	metrics *metrics
	files   openFiles

	notify chan struct{}
	work   chan struct{} // wakes the writer; capacity 1
	prep   chan struct{} // wakes the preparer; capacity 1
	quit   chan struct{} // closed by Close
	done   sync.WaitGroup
	// running is false while Open works: it does not wait for disk space.
	running bool

	trimMu       sync.Mutex // one trim at a time
	checkpointMu sync.Mutex // one checkpoint at a time

	mu      sync.Mutex
	space   *sync.Cond // on mu: room in the pending group, a segment prepared, or an end
	pending *group     // appended, not taken by the writer yet
	flight  *group     // being written; owned by the writer but for reads of its payloads
	last    Seq
	synced  Seq
	urgent  int // groups left during which bulk is limited
	round   chan struct{}
	segs    []*segment // by number; the last is the one the writer fills
	doomed  []*segment // trimmed, but their files could not be removed yet
	place   placement
	next    *prepared // nil: none ready
	wanted  bool      // one shall be prepared
	awaited bool      // somebody waits for it
	prepErr error     // why that failed; wraps ErrFull
	over    int64     // bytes beyond the limit; see weigh
	stuck   error     // the writer waits for disk space; wraps ErrFull
	err     error     // sticky
	closing bool
}

// placement is where the next appended record will stand. It runs ahead of
// the writer by the pending records. It leaves the writer's segment only for
// one that is already prepared, so that nothing accepted can lack space.
type placement struct {
	off, size int64
	switched  Seq // first record that goes to the prepared segment; 0: none
}

// ID is the log's identity: 64 random bits, written when it was created. It
// survives everything but the loss of the folder.
func (l *Log) ID() uint64 { return l.id }

// First is the oldest record that is kept; Last()+1 if there is none.
func (l *Log) First() Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segs[0].first
}

// Last is the newest record that was appended; First()−1 if there is none.
func (l *Log) Last() Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Synced is the newest record that an fsync covers.
func (l *Log) Synced() Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// Err is the sticky error, which wraps [ErrFailed], or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Size is the number of bytes that the segment files take on disk, the
// unused part of preallocated ones included.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sizeLocked()
}

func (l *Log) sizeLocked() int64 {
	size := int64(0)
	for _, s := range l.segs {
		size += s.fileBytes()
	}
	for _, s := range l.doomed {
		size += s.fileBytes()
	}
	if l.next != nil {
		size += l.next.seg.pre.size
	}
	return size
}

// Segments describes the segments that hold records, oldest first. The last
// one is being filled.
func (l *Log) Segments() []SegmentInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]SegmentInfo, len(l.segs))
	for i, s := range l.segs {
		list[i] = s.info()
	}
	return list
}

// Sealed describes the newest sealed segment; false if there is none. Its hash
// vouches for all segments before it: each begins with the hash of the one
// before.
func (l *Log) Sealed() (SegmentInfo, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.segs) - 1; i >= 0; i-- {
		if l.segs[i].sealed {
			return l.segs[i].info(), true
		}
	}
	return SegmentInfo{}, false
}

// Notify returns a channel of capacity 1 that gets a value after each sync
// and when the log fails; it is for one receiver, which then looks at
// [Log.Synced] and [Log.Err].
func (l *Log) Notify() <-chan struct{} { return l.notify }

// Append copies rec into the pending group and returns its sequence; calls
// that return one after the other get rising sequences without gaps. It does
// not wait for the disk, except while the pending group is full or the next
// segment is being prepared: that is the back pressure. An urgent record goes
// in although the group is full for bulk, and keeps groups short.
//
// Errors: [ErrTooLarge]; [ErrFull] while no space can be had, in which case
// nothing was accepted; [ErrFailed]; [ErrClosed].
func (l *Log) Append(rec []byte, urgent bool) (Seq, error) { return l.AppendParts(urgent, rec) }

// AppendParts is [Log.Append] of a record in parts.
func (l *Log) AppendParts(urgent bool, parts ...[]byte) (Seq, error) {
	n := lengthOf(parts)
	if n > l.opts.maxRecord() {
		return 0, fmt.Errorf("append %d bytes: %w: at most %d fit a record here", n, ErrTooLarge, l.opts.maxRecord())
	}
	size := frameSize(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	if urgent {
		l.urgent = urgentMemory
	}
	for {
		ready, err := l.roomLocked(size, urgent)
		if err != nil {
			l.metrics.refused.Inc()
			return 0, fmt.Errorf("append: %w", err)
		}
		if ready {
			break
		}
		l.space.Wait()
	}
	l.last++
	l.pending.add(urgent, parts...)
	l.place.off += size
	if l.next == nil && !l.wanted && l.place.off > l.place.size/2 {
		l.wantNextLocked()
	}
	wake(l.work)
	return l.last, nil
}

// roomLocked tells whether a frame of this size can be appended now. It moves
// the placement to the prepared segment where that is what it takes.
func (l *Log) roomLocked(size int64, urgent bool) (bool, error) {
	if err := l.deadLocked(); err != nil {
		return false, err
	}
	if l.stuck != nil {
		return false, l.stuck
	}
	limit := maxGroup
	if urgent {
		limit = 2 * maxGroup // bulk may have filled the group to the brim
	} else if l.urgent > 0 {
		limit = l.opts.GroupBytes
	}
	if l.pending.len() > 0 && int64(l.pending.len())+size > int64(limit) {
		return false, nil
	}
	if l.place.off+size+trailer <= l.place.size {
		return true, nil
	}
	if l.place.switched != 0 { // the writer has yet to follow
		return false, nil
	}
	if l.next == nil {
		l.wantNextLocked()
		l.awaited = true
		return false, l.prepErr
	}
	l.place = placement{off: preambleSize + startSize, size: l.next.seg.pre.size, switched: l.last + 1}
	return l.place.off+size+trailer <= l.place.size, nil
}

// wantNextLocked asks for the next segment to be prepared.
func (l *Log) wantNextLocked() {
	if !l.wanted {
		l.wanted = true
		wake(l.prep)
	}
}

func (l *Log) deadLocked() error {
	if l.err != nil {
		return l.err
	}
	if l.closing {
		return ErrClosed
	}
	return nil
}

// Wait returns nil once an fsync covers the record, or the sticky error if
// that will never be, or the context's error.
func (l *Log) Wait(ctx context.Context, seq Seq) error {
	for {
		l.mu.Lock()
		if seq <= l.synced {
			l.mu.Unlock()
			return nil
		}
		err := l.err
		if err == nil && seq > l.last {
			err = fmt.Errorf("the log ends with record %d: %w", l.last, io.EOF)
		}
		if l.round == nil {
			l.round = make(chan struct{})
		}
		round := l.round
		l.mu.Unlock()
		if err != nil {
			return fmt.Errorf("wait for record %d: %w", seq, err)
		}
		select {
		case <-round:
		case <-ctx.Done():
			return fmt.Errorf("wait for record %d: %w", seq, ctx.Err())
		}
	}
}

// wakeLocked tells everybody that the log's state has changed.
func (l *Log) wakeLocked() {
	if l.round != nil {
		close(l.round)
		l.round = nil
	}
	l.space.Broadcast()
	wake(l.notify)
}

// fail makes err sticky: nothing is acknowledged from here on.
func (l *Log) fail(op string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("%w: %s: %w", ErrFailed, op, err)
		l.metrics.failed.Set(1)
	}
	l.wakeLocked()
}

// Close writes and syncs what was appended, gives the folder back and ends
// the log's goroutines. Appends that wait return [ErrClosed]. Its error tells
// that not everything was synced.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return fmt.Errorf("close: %w", ErrClosed)
	}
	l.closing = true
	close(l.quit)
	l.space.Broadcast()
	l.mu.Unlock()
	l.done.Wait()
	return l.release()
}

// release gives back what Open took, once the goroutines have ended.
func (l *Log) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := []error{l.err}
	if l.err == nil && l.synced < l.last {
		errs = append(errs, fmt.Errorf("records %d to %d were accepted, but are not synced: %w", l.synced+1, l.last, l.stuck))
	}
	if l.err == nil {
		l.err = ErrClosed
	}
	l.wakeLocked()
	if l.next != nil {
		errs = append(errs, l.next.f.Close())
	}
	l.files.closeAll()
	errs = append(errs, l.lock.Close())
	l.metrics.unregister()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// wake puts a value into a channel of capacity 1 unless there is one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits for d, or less when the log closes, which it reports.
func (l *Log) sleep(d time.Duration) (closing bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return false
	case <-l.quit:
		return true
	}
}

// fullOr marks an error as ErrFull if the disk has no room left.
func fullOr(err error) error {
	if durable.Full(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
