package incident

import (
	"cmp"
	"slices"

	"pando/event"
	"pando/stream/anomaly"
)

// Relation is a claim about the order of two onsets.
type Relation uint8

const (
	Concurrent Relation = iota // nothing proves an order
	Before
	After
)

var relationNames = [...]string{"concurrent", "before", "after"}

func (r Relation) String() string { return name(relationNames[:], int(r), "relation") }

// MarshalText writes the relation by name.
func (r Relation) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Entry is a line of an incident's timeline.
type Entry struct {
	Finding  *anomaly.Finding
	Relation Relation // to the incident's onset
	// Direct says that the relation needs no third finding in between.
	Direct bool
}

// proof is how the order of two onsets is known.
type proof uint8

const (
	unproven proof = iota
	byClock        // their intervals are disjoint
	byLink         // a causal link
)

// span is what a finding's evidence covers in one unit.
type span struct {
	unit     event.Unit
	from, to uint64
}

// spans joins a finding's evidence by unit.
func spans(f *anomaly.Finding) []span {
	var out []span
	for _, r := range f.Evidence {
		i := slices.IndexFunc(out, func(s span) bool { return s.unit == r.Unit })
		if i < 0 {
			out = append(out, span{r.Unit, r.From, r.To})
			continue
		}
		out[i].from, out[i].to = min(out[i].from, r.From), max(out[i].to, r.To)
	}
	return out
}

// linked reports whether a's onset precedes b's by the sequence of a unit or
// by a trace.
//
// A silence begins after the last event in its evidence, any other finding at
// the first. So a silence follows what began up to its last event, and it
// precedes nothing by sequence. A trace proves the order only of load, which
// the calling span puts on the called one: of failures either side may be the
// first to notice.
func linked(a, b *anomaly.Finding, as, bs []span) bool {
	if a.Class != anomaly.Silence {
		for _, s := range as {
			for _, t := range bs {
				if s.unit != t.unit {
					continue
				}
				if b.Class == anomaly.Silence && s.from <= t.to || s.to < t.from {
					return true
				}
			}
		}
	}
	if b.Class != anomaly.Load {
		return false
	}
	for _, l := range a.Links {
		for _, m := range b.Links {
			if l.Trace == m.Trace && l.Trace != [16]byte{} && l.Span == m.Parent && l.Span != [8]byte{} {
				return true
			}
		}
	}
	return false
}

// precedes says how it is known that a's onset was before b's. Links count
// more than clocks; links that contradict each other prove nothing.
func precedes(a, b *anomaly.Finding, as, bs []span) proof {
	forth, back := linked(a, b, as, bs), linked(b, a, bs, as)
	switch {
	case forth && !back:
		return byLink
	case back && !forth:
		return unproven
	case a.Onset.Before(b.Onset):
		return byClock
	}
	return unproven
}

// earlier is the total order of findings where nothing is proven: by point,
// then id.
func earlier(a, b *anomaly.Finding) int {
	return cmp.Or(cmp.Compare(a.Point, b.Point), slices.Compare(a.ID[:], b.ID[:]))
}

// bits is a set of small numbers.
type bits []uint64

func newBits(n int) bits      { return make(bits, (n+63)/64) }
func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) or(c bits) {
	for i := range b {
		b[i] |= c[i]
	}
}
func (b bits) orMasked(c, mask bits) {
	for i := range b {
		b[i] |= c[i] & mask[i]
	}
}

// Timeline puts the incident's findings in causal order and relates each to
// the onset. It is a topological order of what links and disjoint intervals
// prove; where they prove nothing, the onset comes first, then the earlier
// point, then the lower id. Each finding's causal past is kept as a set, a
// vector clock with a component for each finding, so that an order proven by
// way of a third finding counts.
//
// Proofs that contradict each other in a circle, as wrong clocks and links
// together can, are cut at the finding with the earliest point.
func (i *Incident) Timeline() []Entry {
	n := len(i.Findings)
	ranges := make([][]span, n)
	for k, f := range i.Findings {
		ranges[k] = spans(f)
	}
	direct := make([]bits, n) // direct[k] holds those proven to precede k
	for k := range n {
		direct[k] = newBits(n)
		for j := range n {
			if j != k && precedes(i.Findings[j], i.Findings[k], ranges[j], ranges[k]) != unproven {
				direct[k].set(j)
			}
		}
	}
	order := i.topological(direct)
	past := make([]bits, n)
	done := newBits(n)
	for _, k := range order {
		past[k] = newBits(n)
		for j := range n {
			if direct[k].has(j) && done.has(j) {
				past[k].set(j)
				past[k].or(past[j])
			}
		}
		done.set(k)
	}
	out := make([]Entry, n)
	for at, k := range order {
		out[at] = Entry{Finding: i.Findings[k]}
		switch {
		case k == 0:
		case past[k].has(0):
			out[at].Relation, out[at].Direct = After, direct[k].has(0)
		case past[0].has(k):
			out[at].Relation, out[at].Direct = Before, direct[0].has(k)
		}
	}
	return out
}

// topological returns the order of i.Findings by index; direct[k] holds the
// predecessors of k. Findings[0] is the onset, the rest is sorted, so the
// lowest free index is the right one.
func (i *Incident) topological(direct []bits) []int {
	n := len(direct)
	waits := make([]int, n) // predecessors not placed yet
	for k := range n {
		for j := range n {
			if direct[k].has(j) {
				waits[k]++
			}
		}
	}
	order := make([]int, 0, n)
	placed := newBits(n)
	for len(order) < n {
		next := -1
		for k := range n {
			if placed.has(k) {
				continue
			}
			if waits[k] == 0 {
				next = k
				break
			}
			if next < 0 {
				next = k // of a circle, unless one is free
			}
		}
		placed.set(next)
		order = append(order, next)
		for k := range n {
			if !placed.has(k) && direct[k].has(next) {
				waits[k]--
			}
		}
	}
	return order
}

// Entities returns the components that have findings, in causal order.
func (i *Incident) Entities() []string {
	var out []string
	for _, e := range i.Timeline() {
		if !slices.Contains(out, e.Finding.Series.Entity) {
			out = append(out, e.Finding.Series.Entity)
		}
	}
	return out
}
