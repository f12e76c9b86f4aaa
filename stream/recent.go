package stream

// Recent is a cache that is asked before a map of series: one slot for each
// series, shared with others, found at a tenth of the price of a map's hash. It
// grows with the number of series, from a few slots to some 100 KB, since many
// of them are held. The zero value is ready. Not safe for concurrent use.
type Recent[V any] struct {
	slots []recentSlot[V] // a power of two of them
}

type recentSlot[V any] struct {
	series Series
	value  V
	used   bool
}

const (
	minRecent = 16
	maxRecent = 4096
)

// Get returns what was last put in for a series, if it is still there.
func (r *Recent[V]) Get(s Series) (v V, ok bool) {
	if len(r.slots) == 0 {
		return v, false
	}
	slot := &r.slots[s.Spread(len(r.slots))]
	if !slot.used || slot.series != s {
		return v, false
	}
	return slot.value, true
}

// Put puts a value in, in the place of another; known is how many series the
// map behind holds.
func (r *Recent[V]) Put(s Series, v V, known int) {
	switch n := len(r.slots); {
	case n == 0:
		r.slots = make([]recentSlot[V], minRecent)
	case known > n/2 && n < maxRecent:
		r.slots = make([]recentSlot[V], 2*n)
	}
	r.slots[s.Spread(len(r.slots))] = recentSlot[V]{s, v, true}
}

// Clear forgets everything, and keeps the size.
func (r *Recent[V]) Clear() { clear(r.slots) }
