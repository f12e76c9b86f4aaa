package cep

import (
	"math"
	"math/bits"
)

// timer is one key's next deadline. It lies in one wheel at most.
type timer struct {
	deadline   int64 // root time
	due        *keyed
	prev, next *timer
	level      uint8
	slot       uint8
	armed      bool
}

const (
	tickBits    = 20 // a tick is 2^20 ns, about a millisecond; deadlines are exact all the same
	slotBits    = 6
	wheelSlots  = 1 << slotBits
	wheelLevels = (63-tickBits)/slotBits + 1 // so that every root time fits
)

// wheel is a hierarchical timing wheel (Varghese and Lauck, SOSP 1987): level
// l holds, in slots of 64^l ticks, the timers whose tick differs from now's in
// the l-th group of six bits first. So all timers of a level are due before
// those of the next, and a bit per slot finds the nearest without a search.
type wheel struct {
	now    int64 // root time
	levels [wheelLevels]struct {
		used  uint64 // a bit per slot that holds a timer
		slots [wheelSlots]*timer
	}
}

func tickOf(t int64) uint64 { return uint64(t) >> tickBits }

// set arms a timer, or moves it.
func (w *wheel) set(t *timer, deadline int64) {
	w.stop(t)
	t.deadline, t.armed = deadline, true
	now, tick := tickOf(w.now), tickOf(max(deadline, w.now))
	level := 0
	if diff := now ^ tick; diff != 0 {
		level = (bits.Len64(diff) - 1) / slotBits
	}
	t.level, t.slot = uint8(level), uint8(tick>>(slotBits*level)%wheelSlots)
	l := &w.levels[level]
	t.prev, t.next = nil, l.slots[t.slot]
	if t.next != nil {
		t.next.prev = t
	}
	l.slots[t.slot] = t
	l.used |= 1 << t.slot
}

// stop takes a timer out, if it is in.
func (w *wheel) stop(t *timer) {
	if !t.armed {
		return
	}
	l := &w.levels[t.level]
	if t.prev != nil {
		t.prev.next = t.next
	} else if l.slots[t.slot] = t.next; t.next == nil {
		l.used &^= 1 << t.slot
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.armed = nil, nil, false
}

// advance moves to now and appends the timers whose deadline has come, in no
// particular order; they are out of the wheel then.
func (w *wheel) advance(now int64, due []*timer) []*timer {
	for {
		level, slot, start, ok := w.nearest()
		if !ok || start > tickOf(now) {
			break
		}
		// Everything before this slot is over; its timers move to lower levels,
		// those of level 0 are due unless they lie later in now's own tick.
		w.now = max(w.now, int64(start<<tickBits))
		t := w.levels[level].slots[slot]
		w.levels[level].slots[slot] = nil
		w.levels[level].used &^= 1 << slot
		later := false
		for t != nil {
			next := t.next
			t.prev, t.next, t.armed = nil, nil, false
			if t.deadline <= now {
				due = append(due, t)
			} else {
				w.set(t, t.deadline)
				later = later || level == 0
			}
			t = next
		}
		if later {
			break
		}
	}
	w.now = max(w.now, now)
	return due
}

// nearest returns the slot that is due next, and its first tick.
func (w *wheel) nearest() (level int, slot uint8, start uint64, ok bool) {
	for level := range w.levels {
		used := w.levels[level].used
		if used == 0 {
			continue
		}
		slot := bits.TrailingZeros64(used)
		shift := uint(slotBits * level)
		above := tickOf(w.now) >> shift >> slotBits << slotBits << shift
		return level, uint8(slot), above | uint64(slot)<<shift, true
	}
	return 0, 0, 0, false
}

// next is when the wheel must advance, or earlier: the first deadline if it lies
// in now's own tick, else the beginning of the slot that is due next;
// [math.MaxInt64] if there is none.
func (w *wheel) next() int64 {
	level, slot, start, ok := w.nearest()
	switch {
	case !ok:
		return math.MaxInt64
	case start > tickOf(w.now):
		return int64(start << tickBits)
	}
	first := int64(math.MaxInt64)
	for t := w.levels[level].slots[slot]; t != nil; t = t.next {
		first = min(first, t.deadline)
	}
	return first
}
