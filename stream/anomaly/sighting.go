package anomaly

import (
	"pando/event"
	"pando/event/clock"
	"pando/stream"
)

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

// sighting is event i of the batch that is observed.
func (e *Engine) sighting(i int) sighting {
	a := e.batch.arrival
	return sighting{
		arrival: a, at: i, seq: a.First + uint64(i), severity: a.Severity[i],
		series: series(a, int(a.Sums.LineOf[i])), point: e.point(i),
		backlog: a.Flags[i]&event.Backlog != 0, claimed: e.batch.claimed,
	}
}

// point is when event i of the batch happened. Nothing happens after it arrives: a
// point ahead of now is the clock's error, and would push windows and rhythms into
// the future.
func (e *Engine) point(i int) int64 { return max(min(e.batch.arrival.Points[i], e.now), 0) }

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
