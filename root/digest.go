//go:build !zos

package root

import (
	"fmt"

	"pando/event"
	"pando/root/consensus"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/wire"
)

// digest judges each section alone. Bytes that are no section are skipped, and
// the fault says so: the session that sent them ends.
func (f *FSM) digest(relay string, sections [][]byte) (*wire.DigestAnswer, string) {
	a := &wire.DigestAnswer{Judgements: make([]wire.Judgement, 0, len(sections))}
	fault := ""
	for i, b := range sections {
		sec, err := wire.DecodeSection(b)
		if err != nil {
			f.state.counts.Malformed++
			fault = fmt.Sprintf("section %d: %v", i, err)
			a.Judgements = append(a.Judgements, wire.Judgement{Verdict: custody.SkipTerm})
			continue
		}
		j := f.state.judge(relay, &sec)
		f.state.counts.Sections[j.Verdict]++
		if f.hooks.Judged != nil {
			f.hooks.Judged(&sec, &j)
		}
		a.Judgements = append(a.Judgements, j)
	}
	return a, fault
}

// judge decides on one section and counts it if it applies. The relay is the
// one whose certificate the section came with; a section in another's name
// has no authority.
func (s *state) judge(relay string, sec *wire.Section) wire.Judgement {
	h := &sec.Head
	j := wire.Judgement{Unit: h.Unit, Term: h.Term, To: h.To, Verdict: custody.SkipTerm}
	authorized := h.Relay == relay
	u, ok := s.getUnit(h.Unit)
	if authorized && h.Rest && (!ok || !u.owner.Closed) {
		s.reclose(h.Unit.Origin, h.Unit.WAL)
		u, ok = s.getUnit(h.Unit)
	}
	if !ok {
		if o, _ := s.origins.Get(h.Unit.Origin); authorized && o.forgets(h.Unit.WAL) {
			s.giveUp(sec, &j)
		}
		return j
	}
	var lost custody.Range
	if authorized {
		j.Verdict, lost = u.owner.Judge(*h)
	}
	if j.Verdict == custody.Apply {
		if !lost.Empty() {
			u.forfeit(event.Restored, lost.From, lost.To, s.now)
			s.counts.Forfeited += lost.To - lost.From + 1
		}
		u.events += sec.Rows.Events
		u.heartbeats += sec.Rows.Heartbeats
		u.losses += sec.Rows.Losses
		for _, l := range sec.Rows.Lost {
			u.lose(loss{l, h.From, h.To})
		}
		u.folded += sec.Rows.Folded
		u.unsummed += sec.Rows.Unsummed
		u.sum = u.sum.Add(sec.Rows.Sum)
		s.settled += sec.Rows.Events + sec.Rows.Heartbeats + sec.Rows.Losses
		if h.Rest {
			u.restSettled(h, &sec.Rows)
		} else {
			s.move(h.Unit, sec.Positions)
		}
		s.setUnit(h.Unit, u)
		s.tally(&sec.Rows)
	} else if authorized && j.Verdict != custody.RefuseDiverge {
		s.hear(h.Unit, &u, h.To)
	}
	j.Closed, j.InForce, j.Settled, j.Chain = u.owner.Closed, u.owner.Term, u.owner.Settled, u.owner.Chain
	return j
}

// tally adds rows to the totals of their series, and their calls to the graph.
func (s *state) tally(rows *stream.Rows) {
	for i := range rows.Rows {
		r := &rows.Rows[i]
		name := r.Series
		old, known := s.series.Get(name)
		if !known && s.series.Len() >= MaxSeries-1 {
			// The last place is for the rest.
			s.counts.FoldedSeries++
			name = stream.Series{Entity: stream.Other, Signal: stream.Other}
			old, known = s.series.Get(name)
		}
		next := total{first: r.Pane, last: r.Pane}
		if known {
			next = *old
		}
		next.count += r.Count
		next.backlog += r.Backlog
		next.sum = next.sum.Add(r.Sum)
		next.severity = max(next.severity, r.Severity)
		next.first, next.last = min(next.first, r.Pane), max(next.last, r.Pane)
		s.series.Set(name, &next)
	}
	for i := range rows.Edges {
		e := &rows.Edges[i]
		if e.From != stream.Other && e.To != stream.Other {
			// No sighting is of the future: an edge must be able to age.
			s.graph.AddEdge(e.From, e.To, min(e.Pane.Start(), s.now))
		}
	}
}

// findings puts findings into incidents, and takes expectations from those
// who own what they speak of.
func (f *FSM) findings(at consensus.At, relay string, m *wire.Findings) []Change {
	s := f.state
	for i := range m.Findings {
		// The set's time follows what findings tell, so none may tell the
		// future.
		m.Findings[i].Detected = min(m.Findings[i].Detected, s.now)
	}
	changes := s.record(at, s.set.AddAll(m.Findings, s.graph))
	for i := range m.Findings {
		first := s.remember(m.Findings[i].ID, at)
		if first {
			s.patterns.observe(&m.Findings[i], s.now)
		}
		if f.hooks.Committed != nil {
			f.hooks.Committed(&m.Findings[i], at, first)
		}
	}
	for _, n := range m.Named {
		s.set.Alias(n.ID, n.Anchor)
	}
	for i := range m.Expect {
		x := &m.Expect[i]
		u, ok := s.getUnit(x.Unit)
		if !ok || u.owner.Closed || u.owner.Relay != relay || u.owner.Term != x.Term {
			s.counts.Expectations++
			continue
		}
		s.learn(x.Unit.Origin, x.Known)
	}
	return changes
}

// remember notes where a finding was committed first, and reports whether
// that is here.
func (s *state) remember(id anomaly.ID, at consensus.At) bool {
	if _, known := s.commits.Get(id); known {
		return false
	}
	if len(s.committed) >= maxCommits {
		s.commits.Delete(s.committed[0])
		s.committed = s.committed[1:]
	}
	s.commits.Set(id, commit{index: at.Index, at: s.now})
	s.committed = append(s.committed, id)
	return true
}

// settledUnits says how far units are, for a relay that asks.
func (v *view) settledUnits(units []event.Unit) []wire.Judgement {
	out := make([]wire.Judgement, len(units))
	for i, id := range units {
		out[i] = wire.Judgement{Unit: id, Verdict: custody.Apply}
		if u, ok := v.units.Get(id); ok {
			out[i].Term, out[i].InForce, out[i].Closed = u.owner.Term, u.owner.Term, u.owner.Closed
			out[i].Settled, out[i].Chain = u.owner.Settled, u.owner.Chain
		} else if o, _ := v.origins.Get(id.Origin); o.forgets(id.WAL) {
			out[i].Closed = true // and its relay says what it holds: see giveUp
		}
	}
	return out
}
