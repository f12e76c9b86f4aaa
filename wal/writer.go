package wal

import (
	"fmt"
	"time"

	"pando/internal/durable"
)

const (
	// markDelay is how long a log is idle before it writes a mark that
	// vouches for its last records. Shorter would make every lone append
	// cost two syncs in a row; longer widens the window in which damage to
	// the last group passes for a torn write.
	markDelay = 100 * time.Millisecond
	// spaceRetry is the pause between two attempts to get disk space.
	spaceRetry = 250 * time.Millisecond
)

// writer is the state of the goroutine that writes. Nobody else touches it.
type writer struct {
	f      durable.File
	seg    *segment // the one being filled
	off    int64    // behind the last frame
	synced int64    // bytes of the segment before it are synced
	last   Seq      // last record before off
	acked  Seq      // last record synced
	chain  uint32   // after the last frame
	sum    *sum
	marked bool // the last frame vouches for all before it
}

// header is the template of the next frame.
func (w *writer) header(k kind) header {
	return header{kind: k, seq: w.last, behind: uint32(w.last - w.acked), group: uint32(w.synced), chain: w.chain}
}

// writeLoop writes groups until the log closes or fails.
func (l *Log) writeLoop(w *writer) {
	defer l.done.Done()
	defer func() {
		_ = w.f.Close() // what counts was synced
		w.sum.leave()
	}()
	for {
		rotate, ok := l.take(w)
		if !ok {
			if !l.idle(w) {
				return
			}
			continue
		}
		if rotate && !l.rotate(w) || !l.writeGroup(w) {
			return
		}
	}
}

// take moves the next group from the pending records into flight.
func (l *Log) take(w *writer) (rotate, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending.len() == 0 {
		return false, false
	}
	rotate = l.place.switched == l.pending.first
	boundary := l.place.switched
	if rotate {
		boundary = 0
	}
	n := l.pending.prefix(maxGroup, l.opts.GroupBytes, boundary)
	l.flight.reset(0)
	l.flight, l.pending = l.pending, l.flight
	l.flight.split(n, l.pending)
	if l.urgent > 0 {
		l.urgent--
	}
	l.space.Broadcast()
	return rotate, true
}

// idle waits for work; it writes a mark when none comes. It returns false
// when the log is closing and nothing is left to write.
func (l *Log) idle(w *writer) bool {
	var timer <-chan time.Time
	if !w.marked {
		t := time.NewTimer(markDelay)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-l.work:
		return true
	case <-timer:
		return l.mark(w)
	case <-l.quit:
		l.mu.Lock()
		empty := l.pending.len() == 0
		l.mu.Unlock()
		if !empty {
			return true
		}
		if !w.marked {
			l.mark(w)
		}
		return false
	}
}

// mark writes and syncs a mark, unless records came in between or the
// segment has no room for it.
func (l *Log) mark(w *writer) bool {
	l.mu.Lock()
	if l.pending.len() != 0 {
		l.mu.Unlock()
		return true
	}
	w.marked = true
	if l.place.off+markSize+sealSize > l.place.size {
		l.mu.Unlock()
		return true
	}
	l.place.off += markSize
	l.mu.Unlock()
	b, chain := w.header(kindMark).frame(nil, w.seg.seed, w.off)
	if !l.put(w, b) || !l.sync(w) {
		return false
	}
	w.chain = chain
	l.settle(w)
	return true
}

// writeGroup writes and syncs the group in flight.
func (l *Log) writeGroup(w *writer) bool {
	g := l.flight
	at := w.off
	t := w.header(kindRecord)
	t.seq = w.acked
	chain := g.finish(t, w.seg.seed, at)
	if !l.put(w, g.buf) {
		return false
	}
	w.chain = chain
	w.last = g.first + Seq(len(g.records)) - 1
	if !l.sync(w) {
		return false
	}
	w.marked = false
	l.mu.Lock()
	for i, r := range g.records {
		w.seg.index.add(uint64(g.first+Seq(i)-w.seg.first), at+int64(r.off)-headerSize)
	}
	l.mu.Unlock()
	l.metrics.records.Add(float64(len(g.records)))
	l.metrics.bytes.Add(float64(len(g.buf)))
	l.metrics.group.Observe(float64(len(g.buf)))
	l.settle(w)
	return true
}

// settle publishes what the last sync covers.
func (l *Log) settle(w *writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.seg.end, w.seg.last = w.off, w.last
	l.synced = w.last
	l.flight.reset(0)
	l.wakeLocked()
}

// rotate seals the segment, syncs it and goes on to the prepared one. The
// start frame there is covered by the sync of the group that follows.
func (l *Log) rotate(w *writer) bool {
	old := w.seg
	h := w.header(kindSeal)
	sum, err := w.sum.total()
	if err != nil {
		l.fail("seal segment "+old.name, err)
		return false
	}
	b, chain := h.frame(sum[:], old.seed, w.off)
	if !l.put(w, b) || !l.sync(w) {
		return false
	}
	if err := w.f.Truncate(w.off); err != nil { // the next open does it
		l.opts.Logger.Warn("sealed segment keeps its unused bytes", "segment", old.name, "error", err)
	}
	if err := w.f.Close(); err != nil {
		l.fail("close sealed segment", err)
		return false
	}
	l.mu.Lock()
	next := l.next
	old.end, old.sealed, old.sum = w.off, true, sum
	l.mu.Unlock()
	w.begin(next, chain)
	return l.start(w, sum)
}

// begin turns the writer to an unused segment.
func (w *writer) begin(p *prepared, chain uint32) {
	w.f, w.seg, w.chain = p.f, p.seg, chain
	w.off, w.synced = preambleSize, preambleSize
	w.sum = newSum()
	w.sum.write(p.seg.pre.encode())
	w.seg.first, w.seg.last, w.seg.chain = w.last+1, w.last, chain
	w.seg.end = preambleSize
}

// start writes the start frame and makes the segment the last of the list.
func (l *Log) start(w *writer, prev [hashSize]byte) bool {
	b, chain := w.header(kindStart).frame(prev[:], w.seg.seed, w.off)
	if !l.put(w, b) {
		return false
	}
	w.chain = chain
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs = append(l.segs, w.seg)
	l.next = nil
	l.place.switched = 0
	l.metrics.segments.Set(float64(len(l.segs)))
	l.metrics.size.Set(float64(l.sizeLocked()))
	l.space.Broadcast()
	return true
}

// put writes bytes behind the last frame. A disk without room is waited for:
// the same bytes are written again at the same place, and nothing new is
// accepted meanwhile. (That can happen only on file systems which do not
// write in place.) It returns false if the log failed or closed.
func (l *Log) put(w *writer, b []byte) bool {
	for {
		_, err := w.f.WriteAt(b, w.off)
		if err == nil {
			break
		}
		if !durable.Full(err) || !l.running {
			l.fail(fmt.Sprintf("write segment %s at byte %d", w.seg.name, w.off), err)
			return false
		}
		l.setStuck(fullOr(err))
		if l.sleep(spaceRetry) {
			return false
		}
	}
	l.setStuck(nil)
	w.sum.write(b)
	w.off += int64(len(b))
	return true
}

func (l *Log) setStuck(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if (err == nil) == (l.stuck == nil) {
		return
	}
	l.stuck = err
	l.metrics.full.Set(level(err != nil))
	l.space.Broadcast()
}

// sync makes everything written durable.
func (l *Log) sync(w *writer) bool {
	began := time.Now()
	if err := w.f.Datasync(); err != nil {
		l.fail("sync segment "+w.seg.name, err)
		return false
	}
	l.metrics.sync.Observe(time.Since(began).Seconds())
	w.synced, w.acked = w.off, w.last
	return true
}
