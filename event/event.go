// Package event holds Pando's model of telemetry: what an event is, which
// unit of custody it belongs to, and the columnar batch it travels and rests
// in. It assumes nothing of the network, the disk or Raft.
package event

import (
	"pando/event/hlc"
)

// Kind tells what sort of observation an event is.
type Kind uint8

const (
	Log       Kind = iota // a line or record that a component wrote
	Metric                // a measured value
	Span                  // one call, with its trace
	Heartbeat             // the agent's word on its sources; see [Batch]
	Loss                  // events that were dropped; see [NewLoss]
)

// Severity follows OpenTelemetry's severity number: 1 to 4 trace, 5 to 8
// debug, 9 to 12 info, 13 to 16 warn, 17 to 20 error, 21 to 24 fatal; 0 is
// unknown.
type Severity uint8

const (
	SeverityUnknown Severity = 0
	SeverityDebug   Severity = 5
	SeverityInfo    Severity = 9
	SeverityWarn    Severity = 13
	SeverityError   Severity = 17
	SeverityFatal   Severity = 21
)

// Flags qualify an event's time.
type Flags uint8

const (
	// PointFromSource: Stamp.Point comes from the producer's own time, which
	// lay inside the interval.
	PointFromSource Flags = 1 << iota
	// SourceClockSuspect: the producer's own time lay outside the interval
	// and was kept only as SourceTime.
	SourceClockSuspect
	// Backlog: read far behind its source's end; kept out of rate and
	// silence detection.
	Backlog
	// OpenStart: nothing is known of when the source was last caught up, so
	// the interval has no lower end.
	OpenStart
)

// Stamp is an event's time on its agent's monotonic clock, in nanoseconds
// since the boot that the batch names. Point lies within [Lo, Hi].
type Stamp struct {
	Lo    int64 // the last caught-up read of the source before this event
	Hi    int64 // when the agent appended the event
	Point int64 // the best single estimate
}

// Attr is one attribute, named by OpenTelemetry's semantic conventions.
type Attr struct{ Key, Value string }

// Event is one observation. Its unit stands in its [Batch].
type Event struct {
	Seq         uint64 // within the unit; rises by one for the whole life of the WAL
	HLC         hlc.Timestamp
	Stamp       Stamp
	Flags       Flags
	SourceTime  int64 // Unix nanoseconds as the producer claimed them; 0 for none
	Criticality uint8 // 0 critical to 3 bulk
	Kind        Kind
	Severity    Severity
	Source      string  // the agent's name for the source it was read from
	Entity      string  // the component, a path such as payments/swift-gateway
	Signal      string  // metric name or code: http.503, abend.S0C7
	Value       float64 // 1 where a log line carries none
	Peer        string  // entity at the other end of a call, or empty
	TraceID     [16]byte
	SpanID      [8]byte
	ParentID    [8]byte // span that caused this one
	Attrs       []Attr  // sorted by key, keys unique
	Raw         []byte  // the original bytes, or nil
}

// Lane is the transport lane an event of this criticality travels in.
func (e *Event) Lane() Lane {
	if e.Criticality == 0 {
		return Critical
	}
	return Bulk
}
