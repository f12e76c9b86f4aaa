package anomaly

import (
	"pando/event"
	"pando/event/clock"
	"pando/stream"
)

// batch is the one that is observed.
type batch struct {
	arrival *stream.Arrival
	lines   []line  // of its unit, by their numbers
	origin  *origin // nil before the first event that is observed
	claimed bool    // the unit is, since it is present
}

// Begin makes a, whose lines must have numbers, the batch whose events are observed
// next.
func (e *Engine) Begin(a *stream.Arrival) {
	e.batch = batch{arrival: a, lines: e.lines.Of(&a.Sums)}
}

// enter begins with the batch's first event, and reports whether there is room for
// its origin.
func (e *Engine) enter() bool {
	a := e.batch.arrival
	e.now = max(e.now, a.At)
	o := e.origin(a.Unit.Origin)
	if o == nil {
		return false
	}
	o.heard = e.now
	if o.since == 0 {
		o.since = e.now
		o.learned++
	}
	e.batch.origin = o
	if int(a.Unit.Lane) < event.Lanes {
		l := &o.lanes[a.Unit.Lane]
		e.batch.claimed = l.claimed && l.unit == a.Unit
	}
	return true
}

// sighting is one event on its way through the detectors.
type sighting struct {
	arrival  *stream.Arrival
	at       int // its number in the batch
	seq      uint64
	severity event.Severity
	series   stream.Series
	point    int64 // not after now
	backlog  bool
	claimed  bool
}

func (s *sighting) ref() Ref { return Ref{Unit: s.arrival.Unit, From: s.seq, To: s.seq} }

// interval is the event's time in root time.
func (s *sighting) interval() clock.Interval {
	iv := s.arrival.Interval(s.at)
	return clock.Interval{Lo: iv.Lo, Hi: max(iv.Lo, iv.Hi)}
}

// earliest is when the event may have happened first: at the last look at its
// source before. A time that the source gave is taken for exact.
func (s *sighting) earliest() int64 {
	b := s.arrival
	lo, point := b.Lo[s.at], b.Point[s.at]
	switch {
	case b.Flags[s.at]&event.PointFromSource != 0 || lo >= point:
		return s.point
	case b.Flags[s.at]&event.OpenStart != 0 || point-lo > s.point || point-lo < 0:
		return 0
	}
	return s.point - (point - lo)
}

func (s *sighting) links() []Link {
	var e event.Event
	if s.arrival.Event(s.at, &e); e.TraceID == ([16]byte{}) {
		return nil
	}
	return []Link{{Trace: e.TraceID, Span: e.SpanID, Parent: e.ParentID}}
}

func (s *sighting) source() string { return s.arrival.Source.At(s.at) }
func (s *sighting) peer() string   { return s.arrival.Peer.At(s.at) }
