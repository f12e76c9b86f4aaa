// Package input turns what systems write into events: files that are appended
// to ([Spec] type tail: text, JSON lines, EBCDIC records) and syslog over TCP
// and UDP.
//
// What it gives:
//   - Every line or message that is read becomes exactly one event, also one
//     that cannot be parsed (signal "<format>.malformed").
//   - Each item says where its source stands after it. A tail that is given
//     back the positions that are durable goes on there: no line is lost or
//     read twice over a restart, in whichever lane it went.
//   - Whatever could not be read, or was cut, is counted by reason.
//   - Backpressure: nothing is read while [Sink.Put] blocks.
//
// What it assumes: the sink keeps the order of Put, and a file that was
// rotated keeps its content. Event times follow from two observations only,
// when the source was last seen at its end and when the line was handed on;
// what the producer claims is used where it agrees with them.
//
// # Positions
//
// A tail has one position per file, because a rotated file may still be read
// while its successor already is, and a pattern may name many. The position's
// Source is "<spec name>#<device>:<inode>.<generation>", unique per file, and
// its File is the identity that finds the file again (see identity). A source
// never goes back behind a position it was given for a lane. An [Item] names
// in Retires the position sources that need no longer be kept, so a holder of
// positions that applies items in order stays bounded; [Positions] is one.
// Syslog has one position, named like
// its spec, that says only that it cannot be replayed.
//
// # Limits
//
// Where no position is known at all, rotated files are history and are not
// read. Which lane a line is in follows from the rules in force: if they change
// while the lanes' positions differ, the lines between are judged by the new
// rules. A file whose first bytes and inode are those of an earlier one that is
// gone is taken for it. Content that comes into an empty file and is copied
// away and cut, all between two polls, is not noticed; nor is what a truncation
// cuts while nobody looks, unless it was copied.
package input

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
)

// Item is one event with where its source stands after it.
type Item struct {
	Event    event.Event    // Seq and HLC are not set
	Position event.Position // after this event
	Retires  []string       // position sources that are no longer needed; mostly nil
}

// Sink takes the events. Put blocks while it cannot take more, and returns
// once all the items were accepted in order; an error ends the source's Run.
// It may be called by several sources at once, never twice at a time by one.
// It must not keep the slice, but may keep everything that the items refer to.
type Sink interface {
	Put(ctx context.Context, items []Item) error
}

// Status is a source's state, for heartbeats and for operators.
type Status struct {
	Source   string
	Readable bool  // the file, every file of the pattern, or the listener is open
	CaughtUp bool  // nothing complete is waiting to be read
	AsOf     int64 // monotonic ns: all that the source had by then has been Put; 0 for never; it does not fall

	Lines, Bytes uint64            // taken since the start, without what a resume skipped
	Dropped      map[string]uint64 // lost for good, by reason
	Faults       map[string]uint64 // delivered, but not as it should be, by reason
	Closed       map[string]uint64 // connections that this side closed, by reason
	Lag          int64             // bytes that are known and not yet taken
	Address      string            // where a listener listens, or empty
	Error        string            // what is wrong now, or empty

	// Positions of the files that are being read, after what has been Put. A
	// holder of positions may add those it does not know yet, so that a file
	// opened at its end is remembered before its first line.
	Positions []event.Position
}

// Source reads until it is told to stop.
type Source interface {
	// Run reads until ctx ends (then it returns nil) or the sink fails. It
	// may be called once.
	Run(ctx context.Context) error
	// Status may be called at any time, by anybody.
	Status() Status
}

// Options are what a source needs besides its description.
type Options struct {
	Spec       Spec
	Sink       Sink
	Clock      func() int64          // monotonic nanoseconds; safe for concurrent use
	Wall       func() time.Time      // agent's wall clock: gives RFC 3164 its year and backlogs their age; nil for time.Now
	Logger     *slog.Logger          // nil for none
	Registerer prometheus.Registerer // nil for none

	// Templates of a spec that asks for them, which may know some already; nil
	// for new ones.
	Templates *Templates

	// Resume holds, for each lane, the positions that are durable. Those of
	// other sources are ignored, so a whole set may be given.
	Resume [event.Lanes][]event.Position
}

func (o *Options) validate() error {
	var faults []error
	if err := o.Spec.Validate(); err != nil {
		faults = append(faults, err)
	}
	if o.Sink == nil {
		faults = append(faults, errors.New("sink is missing"))
	}
	if o.Clock == nil {
		faults = append(faults, errors.New("clock is missing"))
	}
	return errors.Join(faults...)
}

// New prepares a source; it opens nothing before Run.
func New(o Options) (Source, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("input %q: %w", o.Spec.Name, err)
	}
	o.Spec = o.Spec.withDefaults()
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("source", o.Spec.Name)
	rules, err := compile(&o.Spec)
	if err != nil {
		return nil, fmt.Errorf("input %q: %w", o.Spec.Name, err)
	}
	if rules.templates != nil && o.Templates != nil {
		rules.templates = o.Templates
	}
	counts, err := newMetrics(o.Registerer, o.Spec.Name)
	if err != nil {
		return nil, fmt.Errorf("input %q: %w", o.Spec.Name, err)
	}
	if o.Spec.Type == TypeSyslog {
		return newSyslog(o, rules, counts), nil
	}
	return newTail(o, rules, counts)
}

// SpecName is the name of the spec that a position belongs to.
func SpecName(p event.Position) string {
	name, _, _ := strings.Cut(p.Source, positionMark)
	return name
}

// positionMark stands between a spec's name and the file in a position's
// Source; names must not contain it.
const positionMark = "#"
