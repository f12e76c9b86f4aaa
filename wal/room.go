package wal

import (
	"errors"
	"fmt"
)

// openingPart is the part of a segment that Open wants to be free: whoever
// opens a log has something to append before it can do anything else, and
// without room for that a full log could never be eased.
const openingPart = 16

// Full tells why no further segment can be had; the error wraps [ErrFull]. It
// is nil as long as there is room, or none was asked for yet.
func (l *Log) Full() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fullLocked()
}

func (l *Log) fullLocked() error {
	if l.stuck != nil {
		return l.stuck
	}
	if l.prepErr != nil {
		return l.prepErr
	}
	return l.overLocked()
}

// Over tells, by an error that wraps [ErrFull], that the segments take more
// than the limit allows, as they may after Open. What a log has beyond its
// limit is for the records by which space is freed, not for data.
func (l *Log) Over() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overLocked()
}

func (l *Log) overLocked() error {
	if l.over == 0 {
		return nil
	}
	return fmt.Errorf("%w: segments take %d bytes more than the limit of %d", ErrFull, l.over, l.opts.MaxBytes)
}

// weigh compares the segments with the limit: only Open exceeds it, and only a
// trim helps.
func (l *Log) weigh() {
	if l.opts.MaxBytes != 0 {
		l.over = max(0, l.sizeLocked()-l.opts.MaxBytes)
	}
}

// Spare returns nil while an append of n bytes leaves one part-th of a segment
// free, or more: it waits for the next segment where that is what it takes,
// and gives [ErrFull] if it cannot be had. Whoever asks before appending what
// can wait keeps that part for the records by which space is freed.
func (l *Log) Spare(n int, part int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if err := l.deadLocked(); err != nil {
			return err
		}
		following := l.place.switched != 0 // next is this segment, until the writer has followed
		if l.freeLocked(frameSize(n)) >= l.place.size/part || l.next != nil && !following {
			return nil
		}
		if !following {
			l.wantNextLocked()
			if err := l.fullLocked(); err != nil {
				return err
			}
		}
		l.space.Wait()
	}
}

// freeLocked is what a frame of this size leaves free in the segment.
func (l *Log) freeLocked(size int64) int64 { return l.place.size - trailer - l.place.off - size }

// makeRoom prepares the next segment for a log that was found full, although
// that exceeds the limit. A disk without room is none of its errors: the log
// is as full as it was.
func (l *Log) makeRoom() error {
	if l.next != nil || l.freeLocked(0) >= l.place.size/openingPart || l.opts.MaxBytes == 0 {
		return nil
	}
	p, err := l.newSegment(l.followingLocked())
	if err = fullOr(err); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	l.next = p
	return nil
}
