// Package cow keeps maps of which a frozen view can be taken at any time for
// the price of copying one slice of fixed length. Later writes copy the
// buckets they touch and leave the view as it was, so a replicated state can
// be written out while entries go on being applied.
//
// Keys fall into buckets by a hash that the caller gives and that must be the
// same on every machine. Everything that depends on order is given in the
// order of keys, so equal contents give equal results whatever was inserted
// or deleted before. Values are treated as immutable: callers replace them.
package cow

import (
	"slices"
	"sync/atomic"
)

// buckets is the fixed number of buckets. With it a freeze copies 8 KiB, and
// a map of 100,000 keys copies about 100 entries at the first write to a
// bucket after a freeze.
const buckets = 1024

// entry is a key with its value.
type entry[K comparable, V any] struct {
	key   K
	value V
}

// bucket holds entries sorted by key. It belongs to the map whose age it
// bears; every other holder only reads it.
type bucket[K comparable, V any] struct {
	age     uint64
	entries []entry[K, V]
	sum     atomic.Pointer[[32]byte] // of the entries, once computed; nil after a write
}

// view is what a map and its frozen views have in common.
type view[K comparable, V any] struct {
	hash    func(K) uint64
	compare func(K, K) int
	dir     []*bucket[K, V] // nil where nothing is
	len     int
}

// Map is a map with frozen views. Not safe for concurrent use; its frozen
// views may be read by other goroutines meanwhile.
type Map[K comparable, V any] struct {
	view[K, V]
	age uint64 // buckets of this age belong to the map alone
}

// Frozen is a map as it was at [Map.Freeze]. It never changes and is safe for
// concurrent use.
type Frozen[K comparable, V any] struct{ view[K, V] }

// NewMap returns an empty map. hash must be the same function on every
// machine, compare a total order of the keys.
func NewMap[K comparable, V any](hash func(K) uint64, compare func(K, K) int) *Map[K, V] {
	return &Map[K, V]{view: view[K, V]{hash: hash, compare: compare, dir: make([]*bucket[K, V], buckets)}, age: 1}
}

// HashString is 64-bit FNV-1a (Fowler, Noll, Vo).
func HashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// find returns the key's bucket, its slot there, and whether the key is in it.
func (v *view[K, V]) find(key K) (at, slot int, ok bool) {
	at = int(v.hash(key) % buckets)
	b := v.dir[at]
	if b == nil {
		return at, 0, false
	}
	slot, ok = slices.BinarySearchFunc(b.entries, key, func(e entry[K, V], k K) int { return v.compare(e.key, k) })
	return at, slot, ok
}

// Get returns the key's value, and whether there is one.
func (v *view[K, V]) Get(key K) (value V, ok bool) {
	at, slot, ok := v.find(key)
	if ok {
		value = v.dir[at].entries[slot].value
	}
	return value, ok
}

// Len is the number of keys.
func (v *view[K, V]) Len() int { return v.len }

// Ascend calls f for every key in order until f returns false. It takes time
// n log n. The map must not be written to meanwhile.
func (v *view[K, V]) Ascend(f func(K, V) bool) {
	all := make([]entry[K, V], 0, v.len)
	for _, b := range v.dir {
		if b != nil {
			all = append(all, b.entries...)
		}
	}
	slices.SortFunc(all, func(a, b entry[K, V]) int { return v.compare(a.key, b.key) })
	for _, e := range all {
		if !f(e.key, e.value) {
			return
		}
	}
}

// Sum hashes the content: equal contents give equal sums, whatever their
// history. bucketSum hashes one bucket's keys and values, which it gets in
// order; total joins the buckets' sums. Sums of buckets are kept until a write
// to them, so after few writes it is cheap. Every call on a map and its views
// must pass the same functions.
func (v *view[K, V]) Sum(bucketSum func(each func(func(K, V))) [32]byte, total func(sums []byte) [32]byte) [32]byte {
	sums := make([]byte, 0, buckets*32)
	for _, b := range v.dir {
		var sum [32]byte
		switch {
		case b == nil || len(b.entries) == 0:
		case b.sum.Load() != nil:
			sum = *b.sum.Load()
		default:
			sum = bucketSum(func(f func(K, V)) {
				for _, e := range b.entries {
					f(e.key, e.value)
				}
			})
			b.sum.Store(&sum)
		}
		sums = append(sums, sum[:]...)
	}
	return total(sums)
}

// own returns a bucket that the map may write to.
func (m *Map[K, V]) own(at int) *bucket[K, V] {
	b := m.dir[at]
	switch {
	case b == nil:
		b = &bucket[K, V]{age: m.age}
		m.dir[at] = b
	case b.age != m.age:
		b = &bucket[K, V]{age: m.age, entries: slices.Clone(b.entries)}
		m.dir[at] = b
	default:
		b.sum.Store(nil)
	}
	return b
}

// Set gives the key a value.
func (m *Map[K, V]) Set(key K, value V) {
	at, slot, ok := m.find(key)
	b := m.own(at)
	if ok {
		b.entries[slot].value = value
		return
	}
	b.entries = slices.Insert(b.entries, slot, entry[K, V]{key, value})
	m.len++
}

// Delete removes the key and reports whether it was there.
func (m *Map[K, V]) Delete(key K) bool {
	at, slot, ok := m.find(key)
	if !ok {
		return false
	}
	b := m.own(at)
	b.entries = slices.Delete(b.entries, slot, slot+1)
	m.len--
	return true
}

// Freeze returns the map as it is now. From here on the map copies what it
// changes.
func (m *Map[K, V]) Freeze() *Frozen[K, V] {
	f := &Frozen[K, V]{m.view}
	f.dir = slices.Clone(m.dir)
	m.age++
	return f
}
