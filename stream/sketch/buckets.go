package sketch

import "slices"

// buckets counts magnitudes by their key, in one of two forms, whichever is
// smaller and faster for what is in it: a sorted list of the keys in use, or a
// window of counters over a range of keys. The form never shows in a result.
type buckets struct {
	counts []uint64 // of a window, from base on; of a list, beside keys and none of them 0
	base   int32    // the window's first key, at least 1
	window bool
	used   int     // counts that are not 0
	kept   int     // the same before the last reset
	keys   []int32 // of a list, rising
}

// A list becomes a window when it is long enough to search and at least a
// quarter of the range between its ends is in use, and a list again when less
// than about an eighth is. So a bucket takes at most 64 bytes, and a far outlier
// costs time, not memory.
const (
	minWindow   = 32
	enterWindow = 4
	leaveWindow = 8
	windowSlack = 64
)

// reset empties the buckets and keeps their memory. What comes next is like what
// was: a window that was full enough stays.
func (b *buckets) reset() {
	kept := b.used
	if b.window && len(b.counts) <= leaveWindow*kept+windowSlack {
		clear(b.counts)
		b.used, b.kept = 0, kept
		return
	}
	*b = buckets{keys: b.keys[:0], counts: b.counts[:0]}
}

// add counts a key n times more.
func (b *buckets) add(key int32, n uint64) {
	if b.window {
		if i := int(key) - int(b.base); i < 0 || i >= len(b.counts) {
			b.widen(key)
		}
	}
	if b.window {
		c := &b.counts[key-b.base]
		if *c == 0 {
			b.used++
		}
		*c = plus(*c, n)
		return
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
	if span > enterWindow*b.used {
		return
	}
	b.counts = slices.Grow(b.counts, span-b.used)[:span]
	clear(b.counts[b.used:])
	for i := b.used - 1; i >= 0; i-- { // none moves down, so from above none is overwritten
		n := b.counts[i]
		b.counts[i] = 0
		b.counts[b.keys[i]-base] = n
	}
	b.window, b.base, b.keys = true, base, b.keys[:0]
}

// widen makes room for key in the window, and some beyond, or makes it a list if
// it would be too empty.
func (b *buckets) widen(key int32) {
	lo, hi := int(b.base), int(b.base)+len(b.counts)
	if key < b.base {
		lo = max(int(key)-len(b.counts)/8, 1)
	} else {
		hi = int(key) + 1 + len(b.counts)/8
	}
	if key == 0 || hi-lo > leaveWindow*max(b.used, b.kept)+windowSlack {
		b.list()
		return
	}
	old, up := len(b.counts), int(b.base)-lo
	b.counts = slices.Grow(b.counts, hi-lo-old)[:hi-lo]
	clear(b.counts[old:])
	if up > 0 {
		copy(b.counts[up:], b.counts[:old])
		clear(b.counts[:up])
	}
	b.base = int32(lo)
}

// list makes a window a list.
func (b *buckets) list() {
	if !b.window {
		return
	}
	keys, counts := slices.Grow(b.keys[:0], b.used+1), make([]uint64, 0, b.used+1)
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
	for i, n := range b.counts {
		if n != 0 && !yield(b.key(i), n) {
			return
		}
	}
}

// falling is rising, backwards.
func (b *buckets) falling(yield func(int32, uint64) bool) {
	for i := len(b.counts) - 1; i >= 0; i-- {
		if n := b.counts[i]; n != 0 && !yield(b.key(i), n) {
			return
		}
	}
}

func (b *buckets) key(i int) int32 {
	if b.window {
		return b.base + int32(i)
	}
	return b.keys[i]
}
