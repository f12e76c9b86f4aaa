package anomaly

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/stream"
)

const (
	// subSpans divide a rule's span: events are counted over at least the
	// span and at most a sixteenth more.
	subSpans = 16
	slots    = subSpans + 1
	// staleAfter keeps an idle window for events of a lane that lags.
	staleAfter = 5 * time.Minute
	// maxFlaps bounds how often a finding that comes back doubles the calm
	// it needs: to sixteen times the configured one.
	maxFlaps = 4
)

type windowKey struct {
	rule   string
	series stream.Series
}

func (k windowKey) compare(l windowKey) int {
	return cmp.Or(strings.Compare(k.rule, l.rule), k.series.Compare(l.series))
}

// window counts the events of one series for one rule that surely happened in
// the last span of event time, in a ring of aligned sub-spans. An event counts
// in the sub-span in which it may have happened first, and the window ends with
// the latest: what was read at once, after a pause, was not said at once.
type window struct {
	key     windowKey
	rule    *Rule
	width   int64 // of a sub-span, nanoseconds
	head    int64 // index of the newest sub-span: root time / width
	total   int64 // over all slots
	ring    [slots]slot
	finding *Finding // the latest, nil before the first; immutable
	unit    event.Unit
	active  bool  // the finding is not over
	calm    int64 // event time at which an active one fell below half; 0 if it did not
	rearm   int64 // root time up to which the rule comes back as the same finding
	flaps   uint8 // how often it did
}

// slot is one sub-span.
type slot struct {
	count int64
	point int64          // of its earliest event
	onset clock.Interval // of the same
	ref   Ref            // the events of the unit that came first
}

// newWindow starts a window at the event time of its first event.
func newWindow(r *Rule, s stream.Series, point int64) *window {
	width := (int64(r.Within) + subSpans - 1) / subSpans
	return &window{key: windowKey{r.Name, s}, rule: r, width: width, head: point / width}
}

// count lets every rule that the line matches count the event.
func (e *Engine) count(ln *line, s *sighting, out []Finding) []Finding {
	for i := range ln.by.rules {
		r := ln.by.rules[i].rule
		if s.severity < event.Severity(r.MinSeverity) {
			continue
		}
		w := ln.by.rules[i].window
		if w == nil {
			if w = e.window(r, s); w == nil {
				e.refused.Windows++
				continue
			}
			ln.by.rules[i].window = w
		}
		if !w.add(s) {
			e.refused.Late++
			continue
		}
		if !w.active && w.total >= r.Count {
			out = append(out, *e.raise(w, s))
		}
	}
	return out
}

func (e *Engine) window(r *Rule, s *sighting) *window {
	w := e.windows[windowKey{r.Name, s.series}]
	if w == nil && len(e.windows) < e.cfg.MaxSeries {
		w = newWindow(r, s.series, s.point)
		e.windows[w.key] = w
	}
	return w
}

// add counts an event, unless it may be older than the window.
func (w *window) add(s *sighting) bool {
	if newest := s.point / w.width; newest > w.head {
		if w.active && w.calm == 0 {
			if t := w.fall(); t <= newest*w.width {
				w.calm = t
			}
		}
		w.advance(newest)
	}
	at := s.earliest() / w.width
	if at <= w.head-slots {
		return false
	}
	b := w.at(at)
	switch {
	case b.count == 0:
		*b = slot{point: s.point, onset: s.interval(), ref: s.ref()}
	case s.point < b.point:
		b.point, b.onset = s.point, s.interval()
	}
	if b.ref.Unit == s.arrival.Unit {
		b.ref.From, b.ref.To = min(b.ref.From, s.seq), max(b.ref.To, s.seq)
	}
	b.count++
	w.total++
	if 2*w.total >= w.rule.Count {
		w.calm = 0
	}
	return true
}

// advance makes at the newest sub-span and empties those that fall out.
func (w *window) advance(at int64) {
	for i := max(w.head+1, at-slots+1); i <= at; i++ {
		b := w.at(i)
		w.total -= b.count
		*b = slot{}
	}
	w.head = at
}

// fall returns the event time at which the window falls below half of what
// the rule asks for, if no event comes any more.
func (w *window) fall() int64 {
	left := w.total
	at := w.head
	for i := w.head - slots + 1; i <= w.head && 2*left >= w.rule.Count; i++ {
		left -= w.at(i).count
		at = i + slots
	}
	return at * w.width
}

// ends returns the root time at which an active finding is over.
func (w *window) ends(hold time.Duration) int64 {
	calm := w.calm
	if calm == 0 {
		calm = w.fall()
	}
	return satAdd(calm, int64(hold)<<w.flaps)
}

// raise makes the finding of a window that has come to its count: a new one,
// or while it is re-arming the old one again.
func (e *Engine) raise(w *window, s *sighting) *Finding {
	w.calm, w.unit = 0, s.arrival.Unit
	if w.finding != nil && e.now < w.rearm {
		f := w.finding.revise()
		f.Ended, f.Provisional = false, !s.claimed
		f.Score = 1000 * w.total / w.rule.Count
		w.finding, w.flaps = f, min(w.flaps+1, maxFlaps)
	} else {
		w.finding, w.flaps = e.newRuleFinding(w, s), 0
	}
	at, _ := slices.BinarySearchFunc(e.active, w.key, func(v *window, k windowKey) int { return v.key.compare(k) })
	e.active = slices.Insert(e.active, at, w)
	w.active = true
	e.wake = min(e.wake, w.ends(e.cfg.Hold))
	return w.finding
}

func (e *Engine) newRuleFinding(w *window, s *sighting) *Finding {
	first := slot{point: s.point, onset: s.interval()}
	var refs []Ref
	for i := w.head - slots + 1; i <= w.head; i++ {
		b := w.at(i)
		if b.count == 0 {
			continue
		}
		if len(refs) == 0 || b.point < first.point {
			first = *b
		}
		refs = addRef(refs, b.ref)
	}
	r := w.rule
	return &Finding{
		ID:       identify(DetectorRule, r.Name, joinKey(w.key.series.Entity, w.key.series.Signal), first.point),
		Revision: 1, Detector: DetectorRule, Rule: r.Name, Version: logicVersion, Class: r.Class,
		Series: w.key.series, Onset: first.onset, Point: first.point,
		Decided: s.point, Detected: e.now,
		Score: 1000 * w.total / r.Count, Severity: event.Severity(r.Severity),
		Baseline: fmt.Sprintf("fewer than %d events within %v", r.Count, r.Within),
		Summary:  w.summary(s.point - first.point),
		Evidence: refs, Links: s.links(), Peer: s.peer(), Provisional: !s.claimed,
	}
}

// summary says what a rule counted over a span of event time.
func (w *window) summary(span int64) string {
	text := fmt.Sprintf("%d events of %s within %v", w.total, w.key.series.Signal, time.Duration(span).Round(time.Millisecond))
	if w.total == 1 {
		text = "one event of " + w.key.series.Signal
	}
	return clip(text, MaxText)
}

// addRef joins a range to the last of the same unit, or starts a new one
// while there is room.
func addRef(refs []Ref, ref Ref) []Ref {
	for i := range refs {
		if refs[i].Unit == ref.Unit {
			refs[i].From, refs[i].To = min(refs[i].From, ref.From), max(refs[i].To, ref.To)
			return refs
		}
	}
	if len(refs) < MaxEvidence {
		refs = append(refs, ref)
	}
	return refs
}

// endRules ends the findings of rules that calmed down, and confirms
// provisional ones whose unit has been claimed since.
func (e *Engine) endRules(out []Finding) []Finding {
	e.active = slices.DeleteFunc(e.active, func(w *window) bool {
		f := w.finding.revise()
		switch end := w.ends(e.cfg.Hold); {
		case e.now >= end:
			f.Ended = true
			w.active, w.rearm = false, satAdd(e.now, int64(e.cfg.Rearm))
		case f.Provisional && e.claimed(w.unit):
			f.Provisional = false
			e.wake = min(e.wake, end)
		default:
			e.wake = min(e.wake, end)
			return false
		}
		w.finding = f
		out = append(out, *f)
		return !w.active
	})
	return out
}

func (e *Engine) claimed(unit event.Unit) bool {
	o := e.origins[unit.Origin]
	if o == nil {
		return false
	}
	l := &o.lanes[unit.Lane]
	return l.claimed && l.unit == unit
}

// ageWindows drops windows that can neither count nor come back.
func (e *Engine) ageWindows() {
	for key, w := range e.windows {
		idle := satAdd((w.head+slots)*w.width, int64(staleAfter))
		if !w.active && e.now >= idle && e.now >= w.rearm {
			delete(e.windows, key)
			e.lines.Forget()
		}
	}
}

// at is the slot of sub-span i, which is below zero just after 1970.
func (w *window) at(i int64) *slot { return &w.ring[(i%slots+slots)%slots] }
