package sketch

import (
	"math"
	"slices"
)

// buckets counts magnitudes by their key, in one of two forms, whichever is
// smaller and faster for what is in it: a sorted list of the keys in use, or a
// window of counters over a range of keys. The form never shows in a result.
type buckets struct {
	window bool
	base   int32    // the window's first key, at least 1
	slots  []uint16 // of a window, from base on: the lower halves of its counts
	high   []uint16 // beside slots, the upper halves; empty while all are 0
	used   int      // keys with a count
	kept   int      // the same before the last reset
	keys   []int32  // of a list, rising
	counts []uint64 // beside keys, none of them 0
}

// A list becomes a window when it is long enough to search and a 24th of the
// range between its ends is in use, and a list again when less than about a 32nd
// is, or a count is too large for a slot; twice as much of it if there are upper
// halves. So a bucket takes at most 64 bytes, and a far outlier costs time, not
// memory.
const (
	minWindow   = 16
	enterWindow = 24
	leaveWindow = 32
	windowSlack = 128
	maxSlot     = math.MaxUint32
	maxHalf     = math.MaxUint16
)

// room is how long a window may be.
func room(leave, used int, high bool) int {
	if high {
		leave /= 2
	}
	return leave*used + windowSlack
}

// reset empties the buckets and keeps their memory. What comes next is like what
// was: a window that was full enough stays.
func (b *buckets) reset() {
	kept := b.used
	if b.window && cap(b.slots) <= room(leaveWindow, kept, cap(b.high) > 0) {
		clear(b.slots)
		b.high, b.used, b.kept = b.high[:0], 0, kept
		return
	}
	*b = buckets{keys: b.keys[:0], counts: b.counts[:0]}
	if cap(b.keys) > leaveWindow*kept+windowSlack {
		b.keys, b.counts = nil, nil
	}
}

// held is how many bytes the memory takes that is there.
func (b *buckets) held() int { return 2*cap(b.slots) + 2*cap(b.high) + 4*cap(b.keys) + 8*cap(b.counts) }

// add counts a key n times more.
func (b *buckets) add(key int32, n uint64) {
	if b.window {
		if i := int(key) - int(b.base); i < 0 || i >= len(b.slots) {
			b.widen(key)
		}
	}
	if b.window {
		i := int(key - b.base)
		old := b.slot(i)
		if b.put(i, plus(old, n)) {
			if old == 0 {
				b.used++
			}
			return
		}
		b.list()
	}
	i := b.search(key)
	if i < len(b.keys) && b.keys[i] == key {
		b.counts[i] = plus(b.counts[i], n)
		return
	}
	b.keys, b.counts = append(b.keys, 0), append(b.counts, 0)
	copy(b.keys[i+1:], b.keys[i:])
	copy(b.counts[i+1:], b.counts[i:])
	b.keys[i], b.counts[i] = key, n
	b.used++
	b.settle()
}

// slot is the count in a slot of the window.
func (b *buckets) slot(i int) uint64 {
	n := uint64(b.slots[i])
	if len(b.high) > 0 {
		n |= uint64(b.high[i]) << 16
	}
	return n
}

// put sets a slot of the window, or reports false: the window is to be a list.
func (b *buckets) put(i int, n uint64) bool {
	switch {
	case n <= maxHalf && len(b.high) == 0:
	case n > maxSlot:
		return false
	case len(b.high) == 0:
		if len(b.slots) > room(leaveWindow, max(b.used, b.kept), true) {
			return false
		}
		b.high = slices.Grow(b.high, len(b.slots))[:len(b.slots)]
		clear(b.high)
		fallthrough
	default:
		b.high[i] = uint16(n >> 16)
	}
	b.slots[i] = uint16(n)
	return true
}

// append counts a key that is above, or below, all those of a list. The list is
// to be in order when it settles.
func (b *buckets) append(key int32, n uint64) {
	b.keys, b.counts = append(b.keys, key), append(b.counts, n)
	b.used++
}

// search finds the first key of a list that is not below key. Where it goes on is
// computed, not branched to: no processor could foresee it.
func (b *buckets) search(key int32) int {
	at, n := 0, len(b.keys)
	for n > 0 {
		half := (n + 1) / 2
		next := at + half
		if b.keys[next-1] < key {
			at = next
		}
		n -= half
	}
	return at
}

// settle makes a list a window if that is better. The key 0, of the smallest
// subnormals, is in no window, so that zero never falls into one.
func (b *buckets) settle() {
	if b.window || b.used < minWindow || b.keys[0] == 0 {
		return
	}
	base := b.keys[0]
	span := int(b.keys[b.used-1]) - int(base) + 1
	most := slices.Max(b.counts)
	wide := most > maxHalf
	if span > room(enterWindow, b.used, wide)-windowSlack || most > maxSlot {
		return
	}
	*b = buckets{window: true, base: base, slots: make([]uint16, span), used: b.used, kept: b.kept, keys: b.keys, counts: b.counts}
	if wide {
		b.high = make([]uint16, span)
	}
	for i, n := range b.counts {
		b.put(int(b.keys[i]-base), n)
	}
	b.keys, b.counts = nil, nil
}

// widen makes room for key in the window, and some beyond, or makes it a list if
// it would be too empty.
func (b *buckets) widen(key int32) {
	lo, hi := int(b.base), int(b.base)+len(b.slots)
	if key < b.base {
		lo = max(int(key)-len(b.slots)/8, 1)
	} else {
		hi = int(key) + 1 + len(b.slots)/8
	}
	if key == 0 || hi-lo > room(leaveWindow, max(b.used, b.kept), len(b.high) > 0) {
		b.list()
		return
	}
	up := int(b.base) - lo
	b.slots = moved(b.slots, up, hi-lo)
	if len(b.high) > 0 {
		b.high = moved(b.high, up, hi-lo)
	}
	b.base = int32(lo)
}

// moved makes a list longer and moves what is in it up.
func moved(list []uint16, up, length int) []uint16 {
	old := len(list)
	list = slices.Grow(list, length-old)[:length]
	clear(list[old:])
	if up > 0 {
		copy(list[up:], list[:old])
		clear(list[:up])
	}
	return list
}

// list makes a window a list.
func (b *buckets) list() {
	if !b.window {
		return
	}
	keys, counts := make([]int32, 0, b.used+1), make([]uint64, 0, b.used+1)
	for key, n := range b.rising {
		keys, counts = append(keys, key), append(counts, n)
	}
	*b = buckets{keys: keys, counts: counts, used: b.used}
}

// halve drops the last bit of each key.
func (b *buckets) halve() {
	b.list()
	n := 0
	for i, key := range b.keys {
		key >>= 1
		if n > 0 && b.keys[n-1] == key {
			b.counts[n-1] = plus(b.counts[n-1], b.counts[i])
			continue
		}
		b.keys[n], b.counts[n] = key, b.counts[i]
		n++
	}
	b.keys, b.counts, b.used = b.keys[:n], b.counts[:n], n
	b.settle()
}

// merge adds the counts of o, whose keys have so many bits more.
func (b *buckets) merge(o *buckets, finer uint8) {
	switch {
	case o.used == 0:
		return
	case b.used == 0 && finer == 0:
		b.window, b.base, b.used = o.window, o.base, o.used
		b.slots, b.high = append(b.slots[:0], o.slots...), append(b.high[:0], o.high...)
		b.keys, b.counts = append(b.keys[:0], o.keys...), append(b.counts[:0], o.counts...)
		return
	case b.window || o.used < minWindow:
		for key, n := range o.rising {
			b.add(key>>finer, n)
		}
		return
	}
	// Two lists, or as good as that: one pass instead of many insertions.
	keys, counts := make([]int32, 0, b.used+o.used), make([]uint64, 0, b.used+o.used)
	at := 0
	for key, n := range o.rising {
		key >>= finer
		for at < len(b.keys) && b.keys[at] <= key {
			keys, counts = append(keys, b.keys[at]), append(counts, b.counts[at])
			at++
		}
		if last := len(keys) - 1; last >= 0 && keys[last] == key {
			counts[last] = plus(counts[last], n)
			continue
		}
		keys, counts = append(keys, key), append(counts, n)
	}
	b.keys, b.counts = append(keys, b.keys[at:]...), append(counts, b.counts[at:]...)
	b.used = len(b.keys)
	b.settle()
}

// rising yields the keys in use and their counts.
func (b *buckets) rising(yield func(int32, uint64) bool) {
	if !b.window {
		for i, n := range b.counts {
			if !yield(b.keys[i], n) {
				return
			}
		}
		return
	}
	for i := range b.slots {
		if n := b.slot(i); n != 0 && !yield(b.base+int32(i), n) {
			return
		}
	}
}

// falling is rising, backwards.
func (b *buckets) falling(yield func(int32, uint64) bool) {
	if !b.window {
		for i := len(b.counts) - 1; i >= 0; i-- {
			if !yield(b.keys[i], b.counts[i]) {
				return
			}
		}
		return
	}
	for i := len(b.slots) - 1; i >= 0; i-- {
		if n := b.slot(i); n != 0 && !yield(b.base+int32(i), n) {
			return
		}
	}
}
