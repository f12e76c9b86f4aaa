package incident

import (
	"slices"
	"strings"
	"time"

	"pando/event"
	"pando/internal/cow"
)

const (
	// MaxEdges bounds the graph: about a thousand services with sixty peers
	// each. Edges beyond it are refused and counted.
	MaxEdges = 65536
	// MaxHops bounds how far an effect is followed. Longer call chains are
	// rare, and a longer path proves less.
	MaxHops = 8
	// seenStep is the resolution of an edge's last-seen time, so that a busy
	// edge does not change the state with every pane.
	seenStep = int64(time.Minute)
)

// Edge says that From was seen to call To.
type Edge struct {
	From, To string
	Last     int64 // root time of the newest sighting, rounded down to a minute
}

// Graph is the graph of calls, as learnt from events. Learning is commutative
// up to [MaxEdges]: the same sightings in any order give the same graph. Not
// safe for concurrent use, except for its frozen views.
type Graph struct {
	callees *cow.Map[string, []Edge] // by From, sorted by To; slices are replaced, never changed
	edges   int
	refused uint64

	// version rises with every edge that appears or goes. It serves caches
	// in memory and is no part of the state.
	version uint64
	names   []string // all nodes, sorted, as of namesAt
	namesAt uint64
}

// NewGraph returns an empty graph.
func NewGraph() *Graph {
	return &Graph{callees: cow.NewMap[string, []Edge](cow.HashString, strings.Compare), version: 1}
}

// AddEdge records that from called to at root time at. It reports false if the
// edge makes no sense or the graph is full.
func (g *Graph) AddEdge(from, to string, at int64) bool {
	if from == "" || to == "" || from == to || len(from) > event.MaxName || len(to) > event.MaxName {
		return false
	}
	seen := at - ((at%seenStep)+seenStep)%seenStep
	old, _ := g.callees.Get(from)
	slot, known := slices.BinarySearchFunc(old, to, func(e Edge, to string) int { return strings.Compare(e.To, to) })
	switch {
	case known && old[slot].Last >= seen:
		return true
	case known:
		fresh := slices.Clone(old)
		fresh[slot].Last = seen
		g.callees.Set(from, fresh)
		return true
	case g.edges >= MaxEdges:
		g.refused++
		return false
	}
	g.callees.Set(from, slices.Insert(slices.Clone(old), slot, Edge{from, to, seen}))
	g.edges++
	g.version++
	return true
}

// Expire forgets edges that were last seen before a root time, and returns
// how many.
func (g *Graph) Expire(before int64) int {
	type change struct {
		from string
		keep []Edge
	}
	var changes []change
	g.callees.Ascend(func(from string, edges []Edge) bool {
		if slices.ContainsFunc(edges, func(e Edge) bool { return e.Last < before }) {
			keep := slices.DeleteFunc(slices.Clone(edges), func(e Edge) bool { return e.Last < before })
			changes = append(changes, change{from, keep})
		}
		return true
	})
	gone := 0
	for _, c := range changes {
		old, _ := g.callees.Get(c.from)
		gone += len(old) - len(c.keep)
		if len(c.keep) == 0 {
			g.callees.Delete(c.from)
		} else {
			g.callees.Set(c.from, c.keep)
		}
	}
	if gone > 0 {
		g.edges -= gone
		g.version++
	}
	return gone
}

// Len is the number of edges, Refused how many sightings of new ones were
// turned away because the graph was full.
func (g *Graph) Len() int        { return g.edges }
func (g *Graph) Refused() uint64 { return g.refused }

// Callees returns whom from calls, sorted by name. The slice must not be
// changed.
func (g *Graph) Callees(from string) []Edge {
	edges, _ := g.callees.Get(from)
	return edges
}

// Path returns a shortest path of calls from one entity to another, both
// included, of at most limit calls (and never more than [MaxHops]); nil if
// there is none. Of several it is the first in the order of names.
func (g *Graph) Path(from, to string, limit int) []string {
	if from == to {
		return []string{from}
	}
	came := map[string]string{from: ""}
	level := []string{from}
	for range min(limit, MaxHops) {
		var next []string
		for _, at := range level {
			for _, e := range g.Callees(at) {
				if _, seen := came[e.To]; seen {
					continue
				}
				came[e.To] = at
				if e.To == to {
					return walkBack(came, from, to)
				}
				next = append(next, e.To)
			}
		}
		level = next
	}
	return nil
}

func walkBack(came map[string]string, from, to string) []string {
	path := []string{to}
	for at := to; at != from; {
		at = came[at]
		path = append(path, at)
	}
	slices.Reverse(path)
	return path
}

// nodes returns every name in the graph, sorted.
func (g *Graph) nodes() []string {
	if g.namesAt != g.version {
		set := make(map[string]struct{}, 2*g.callees.Len())
		g.callees.Ascend(func(from string, edges []Edge) bool {
			set[from] = struct{}{}
			for _, e := range edges {
				set[e.To] = struct{}{}
			}
			return true
		})
		g.names = g.names[:0]
		for n := range set {
			g.names = append(g.names, n)
		}
		slices.Sort(g.names)
		g.namesAt = g.version
	}
	return g.names
}

// nested reports whether one entity is the other or lies within it, as
// sysplex1/LPARA/CICSPAY1 lies within sysplex1/LPARA.
func nested(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return strings.HasPrefix(b, a) && (len(a) == len(b) || b[len(a)] == '/')
}

// maxInside bounds the nodes within one entity that are looked at: more than
// the jobs of one LPAR, less than a prefix that spans everything.
const maxInside = 256

// around returns the entity, what it lies within, and the nodes within it.
func (g *Graph) around(entity string) []string {
	out := []string{entity}
	for at := strings.LastIndexByte(entity, '/'); at > 0; at = strings.LastIndexByte(entity[:at], '/') {
		out = append(out, entity[:at])
	}
	names := g.nodes()
	first, _ := slices.BinarySearch(names, entity+"/")
	for _, n := range names[first:min(first+maxInside, len(names))] {
		if !strings.HasPrefix(n, entity+"/") {
			break
		}
		out = append(out, n)
	}
	return out
}

// reached returns how many calls away every entity is that an entity, or what
// it is nested with, calls directly or through others.
func (g *Graph) reached(entity string) map[string]uint8 {
	hops := map[string]uint8{}
	level := g.around(entity)
	for _, n := range level {
		hops[n] = 0
	}
	for h := uint8(1); h <= MaxHops && len(level) > 0; h++ {
		var next []string
		for _, at := range level {
			for _, e := range g.Callees(at) {
				if _, seen := hops[e.To]; !seen {
					hops[e.To] = h
					next = append(next, e.To)
				}
			}
		}
		level = next
	}
	return hops
}
