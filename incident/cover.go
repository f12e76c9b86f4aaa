package incident

import (
	"cmp"
	"slices"

	"pando/stream/anomaly"
)

// far is the distance between components that no path connects.
const far = ^uint8(0)

// Ranks of how near a possible cause is, best first. A path's rank is
// sameComponent plus the number of calls.
const (
	sameComponent uint8 = 0
	sharedTrace   uint8 = 1
	sharedPeer    uint8 = 2
	turned        uint8 = 64 // over a component in between where the direction changes
)

// reach remembers how many calls apart the components with findings are. It
// is a cache of the graph and no part of the state.
type reach struct {
	version uint64
	slots   map[string]int
	names   []string
	within  [][]string         // what counts as arrival at a component
	from    []map[string]uint8 // what each component calls
	hops    [][]uint8          // hops[i][j]: calls from i to j; 0 if they are nested, far if there is no path
}

// slot returns the component's number, after computing its distances to all
// others if it is new.
func (r *reach) slot(g *Graph, entity string, limit int) int {
	if r.version != g.version || len(r.names) > limit {
		*r = reach{version: g.version, slots: map[string]int{}}
	}
	if s, ok := r.slots[entity]; ok {
		return s
	}
	s := len(r.names)
	r.slots[entity] = s
	r.names = append(r.names, entity)
	r.within = append(r.within, g.around(entity))
	r.from = append(r.from, g.reached(entity))
	row := make([]uint8, s+1)
	for j := range s + 1 {
		row[j] = r.distance(s, j)
	}
	for i := range s {
		r.hops[i] = append(r.hops[i], r.distance(i, s))
	}
	r.hops = append(r.hops, row)
	return s
}

func (r *reach) distance(i, j int) uint8 {
	if nested(r.names[i], r.names[j]) {
		return sameComponent
	}
	best := far
	for _, n := range r.within[j] {
		if h, ok := r.from[i][n]; ok && h > 0 {
			best = min(best, h)
		}
	}
	return best
}

// relation holds, for findings sorted by point and id, which can be the cause
// of which.
type relation struct {
	findings []*anomaly.Finding
	rank     [][]uint8 // rank[i][j]: how near a cause i is to j, or far
	causes   []bits    // causes[i] holds the effects that i can have
}

// relate computes the relation.
func (s *Set) relate(g *Graph) *relation {
	fs := s.open
	n := len(fs)
	rel := &relation{findings: fs, rank: make([][]uint8, n), causes: make([]bits, n)}
	slots, ranges := make([]int, n), make([][]span, n)
	loads, others := newBits(n), newBits(n)
	// A new graph or a full cache empties the cache while slots are handed
	// out; then the first ones are asked for again.
	for again := true; again; {
		again = false
		for i, f := range fs {
			before := len(s.reach.names)
			slots[i] = s.reach.slot(g, f.Series.Entity, 4*s.opts.MaxOpen)
			again = again || i > 0 && len(s.reach.names) < before
		}
	}
	for i, f := range fs {
		ranges[i] = spans(f)
		if f.Class == anomaly.Load {
			loads.set(i)
		} else {
			others.set(i)
		}
	}
	inTime := func(i, j int) bool { return s.inTime(fs[i], fs[j], ranges[i], ranges[j]) }
	for i := range n {
		rel.rank[i], rel.causes[i] = make([]uint8, n), newBits(n)
		for j := range n {
			rel.rank[i][j] = far
			if i == j {
				continue
			}
			if r := s.direct(fs[i], fs[j], slots[i], slots[j]); r != far && inTime(i, j) {
				rel.rank[i][j] = r
				rel.causes[i].set(j)
			}
		}
	}
	rel.turn(loads, others, inTime)
	return rel
}

// turn adds the effects that change direction once, at a finding in between.
func (rel *relation) turn(loads, others bits, inTime func(i, j int) bool) {
	n := len(rel.findings)
	over := make([]bits, n)
	for i := range n {
		over[i] = newBits(n)
		for m := range n {
			if !rel.causes[i].has(m) {
				continue
			}
			if loads.has(m) {
				over[i].orMasked(rel.causes[m], others)
			} else {
				over[i].orMasked(rel.causes[m], loads)
			}
		}
	}
	for i := range n {
		for j := range n {
			if i != j && over[i].has(j) && rel.rank[i][j] == far && inTime(i, j) {
				rel.rank[i][j] = turned
				rel.causes[i].set(j)
			}
		}
	}
}

// inTime reports whether cause can have begun before effect, and not too long
// before.
func (s *Set) inTime(cause, effect *anomaly.Finding, cs, es []span) bool {
	limit := int64(s.opts.Span)
	if cause.Class == anomaly.Novelty {
		limit = int64(s.opts.Window)
	}
	// Points are compared by difference, which wraps for absurd ones; then
	// the sign test refuses them.
	switch lag := effect.Point - cause.Point; {
	case effect.Point >= cause.Point && (lag < 0 || lag > limit):
		return false
	case effect.Point < cause.Point && (lag >= 0 || -lag > int64(s.opts.Window)):
		return false
	}
	return precedes(effect, cause, es, cs) == unproven
}

// direct ranks a cause whose effect travels in one direction, or returns far.
func (s *Set) direct(cause, effect *anomaly.Finding, c, e int) uint8 {
	best := s.reach.hops[e][c] // the effect's component calls the cause's
	if effect.Class == anomaly.Load {
		best = s.reach.hops[c][e]
	}
	if best == sameComponent {
		return best
	}
	if shareTrace(cause, effect) {
		best = min(best, sharedTrace)
	}
	if cause.Peer != "" && cause.Peer == effect.Peer && cause.Class != anomaly.Load && effect.Class != anomaly.Load {
		// Both failed in calls to the same component, which has no finding
		// of its own, or that one would be the nearer cause of both.
		best = min(best, sharedPeer)
	}
	return best
}

func shareTrace(a, b *anomaly.Finding) bool {
	return slices.ContainsFunc(a.Links, func(l anomaly.Link) bool {
		return l.Trace != [16]byte{} && slices.ContainsFunc(b.Links, func(m anomaly.Link) bool { return m.Trace == l.Trace })
	})
}

// divide splits the findings into groups, each with its onset first and the
// rest sorted; groups are ordered by their onsets.
func (rel *relation) divide() [][]int {
	n := len(rel.findings)
	onsets := rel.onsets()
	members := make(map[int][]int, len(onsets)) // looked up only, never ranged over
	isOnset := newBits(n)
	for _, o := range onsets {
		isOnset.set(o)
		members[o] = []int{o}
	}
	for j := range n {
		if isOnset.has(j) {
			continue
		}
		best := -1
		for _, o := range onsets {
			if rel.causes[o].has(j) && (best < 0 || rel.nearer(o, best, j)) {
				best = o
			}
		}
		members[best] = append(members[best], j)
	}
	slices.Sort(onsets)
	groups := make([][]int, 0, len(onsets))
	for _, o := range onsets {
		groups = append(groups, members[o])
	}
	return groups
}

// nearer reports whether onset a is the likelier cause of j than onset b: over
// fewer calls, then closer in time, then the earlier of the two.
func (rel *relation) nearer(a, b, j int) bool {
	gap := func(o int) uint64 {
		lag := rel.findings[j].Point - rel.findings[o].Point
		return uint64(max(lag, -lag))
	}
	return cmp.Or(cmp.Compare(rel.rank[a][j], rel.rank[b][j]), cmp.Compare(gap(a), gap(b)), cmp.Compare(a, b)) < 0
}

// onsets picks, again and again, the earliest finding that no other one left
// can be the cause of, and sets its effects aside. Where two can be each
// other's cause, the earlier one is. In a circle of causes, which intervals
// that overlap can make, the earliest is picked.
func (rel *relation) onsets() []int {
	n := len(rel.findings)
	// above[j] counts those left that come before j as its cause.
	above := make([]int, n)
	prior := func(i, j int) bool {
		return rel.causes[i].has(j) && (i < j || !rel.causes[j].has(i))
	}
	for i := range n {
		for j := range n {
			if i != j && prior(i, j) {
				above[j]++
			}
		}
	}
	gone := newBits(n)
	leave := func(i int) {
		gone.set(i)
		for j := range n {
			if i != j && prior(i, j) {
				above[j]--
			}
		}
	}
	var onsets []int
	for {
		next := -1
		for i := range n {
			if gone.has(i) {
				continue
			}
			if above[i] == 0 {
				next = i
				break
			}
			if next < 0 {
				next = i
			}
		}
		if next < 0 {
			return onsets
		}
		onsets = append(onsets, next)
		leave(next)
		for j := range n {
			if !gone.has(j) && rel.causes[next].has(j) {
				leave(j)
			}
		}
	}
}
