package cep

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"unique"

	"pando/event"
	"pando/event/clock"
)

// Ref names an event that belongs to a match.
type Ref struct {
	Unit unique.Handle[event.Unit]
	Seq  uint64
	Time int64
	Step uint8 // index of the step that took it
}

// state is all that decides what a run may still become, but for when it
// began. Runs of one key with equal states are kept in one [group], and a
// condition is evaluated for all of them at once.
type state struct {
	step    uint8  // of the last event
	open    uint16 // alternatives that are left; see [pattern.openings]
	count   int32  // events of the step; held at its least number if there is no most
	until   int64  // end of the absence that began with the last event, if one has a duration
	mark    uint64 // order of the event that after_match skips to, if it does
	numbers []int64
	texts   []string
}

// Alternatives of a state: another event of the same step, the first of a
// later one, or no event of the absence at the end.
const (
	repeatBit = uint16(1)
	finishBit = uint16(1) << 15
)

// laterBit is the alternative to go on with a step, which is later than that
// of the state; every bit above it stands for a later one still.
func laterBit(from, step int) uint16 { return 1 << (step - from) }

// compare orders states; equal ones have the same future.
func (s *state) compare(t *state) int {
	return cmp.Or(
		slices.Compare(s.numbers, t.numbers), slices.Compare(s.texts, t.texts), cmp.Compare(s.mark, t.mark),
		cmp.Compare(s.step, t.step), cmp.Compare(s.count, t.count), cmp.Compare(s.open, t.open), cmp.Compare(s.until, t.until),
	)
}

// sameResult tells whether matches of both states say the same of what they
// bound.
func (s *state) sameResult(t *state) bool {
	return s.mark == t.mark && slices.Equal(s.numbers, t.numbers) && slices.Equal(s.texts, t.texts)
}

// digest tells most states apart at once. Nothing else depends on it (FNV-1a
// over whole words).
func (s *state) digest() uint64 {
	h := uint64(14695981039346656037)
	mix := func(v uint64) { h = (h ^ v) * 1099511628211; h ^= h >> 29 }
	mix(uint64(s.step)<<48 | uint64(s.open)<<32 | uint64(uint32(s.count)))
	mix(uint64(s.until))
	mix(s.mark)
	for _, n := range s.numbers {
		mix(uint64(n))
	}
	for _, t := range s.texts {
		for i := range len(t) {
			h = (h ^ uint64(t[i])) * 1099511628211
		}
		mix(uint64(len(t)))
	}
	return h
}

// run is where a state began: a partial match. Runs that began with the same
// event and came to the same state by several ways are one, and count them.
type run struct {
	start    uint64 // order of the first event among all that the engine stepped
	time     int64  // of the first event
	onset    clock.Interval
	ways     uint64
	moved    bool  // it went on to another state, so its end is no near miss
	evidence []Ref // the first events, and the latest; shared and never changed
}

// group is the runs of one state, sorted by start.
type group struct {
	state
	runs  []run
	moves bool // its state changes: it leaves the groups of its key, and comes back
}

// merge adds runs of the same state, which are sorted as well.
func (g *group) merge(runs []run) {
	if len(g.runs) == 0 || len(runs) > 0 && g.runs[len(g.runs)-1].start < runs[0].start {
		g.runs = append(g.runs, runs...)
		return
	}
	merged := make([]run, 0, len(g.runs)+len(runs))
	a, b := g.runs, runs
	for len(a) > 0 && len(b) > 0 {
		switch cmp.Compare(a[0].start, b[0].start) {
		case -1:
			merged, a = append(merged, a[0]), a[1:]
		case 1:
			merged, b = append(merged, b[0]), b[1:]
		default:
			merged = append(merged, a[0].join(&b[0]))
			a, b = a[1:], b[1:]
		}
	}
	g.runs = append(append(merged, a...), b...)
}

// join makes one of two runs that began with the same event.
func (r *run) join(s *run) run {
	out := *r
	out.ways = addWays(r.ways, s.ways)
	out.moved = r.moved || s.moved
	return out
}

func addWays(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}
