// Package stream folds events into panes: counts and sums per series and per
// edge of the call graph, in aligned slices of event time. It also keeps the
// watermarks that say how far each unit's event time has come.
//
// Panes are keyed by event time and merge by addition, so late data is one
// more delta and nothing is thrown away: the rows of the same events have the
// same bytes, whatever order they were folded and merged in. Everything here
// is integer work without clock, goroutine, randomness or map order; a caller
// that steps the same records gets the same bytes on every machine. Nothing
// here is safe for concurrent use; each core owns what it steps.
package stream

import (
	"cmp"
	"math"
	"strings"
)

// Other stands for the entities and signals that no longer fit a bounded set.
const Other = "__other__"

// PaneNanos is the length of a pane. 100 ms is fine enough to put the onsets
// of a cascade in order and coarse enough that a busy series shrinks a
// hundredfold.
const PaneNanos = 100_000_000

// Pane is an aligned slice of event time: pane p holds the root times t with
// p*PaneNanos <= t < (p+1)*PaneNanos.
type Pane int64

// PaneOf returns the pane of a root time, rounding towards the past also
// before 1970.
func PaneOf(rootNs int64) Pane {
	p := rootNs / PaneNanos
	if rootNs%PaneNanos < 0 {
		p--
	}
	return Pane(p)
}

// Start is the first root time in the pane, in Unix nanoseconds; panes
// outside the range of 64 bits saturate.
func (p Pane) Start() int64 {
	if p > math.MaxInt64/PaneNanos {
		return math.MaxInt64
	}
	if p < math.MinInt64/PaneNanos {
		return math.MinInt64
	}
	return int64(p) * PaneNanos
}

// Series is what counts are kept for.
type Series struct {
	Entity string // the component, a path such as payments/swift-gateway
	Signal string // metric name or code: http.503, abend.S0C7
}

// Compare orders series by entity, then signal.
func (s Series) Compare(t Series) int {
	return cmp.Or(strings.Compare(s.Entity, t.Entity), strings.Compare(s.Signal, t.Signal))
}

// Spread returns a number below n, a power of two, for a slot in a small
// cache that is asked before a map: equal series have equal slots. It is made
// of the ends of the names, where they differ most, at a tenth of the price
// of a map's hash; whoever chooses names to collide only makes the cache miss.
func (s Series) Spread(n int) int {
	h := tail(s.Entity)*0x9e3779b97f4a7c15 ^ tail(s.Signal)*0xc2b2ae3d27d4eb4f // odd, of irregular bits
	return int((h ^ h>>29) * 0x9e3779b97f4a7c15 >> 40 & uint64(n-1))
}

// tail packs the last eight bytes of a string into a number.
func tail(s string) uint64 {
	if len(s) >= 8 {
		s = s[len(s)-8:]
		return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	}
	v := uint64(len(s))
	for i := range len(s) {
		v = v<<8 | uint64(s[i])
	}
	return v
}

func (s Series) String() string { return s.Entity + " " + s.Signal }
