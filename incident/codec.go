package incident

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"pando/event"
	"pando/internal/cow"
	"pando/internal/pack"
	"pando/stream/anomaly"
)

// Versions of the formats, which are part of the root's snapshot.
const (
	graphVersion = 1
	setVersion   = 1
)

// maxID is the length of the longest incident id.
const maxID = len("INC-") + maxIDChars

// AppendTo writes the graph: equal graphs have equal bytes. Format: version,
// refused, then per caller its name and an array of (callee, last seen).
func (g *Graph) AppendTo(w *pack.Writer) { g.Freeze().AppendTo(w) }

// GraphView is a graph as it was at [Graph.Freeze]; safe for concurrent use.
type GraphView struct {
	callees *cow.Frozen[string, []Edge]
	refused uint64
}

// Freeze returns the graph as it is now, for the price of a small copy.
func (g *Graph) Freeze() *GraphView { return &GraphView{g.callees.Freeze(), g.refused} }

// Edges calls f for every edge, ordered by From and To.
func (v *GraphView) Edges(f func(Edge) bool) {
	v.callees.Ascend(func(_ string, edges []Edge) bool {
		for _, e := range edges {
			if !f(e) {
				return false
			}
		}
		return true
	})
}

// AppendTo writes the graph as [Graph.AppendTo] does.
func (v *GraphView) AppendTo(w *pack.Writer) {
	w.Uint(graphVersion)
	w.Uint(v.refused)
	w.Array(v.callees.Len())
	v.callees.Ascend(func(from string, edges []Edge) bool {
		appendCallees(w, from, edges)
		return true
	})
}

func appendCallees(w *pack.Writer, from string, edges []Edge) {
	w.String(from)
	w.Array(len(edges))
	for _, e := range edges {
		w.String(e.To)
		w.Int(e.Last)
	}
}

// ReadGraph reads what AppendTo wrote. Only the bytes that AppendTo would
// write again are accepted. Errors stick in r and give an empty graph.
func ReadGraph(r *pack.Reader) *Graph {
	g := NewGraph()
	expectVersion(r, "graph version", graphVersion)
	g.refused = r.Uint("refused edges", math.MaxUint64)
	last := ""
	for n := r.Array("callers", MaxEdges); n > 0 && r.Err() == nil; n-- {
		from := r.String("caller", event.MaxName)
		if from <= last {
			r.Fail("caller", fmt.Errorf("%q is not behind %q", from, last))
		}
		last = from
		edges := readCallees(r, from, MaxEdges-g.edges)
		g.callees.Set(from, edges)
		g.edges += len(edges)
	}
	if r.Err() != nil {
		return NewGraph()
	}
	return g
}

func readCallees(r *pack.Reader, from string, limit int) []Edge {
	n := r.Array("callees", limit)
	if n == 0 && r.Err() == nil {
		r.Fail("callees", fmt.Errorf("caller %q calls nobody", from))
	}
	var edges []Edge
	last := ""
	for ; n > 0 && r.Err() == nil; n-- {
		e := Edge{From: from, To: r.String("callee", event.MaxName), Last: r.Int("last seen")}
		if e.To <= last || e.To == from || e.Last%seenStep != 0 {
			r.Fail("callee", fmt.Errorf("edge from %q to %q: out of order, or not one that is ever learnt", from, e.To))
		}
		last = e.To
		edges = append(edges, e)
	}
	return edges
}

// AppendTo writes the set, without its options: equal sets have equal bytes.
// Format: version, counters, the open and resolved incidents, the settled
// ones, the retired ids, the unattached findings.
func (s *state) AppendTo(w *pack.Writer) {
	w.Uint(setVersion)
	w.Int(s.now)
	w.Uint(s.opened)
	w.Uint(s.dropped)
	w.Uint(s.late)
	for _, list := range [][]*Incident{s.incidents, s.settled} {
		w.Array(len(list))
		for _, i := range list {
			appendIncident(w, i)
		}
	}
	s.appendRetired(w)
	unattached := s.Unattached()
	w.Array(len(unattached))
	for _, f := range unattached {
		anomaly.AppendFinding(w, *f)
	}
}

func (s *state) appendRetired(w *pack.Writer) {
	w.Array(len(s.retired))
	for _, r := range s.retired {
		w.String(r.id)
		w.String(r.into)
		w.Bin(r.anchor[:])
		w.Uint(r.number)
		w.Int(r.opened)
	}
}

// appendIncident writes what cannot be computed from the findings.
func appendIncident(w *pack.Writer, i *Incident) {
	w.String(i.ID)
	w.Uint(i.Number)
	w.Bin(i.Anchor[:])
	w.Uint(uint64(i.Status))
	w.Uint(i.Revision)
	w.Int(i.Opened)
	w.Int(i.Changed)
	w.Int(i.Resolved)
	w.Array(len(i.Findings))
	for _, f := range i.Findings {
		anomaly.AppendFinding(w, *f)
	}
}

// ReadSet reads what AppendTo wrote into a set with these options. Errors
// stick in r and give nil; so do options that are out of bounds.
func ReadSet(r *pack.Reader, opts Options) *Set {
	s, err := NewSet(opts)
	if err != nil {
		r.Fail("options", err)
		return nil
	}
	expectVersion(r, "incident set version", setVersion)
	s.now = r.Int("now")
	s.opened = r.Uint("opened", math.MaxUint64)
	s.dropped = r.Uint("dropped", math.MaxUint64)
	s.late = r.Uint("late", math.MaxUint64)
	ids := map[string]bool{}
	s.incidents = s.readIncidents(r, maxOpenCap, ids, true)
	s.settled = s.readIncidents(r, maxKeptCap, ids, false)
	s.readRetired(r, ids)
	for n := r.Array("unattached findings", maxOpenCap); n > 0 && r.Err() == nil; n-- {
		f := anomaly.ReadFinding(r)
		s.open = append(s.open, &f)
	}
	s.checkOpen(r)
	if r.Err() != nil {
		return nil
	}
	return s
}

// readIncidents reads a list; the findings of live incidents take part in
// correlation.
func (s *Set) readIncidents(r *pack.Reader, limit int, ids map[string]bool, live bool) []*Incident {
	var out []*Incident
	for n := r.Array("incidents", limit); n > 0 && r.Err() == nil; n-- {
		i := readIncident(r)
		switch {
		case r.Err() != nil:
			return nil
		case ids[i.ID]:
			r.Fail("incident", fmt.Errorf("id %s stands twice", i.ID))
		case i.Number == 0 || i.Number > s.opened:
			r.Fail("incident", fmt.Errorf("number %d, opened %d", i.Number, s.opened))
		case live == (i.Status == StatusSettled):
			r.Fail("incident", fmt.Errorf("%s is %s", i.ID, i.Status))
		case live && len(out) > 0 && out[len(out)-1].Number >= i.Number:
			r.Fail("incident", fmt.Errorf("%s is out of order", i.ID))
		}
		ids[i.ID] = true
		out = append(out, i)
		if live {
			s.open = append(s.open, i.Findings...)
		}
	}
	return out
}

func readIncident(r *pack.Reader) *Incident {
	i := &Incident{ID: r.String("incident id", maxID), Number: r.Uint("number", math.MaxUint64)}
	readID(r, "anchor", &i.Anchor)
	i.Status = Status(r.Uint("status", uint64(StatusSettled)))
	i.Revision = r.Uint("revision", math.MaxUint64)
	i.Opened = r.Int("opened")
	i.Changed = r.Int("changed")
	i.Resolved = r.Int("resolved")
	n := r.Array("findings", maxOpenCap)
	if n == 0 && r.Err() == nil {
		r.Fail("findings", errors.New("an incident without findings"))
	}
	for ; n > 0 && r.Err() == nil; n-- {
		f := anomaly.ReadFinding(r)
		i.Findings = append(i.Findings, &f)
	}
	if r.Err() != nil {
		return nil
	}
	i.First = i.Findings[0].Series.Entity
	i.Severity = severest(i.Findings)
	return i
}

func (s *Set) readRetired(r *pack.Reader, ids map[string]bool) {
	for n := r.Array("retired ids", maxRetired); n > 0 && r.Err() == nil; n-- {
		t := retired{id: r.String("retired id", maxID), into: r.String("into", maxID)}
		readID(r, "anchor", &t.anchor)
		t.number = r.Uint("number", s.opened)
		t.opened = r.Int("opened")
		if k := len(s.retired); r.Err() == nil && (ids[t.id] || k > 0 && s.retired[k-1].id >= t.id) {
			r.Fail("retired id", fmt.Errorf("%q stands twice or out of order", t.id))
		}
		s.retired = append(s.retired, t)
	}
}

// checkOpen sorts the open findings and refuses doubles and too many.
func (s *Set) checkOpen(r *pack.Reader) {
	if r.Err() != nil {
		return
	}
	if len(s.open) > maxOpenCap {
		r.Fail("open findings", fmt.Errorf("%d are above the limit of %d", len(s.open), maxOpenCap))
		return
	}
	slices.SortFunc(s.open, earlier)
	seen := map[anomaly.ID]bool{}
	for _, f := range s.open {
		if seen[f.ID] {
			r.Fail("open findings", fmt.Errorf("finding %s stands twice", f.ID))
			return
		}
		seen[f.ID] = true
	}
}

func readID(r *pack.Reader, field string, id *anomaly.ID) {
	b := r.Bin(field, len(id))
	if r.Err() == nil && len(b) != len(id) {
		r.Fail(field, fmt.Errorf("%d bytes, want %d", len(b), len(id)))
	}
	copy(id[:], b)
}

func expectVersion(r *pack.Reader, field string, known uint64) {
	if v := r.Uint(field, math.MaxUint64); r.Err() == nil && v != known {
		r.Fail(field, fmt.Errorf("%d is unknown, %d is understood", v, known))
	}
}
