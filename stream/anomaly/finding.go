// Package anomaly detects: fixed rules, codes never seen before, the silence of
// an expected speaker, and changes of rates, of ratios and of levels by the
// sequential tests of package detect. It gives findings, each with the interval of
// its onset, what decided it, what it was compared with, and its evidence.
//
// An [Engine] is a deterministic core. Events, heartbeats, sessions, claims
// and ticks enter by its methods, in the order in which the caller's log has
// them; the same order gives the same findings and, by [Engine.Snapshot], the
// same state, byte for byte, on every machine. There is no clock, goroutine,
// randomness or map order inside, and floating point only in package detect.
//
// What it assumes: custody hands each event of a unit to one relay's step
// once. A rule's window therefore belongs to the series on this relay, and a
// handover can neither double nor repeat what it counts. The relay that takes
// over starts with an empty window.
package anomaly

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
)

// Names of the detectors.
const (
	DetectorRule      = "rule"
	DetectorFirstSeen = "first-seen"
	DetectorSilence   = "silence"
	DetectorRate      = "rate"
	DetectorRatio     = "ratio"
	DetectorLevel     = "level"
)

// logicVersion is part of every finding's identity; it rises when a detector
// decides otherwise on the same events.
const logicVersion = 1

// Class tells how a finding's effect travels in the graph of calls.
type Class uint8

const (
	Error   Class = iota // callee to caller
	Latency              // callee to caller
	Load                 // caller to callee
	Silence              // callee to caller
	Novelty              // callee to caller
	classEnd
)

var classNames = [classEnd]string{"error", "latency", "load", "silence", "novelty"}

func (c Class) String() string {
	if c < classEnd {
		return classNames[c]
	}
	return "class(" + strconv.Itoa(int(c)) + ")"
}

// MarshalText writes the class by name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the name of a class.
func (c *Class) UnmarshalText(text []byte) error {
	for i, name := range classNames {
		if name == string(text) {
			*c = Class(i)
			return nil
		}
	}
	return fmt.Errorf("class %q: want error, latency, load, silence or novelty", text)
}

// Ref is a range of events of one unit, both ends included.
type Ref struct {
	Unit     event.Unit
	From, To uint64
}

// Link names a span that a finding is about, so that findings of one trace
// can be put in causal order: a finding whose Parent is another's Span is its
// effect.
type Link struct {
	Trace  [16]byte
	Span   [8]byte
	Parent [8]byte
}

// ID names a finding. It is made of what was detected, not of who did or
// when, so that a replay finds the same finding again.
type ID [16]byte

func (id ID) String() string { return fmt.Sprintf("%x", id[:]) }

// Finding is what a detector says. Revisions of one ID replace each other:
// the highest is the valid one. Findings are values; nobody changes one that
// was handed out.
type Finding struct {
	ID          ID
	Revision    uint32 // from 1
	Detector    string // one of the Detector names
	Rule        string // the rule's name, or empty
	Version     uint32 // of the detector's logic
	Class       Class
	Series      stream.Series
	Onset       clock.Interval // when it began, in root time
	Point       int64          // the best single estimate of that
	Decided     int64          // root time of the event that decided, or the deadline of a silence
	Detected    int64          // root time of the arrival or tick at which it was said first
	Score       int64          // in thousandths of what suffices: 1000 is just enough
	Severity    event.Severity
	Baseline    string // what it was compared with, for people
	Summary     string // what happened, for people
	Evidence    []Ref  // ranges that hold the events it was decided by
	Links       []Link // spans of the deciding event
	Peer        string // the other end of the deciding event's call, or empty
	Provisional bool   // decided on events that this relay had not claimed yet
	Ended       bool   // it is over; a later revision may say that it is back
}

// identify returns the ID of a finding about key that began at onset.
func identify(detector, rule, key string, onset int64) ID {
	w := pack.NewWriter()
	w.String(detector)
	w.String(rule)
	w.Uint(logicVersion)
	w.String(key)
	w.Int(onset)
	sum := sha256.Sum256(w.Bytes())
	return ID(sum[:16])
}

// Travels reports whether the finding, while it goes on, is part of the
// [Expectations] of its origin, so that another relay may come to revise it.
func (f *Finding) Travels() bool {
	switch f.Detector {
	case DetectorSilence, DetectorRate, DetectorRatio, DetectorLevel:
		return true
	}
	return false
}

// revise returns the next revision of f. The last possible one stays: a peer
// may have sent it, and the root keeps the highest.
func (f *Finding) revise() *Finding {
	g := *f
	if g.Revision < math.MaxUint32 {
		g.Revision++
	}
	return &g
}

// Annotate adds a note for people to the summary. Where there is no room for
// both, the note is cut to half of it, and the summary to what is left.
func (f *Finding) Annotate(note string) {
	note = clip(note, max(MaxText/2, MaxText-len(f.Summary)))
	f.Summary = clip(f.Summary, MaxText-len(note)) + note
}
