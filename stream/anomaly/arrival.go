package anomaly

import (
	"pando/event"
	"pando/event/clock"
	"pando/stream"
)

// Arrival is a batch as the detectors see it. Whoever steps it fills in the
// fields; the engine keeps no pointer into them.
type Arrival struct {
	Unit   event.Unit
	Batch  *event.Columns
	Sums   *stream.Combined // of the batch: which line each event is of
	Points []int64          // best single times of the events in root time
	Map    clock.Mapping    // places the batch's stamps in root time
	At     int64            // root time at which the relay received it

	lines []*line // what an engine knows of the batch's lines; nil: not looked up
	of    *Engine // that engine
	epoch uint64  // of its lines
}

// Reset makes a an arrival of another batch; its memory is used again.
func (a *Arrival) Reset(unit event.Unit, b *event.Columns, sums *stream.Combined, points []int64, m clock.Mapping, at int64) {
	*a = Arrival{Unit: unit, Batch: b, Sums: sums, Points: points, Map: m, At: at, lines: a.lines[:0]}
}

// line is what the engine knows of the line of event i.
func (e *Engine) line(o *origin, a *Arrival, i int) *line {
	if a.of != e || a.epoch != e.epoch {
		a.of, a.epoch = e, e.epoch
		a.lines = append(a.lines[:0], make([]*line, len(a.Sums.Lines))...)
	}
	n := a.Sums.LineOf[i]
	if a.lines[n] == nil {
		a.lines[n] = e.lookUp(o, &a.Sums.Lines[n])
	}
	return a.lines[n]
}

// sighting is one event on its way through the detectors.
type sighting struct {
	arrival  *Arrival
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
	iv, _ := s.arrival.Batch.Time(s.at, s.arrival.Map)
	return clock.Interval{Lo: iv.Lo, Hi: max(iv.Lo, iv.Hi)}
}

// earliest is when the event may have happened first: at the last look at its
// source before. A time that the source gave is taken for exact.
func (s *sighting) earliest() int64 {
	b := s.arrival.Batch
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
	if s.arrival.Batch.Event(s.at, &e); e.TraceID == ([16]byte{}) {
		return nil
	}
	return []Link{{Trace: e.TraceID, Span: e.SpanID, Parent: e.ParentID}}
}

func (s *sighting) source() string { return s.arrival.Batch.Source.At(s.at) }
func (s *sighting) peer() string   { return s.arrival.Batch.Peer.At(s.at) }
