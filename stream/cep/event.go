// Package cep finds patterns: sequences of events with conditions, repetition,
// absence and a limit of time, after the model of Flink's CEP library. It runs
// what [pando/stream/cep/pattern] compiles: conditions arrive here as an
// integer code (see [Node]) that is validated and turned into closures, so
// neither this package nor a state that is replicated by it depends on the
// library that parses conditions. docs/PATTERNS.md describes the language.
//
// An [Engine] is a deterministic core. Events and watermarks enter by its
// methods; the same calls give the same matches and, by [Engine.Snapshot], the
// same bytes, on every machine. There is no clock, goroutine, randomness, map
// order or floating point inside. Event time alone decides: events are held
// until the watermark has passed them and then stepped in the order of (time,
// unit, sequence), so the order of arrival changes nothing, except for what
// comes too late or finds no room; both are counted.
package cep

import (
	"cmp"

	"pando/event"
	"pando/event/clock"
	"pando/stream/anomaly"
)

// Kinds of what a pattern sees.
const (
	KindLog     = "log"
	KindMetric  = "metric"
	KindSpan    = "span"
	KindLoss    = "loss"
	KindFinding = "finding" // only on the root
)

// Event is what a pattern sees of an event or a finding.
type Event struct {
	Time     int64          // root time, Unix nanoseconds, the best single estimate; not negative
	Onset    clock.Interval // root time in which it surely lies
	Unit     event.Unit     // with Seq, the order of events of the same time
	Seq      uint64
	Kind     string // one of the Kind names
	Severity event.Severity
	Entity   string
	Signal   string
	Peer     string
	Source   string
	Value    int64 // in millionths, see [Fixed]
	Trace    [16]byte
	Span     [8]byte
	Parent   [8]byte
	Attrs    []event.Attr // sorted by key
}

// FromEvent is the view of an event whose root time is point, within iv. It
// shares the event's memory. Heartbeats are no events to a pattern; the caller
// keeps them back.
func FromEvent(unit event.Unit, ev *event.Event, iv clock.Interval, point int64) Event {
	return Event{
		Time: max(point, 0), Onset: iv, Unit: unit, Seq: ev.Seq,
		Kind: kindName(ev.Kind), Severity: ev.Severity, Entity: ev.Entity, Signal: ev.Signal,
		Peer: ev.Peer, Source: ev.Source, Value: Fixed(ev.Value),
		Trace: ev.TraceID, Span: ev.SpanID, Parent: ev.ParentID, Attrs: ev.Attrs,
	}
}

func kindName(k event.Kind) string {
	switch k {
	case event.Metric:
		return KindMetric
	case event.Span:
		return KindSpan
	case event.Loss:
		return KindLoss
	}
	return KindLog
}

// FromFinding is the view of a finding: its time is that of its onset, its
// value the score (1 is just enough), and class, detector and rule are
// attributes. Findings of the same time are in the order of their ids.
func FromFinding(f *anomaly.Finding) Event {
	e := Event{
		Time: max(f.Point, 0), Onset: f.Onset, Seq: idOrder(f.ID), Kind: KindFinding,
		Severity: f.Severity, Entity: f.Series.Entity, Signal: f.Series.Signal, Peer: f.Peer,
		Value: multiply(f.Score, Scale/1000*Scale),
		Attrs: []event.Attr{
			{Key: "class", Value: f.Class.String()},
			{Key: "detector", Value: f.Detector},
			{Key: "rule", Value: f.Rule},
		},
	}
	if len(f.Links) > 0 {
		e.Trace, e.Span, e.Parent = f.Links[0].Trace, f.Links[0].Span, f.Links[0].Parent
	}
	return e
}

func idOrder(id anomaly.ID) uint64 {
	var v uint64
	for _, b := range id[:8] {
		v = v<<8 | uint64(b)
	}
	return v
}

// compare orders events by time, and those of one time by unit and sequence.
func (e *Event) compare(f *Event) int {
	if e.Time != f.Time {
		return cmp.Compare(e.Time, f.Time)
	}
	return cmp.Or(e.Unit.Compare(f.Unit), cmp.Compare(e.Seq, f.Seq))
}

// attr returns an attribute's value, or "".
func (e *Event) attr(key string) string {
	for i := range e.Attrs {
		if e.Attrs[i].Key == key {
			return e.Attrs[i].Value
		}
	}
	return ""
}
