package cep

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
)

// DetectorPattern is the detector's name in the findings of matches.
const DetectorPattern = "pattern"

// logicVersion is part of every finding's identity; it rises when a pattern
// decides otherwise on the same events.
const logicVersion = 1

// Match is a sequence of events that a pattern describes. All matches that
// began with the same event, end at the same moment and bound the same values
// are one.
type Match struct {
	Pattern  *Pattern
	Key      []string       // the values of the pattern's key
	Start    int64          // root time of the first event
	Onset    clock.Interval // in which that surely lies
	End      int64          // root time of the last event, or at which an absence was complete
	Ways     uint64         // in how many ways events can be assigned to the steps
	Evidence []Ref          // the first events, and the last, as many as max_events allows
	Link     anomaly.Link   // span of the last event; zero if an absence was the end
	Peer     string         // of the last event
	Numbers  []int64        // what the slots of type Number hold, in millionths, in their order
	Texts    []string       // what the slots of type Text hold
}

// report appends a match to the engine's output. X is the event that completed
// it, or nil.
func (e *Engine) report(k *keyed, at int64, x *occurrence, c *completion) {
	m := k.machine
	m.counts.Matched++
	match := Match{
		Pattern: m.Pattern, Key: keyParts(k.text), Start: c.run.time, Onset: c.run.onset, End: at,
		Ways: c.run.ways, Evidence: c.run.evidence,
		Numbers: c.state.numbers, Texts: c.state.texts,
	}
	if x != nil {
		match.Peer = strings.Clone(x.event.Peer)
		match.Link = anomaly.Link{Trace: x.event.Trace, Span: x.event.Span, Parent: x.event.Parent}
	}
	e.matches = append(e.matches, found{match, m.number, k.text})
}

// found is a match with what orders it among others of the same moment.
type found struct {
	match  Match
	number int
	key    string
}

func (f *found) compare(g *found) int {
	return cmp.Or(cmp.Compare(f.match.End, g.match.End), cmp.Compare(f.number, g.number), strings.Compare(f.key, g.key))
}

// take returns the matches in the order of their moments, patterns, keys.
func (e *Engine) take() []Match {
	slices.SortStableFunc(e.matches, func(a, b found) int { return a.compare(&b) })
	out := make([]Match, len(e.matches))
	for i := range out {
		out[i] = e.matches[i].match
	}
	clear(e.matches)
	e.matches = e.matches[:0]
	return out
}

// compareTimers orders timers that are due.
func compareTimers(a, b *timer) int {
	return cmp.Or(cmp.Compare(a.deadline, b.deadline),
		cmp.Compare(a.due.machine.number, b.due.machine.number), strings.Compare(a.due.text, b.due.text))
}

// Finding is what is to be said of the match, first at the root time now. It is
// new, so its revision is 1. Its ID depends on the pattern, the key and the
// onset only: another match that began with the same event has the same one.
func (m *Match) Finding(now int64) anomaly.Finding {
	p := m.Pattern
	_, places := p.types()
	f := anomaly.Finding{
		ID: m.id(), Revision: 1, Detector: DetectorPattern, Rule: p.Name, Version: logicVersion,
		Class: p.Report.Class, Severity: p.Report.Severity,
		Series: stream.Series{Entity: m.Texts[places[p.AboutEntity]], Signal: m.Texts[places[p.AboutSignal]]},
		Onset:  m.Onset, Point: m.Start, Decided: m.End, Detected: now, Score: 1000,
		Baseline: clip(fmt.Sprintf("pattern %s within %v", p.Name, time.Duration(p.Within)), anomaly.MaxText),
		Summary:  m.summary(), Evidence: m.ranges(), Peer: m.Peer,
	}
	if m.Link.Trace != ([16]byte{}) {
		f.Links = []anomaly.Link{m.Link}
	}
	return f
}

func (m *Match) id() anomaly.ID {
	w := pack.NewWriter()
	w.String(DetectorPattern)
	w.String(m.Pattern.Name)
	w.Uint(logicVersion)
	w.Array(len(m.Key))
	for _, part := range m.Key {
		w.String(part)
	}
	w.Int(m.Start)
	sum := sha256.Sum256(w.Bytes())
	return anomaly.ID(sum[:16])
}

// summary is the pattern's text, with the key, and what its named folds came
// to.
func (m *Match) summary() string {
	var b strings.Builder
	b.WriteString(cmp.Or(m.Pattern.Report.Summary, m.Pattern.Name))
	for i, part := range m.Key {
		fmt.Fprintf(&b, ", %v %s", m.Pattern.Key[i], part)
	}
	for i, text := range m.Values() {
		if s := &m.Pattern.Slots[i]; s.Op != Last {
			fmt.Fprintf(&b, ", %s %s", s.Name, text)
		}
	}
	return clip(b.String(), anomaly.MaxText)
}

// Values are what the pattern's slots hold, for people.
func (m *Match) Values() []string {
	types, places := m.Pattern.types()
	out := make([]string, len(types))
	for i, t := range types {
		if t == Number {
			out[i] = FormatFixed(m.Numbers[places[i]])
		} else {
			out[i] = m.Texts[places[i]]
		}
	}
	return out
}

// ranges turns the evidence into ranges of sequences by unit. Findings, which
// have no unit, are not among them.
func (m *Match) ranges() []anomaly.Ref {
	var out []anomaly.Ref
	for _, ref := range m.Evidence {
		unit := ref.Unit.Value()
		if unit == (event.Unit{}) {
			continue
		}
		at := slices.IndexFunc(out, func(r anomaly.Ref) bool { return r.Unit == unit })
		switch {
		case at >= 0:
			out[at].From, out[at].To = min(out[at].From, ref.Seq), max(out[at].To, ref.Seq)
		case len(out) < anomaly.MaxEvidence:
			out = append(out, anomaly.Ref{Unit: unit, From: ref.Seq, To: ref.Seq})
		}
	}
	return out
}
