package incident

import (
	"errors"
	"fmt"
	"time"

	"pando/event"
)

// Options set the bounds of correlation. All replicas must use the same ones:
// they are part of the state machine's logic.
type Options struct {
	// MinSeverity makes a lone finding an incident.
	MinSeverity event.Severity
	// Window is how long after a novelty, which is over at once, its effects
	// may begin; and how much later than its effect a cause may appear, as
	// long as the intervals of both overlap.
	Window time.Duration
	// Span is the same for findings that go on: errors, latency, load and
	// silence. When they end is not known when their effects begin.
	Span time.Duration
	// QuietAfter resolves an incident whose findings are all over, so long
	// after its last change.
	QuietAfter time.Duration
	// ResolveAfter resolves an incident in which nothing has changed for so
	// long, although some finding was never said to be over.
	ResolveAfter time.Duration
	// ReopenWithin is how long a resolved incident takes new findings. Then
	// it settles.
	ReopenWithin time.Duration
	// MaxOpen bounds the findings that take part in correlation. Its cost
	// grows with the square: see BenchmarkAdd.
	MaxOpen int
	// MaxKept bounds the settled incidents that are kept to be shown.
	MaxKept int
}

// Hard caps of the options, which bound what a snapshot can hold.
const (
	maxOpenCap = 2048 // a division of so many takes tens of milliseconds
	maxKeptCap = 8192
)

// DefaultOptions suit services that fail over within minutes.
func DefaultOptions() Options {
	return Options{
		MinSeverity:  event.SeverityError,
		Window:       2 * time.Minute,
		Span:         10 * time.Minute,
		QuietAfter:   30 * time.Second,
		ResolveAfter: 30 * time.Minute,
		ReopenWithin: 10 * time.Minute,
		MaxOpen:      512,
		MaxKept:      1000,
	}
}

func (o Options) validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Window <= 0 || o.Span < o.Window {
		bad("window %s and span %s: both positive, the span not the shorter one", o.Window, o.Span)
	}
	if o.QuietAfter <= 0 || o.ResolveAfter < o.QuietAfter {
		bad("quiet after %s and resolve after %s: both positive, the second not the shorter one", o.QuietAfter, o.ResolveAfter)
	}
	if o.ReopenWithin < 0 {
		bad("reopen within %s: must not be negative", o.ReopenWithin)
	}
	if o.MaxOpen < 2 || o.MaxOpen > maxOpenCap {
		bad("max open %d: must be within 2 and %d", o.MaxOpen, maxOpenCap)
	}
	if o.MaxKept < 0 || o.MaxKept > maxKeptCap {
		bad("max kept %d: must be within 0 and %d", o.MaxKept, maxKeptCap)
	}
	if len(faults) > 0 {
		return fmt.Errorf("incident options: %w", errors.Join(faults...))
	}
	return nil
}
