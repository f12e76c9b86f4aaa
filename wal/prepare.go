package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pando/internal/durable"
)

// prepared is an unused segment: named, zero-filled and synced.
type prepared struct {
	seg *segment
	f   durable.File // open for writing
}

// prepareLoop makes the next segment ready before the current one is full:
// zero-filling 64 MiB takes a good part of a second, which no append should
// wait for. Only one is ever ready.
func (l *Log) prepareLoop() {
	defer l.done.Done()
	var retry <-chan time.Time
	for {
		select {
		case <-l.prep:
		case <-retry:
		case <-l.quit:
			return
		}
		retry = nil
		if !l.prepare() {
			retry = time.After(spaceRetry)
		}
	}
}

// prepare makes a segment ready if one is missing. It returns false if it
// must be tried again.
func (l *Log) prepare() bool {
	l.mu.Lock()
	if l.next != nil || !l.wanted || l.err != nil || l.closing {
		l.mu.Unlock()
		return true
	}
	pre := l.followingLocked()
	size := l.sizeLocked()
	l.mu.Unlock()

	p, err := l.nextSegment(pre, size)
	if err != nil && !errors.Is(err, ErrFull) {
		if l.wants() == nil {
			l.fail("prepare segment", err)
		}
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.prepErr, l.wanted, l.awaited = p, err, err != nil, false
	l.metrics.full.Set(level(err != nil))
	l.metrics.size.Set(float64(l.sizeLocked()))
	l.space.Broadcast()
	return err == nil
}

// followingLocked begins the preamble of the segment after the last one.
func (l *Log) followingLocked() preamble {
	return preamble{id: l.id, number: l.segs[len(l.segs)-1].pre.number + 1, size: l.opts.SegmentBytes}
}

// nextSegment makes an unused segment, given the bytes that the others take.
// That there is no room for it is [ErrFull] and passes; any other error is
// the disk's and final, as with every write.
func (l *Log) nextSegment(pre preamble, taken int64) (*prepared, error) {
	if l.opts.MaxBytes != 0 && taken+pre.size > l.opts.MaxBytes {
		return nil, fmt.Errorf("%w: segments take %d bytes and another %d would exceed the limit of %d", ErrFull, taken, pre.size, l.opts.MaxBytes)
	}
	p, err := l.newSegment(pre)
	return p, fullOr(err)
}

func (l *Log) newSegment(pre preamble) (*prepared, error) {
	var err error
	if pre.salt, err = random64(); err != nil {
		return nil, err
	}
	f, err := createSegment(l.opts.FS, l.opts.Dir, pre, func(at int64) error { return l.pace(at, pre.size) })
	if err != nil {
		return nil, err
	}
	return &prepared{seg: &segment{name: segmentName(pre.number), pre: pre, seed: pre.seed()}, f: f}, nil
}

const (
	// paceStep is how often the preparation of a segment looks whether it should
	// go on, and paceAll how long it takes at most, without its writes: an idle log
	// has its next segment some seconds later.
	paceStep = 10 * time.Millisecond
	paceAll  = 5 * time.Second
)

// pace holds the preparation of a segment back, of which so many bytes are done, to
// twice the speed at which the present one fills up: so it is ready when that is
// three quarters full, and the disk is not busy with zeros while somebody waits
// for a sync. Its error says that the segment is not wanted any more.
func (l *Log) pace(done, size int64) error {
	if !l.running {
		return nil
	}
	most := paceAll * durable.ZeroChunk / time.Duration(size)
	for waited := time.Duration(0); ; waited += paceStep {
		if err := l.wants(); err != nil || waited >= most || l.hurries(done, size) {
			return err
		}
		l.sleep(paceStep)
	}
}

// wants reports, as an error, that nobody will write to another segment.
func (l *Log) wants() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deadLocked()
}

// hurries reports whether the preparation is behind.
func (l *Log) hurries(done, size int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A preparation begins when half of the present segment is full. Sizes are at most
	// 2^30, so that nothing overflows.
	full := 2*l.place.off - l.place.size // twice the bytes used of the other half
	return l.awaited || done*l.place.size <= 2*full*size
}

// random64 is a random number other than 0.
func random64() (uint64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("read random bytes: %w", err)
		}
		if v := binary.LittleEndian.Uint64(b[:]); v != 0 {
			return v, nil
		}
	}
}
