package clock

import (
	"errors"
	"fmt"
	"time"
)

// Sample is one exchange of Cristian's ("Probabilistic clock
// synchronization", 1989) with the four stamps of NTP (RFC 5905 section 8).
type Sample struct {
	T1 int64 // local monotonic ns: request sent
	T2 int64 // parent's root time: request received
	T3 int64 // parent's root time: reply sent
	T4 int64 // local monotonic ns: reply received

	// Bound is the parent's own error in ns: bounds add up along the path.
	Bound int64
}

// Outcome is what became of a [Sample].
type Outcome uint8

const (
	// Accepted: the sample agrees with the estimate and joined it.
	Accepted Outcome = iota
	// Restarted: the sample lay outside its predicted interval; the estimate
	// starts again from it. To be flagged: one of the two clocks stepped, or
	// drifts faster than configured.
	Restarted
	// Refused: the sample contradicts itself (time ran backwards, a negative
	// round trip or bound) and was dropped.
	Refused
	// Beyond: the sample would move the estimate by more than MaxJump. It is
	// not believed: the estimate stays, and widens with its age. After a whole
	// window of these in a row the next one restarts the estimate, since the
	// estimate is then what is more likely wrong.
	Beyond
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Restarted:
		return "restarted"
	case Refused:
		return "refused"
	case Beyond:
		return "beyond"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

const (
	// DefaultWindow of exchanges: enough that one of them met idle queues.
	DefaultWindow = 16
	// maxWindow bounds the memory of one estimator, and its work a sample.
	maxWindow = 1024
	// DefaultMaxJump is far above what any queue or slew explains.
	DefaultMaxJump = time.Minute
)

// EstimatorOptions describe an [Estimator].
type EstimatorOptions struct {
	Boot     Boot          // whose readings T1 and T4 are; goes into each Mapping
	Window   int           // samples kept
	DriftPPM int64         // how fast local and root time may part
	MaxJump  time.Duration // a sample that moves the estimate further is not believed
}

// DefaultEstimatorOptions returns a window of 16, 50 ppm and a minute.
func DefaultEstimatorOptions() EstimatorOptions {
	return EstimatorOptions{Window: DefaultWindow, DriftPPM: DefaultDriftPPM, MaxJump: DefaultMaxJump}
}

func (o EstimatorOptions) validate() error {
	var faults []error
	if o.Window < 1 || o.Window > maxWindow {
		faults = append(faults, fmt.Errorf("window of %d samples: must be 1 to %d", o.Window, maxWindow))
	}
	if o.DriftPPM < 1 || o.DriftPPM > million {
		faults = append(faults, fmt.Errorf("drift of %d ppm: must be 1 to %d", o.DriftPPM, million))
	}
	if o.MaxJump <= 0 {
		faults = append(faults, fmt.Errorf("max jump of %v: must be positive", o.MaxJump))
	}
	return errors.Join(faults...)
}

// reading is one accepted sample: root time was mono + offset, give or take
// bound, at the reading at.
type reading struct {
	at, offset, bound int64
}

// Estimator keeps the estimate of one edge: how far the local monotonic clock
// is from root time. Of the last Window samples the one with the smallest
// error counts: the one with the smallest round trip, unless it is old enough
// for drift to have eaten its advantage. Pure; not safe for concurrent use.
type Estimator struct {
	opts   EstimatorOptions
	recent []reading // a ring of at most Window, in no order that matters
	next   int       // slot the next sample overwrites once the ring is full
	beyond int       // samples in a row that were beyond MaxJump
}

// NewEstimator returns an estimator without an estimate; zero fields of the
// options mean their defaults.
func NewEstimator(o EstimatorOptions) (*Estimator, error) {
	d := DefaultEstimatorOptions()
	if o.Window == 0 {
		o.Window = d.Window
	}
	if o.DriftPPM == 0 {
		o.DriftPPM = d.DriftPPM
	}
	if o.MaxJump == 0 {
		o.MaxJump = d.MaxJump
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("estimator options: %w", err)
	}
	return &Estimator{opts: o, recent: make([]reading, 0, o.Window)}, nil
}

// Add takes note of one exchange. Samples come in the order of their T4.
func (e *Estimator) Add(s Sample) Outcome {
	there, back := distance(s.T4, s.T1), distance(s.T3, s.T2)
	if s.T4 < s.T1 || s.T3 < s.T2 || back > there || s.Bound < 0 || there > uint64(e.opts.MaxJump) {
		return Refused
	}
	// The true offset lies between T3-T4, had the reply taken no time, and
	// T2-T1, had the request taken none. Half an odd difference rounds away.
	least, most := sub(s.T3, s.T4), sub(s.T2, s.T1)
	r := reading{at: s.T4, offset: middle(least, most)}
	r.bound = add(s.Bound, sub(most, r.offset))
	// While the exchange lasted the clocks drifted too.
	r.bound = add(r.bound, portion(there, e.opts.DriftPPM))

	was, ok := e.Mapping(s.T4)
	if !ok {
		e.restart(r)
		return Accepted
	}
	apart := distance(was.Offset, r.offset)
	switch {
	case apart <= uint64(add(was.Bound, r.bound)):
		e.beyond = 0
		e.keep(r)
		return Accepted
	case apart > uint64(e.opts.MaxJump) && e.beyond < e.opts.Window:
		e.beyond++
		return Beyond
	}
	e.restart(r)
	return Restarted
}

// restart forgets all samples but r.
func (e *Estimator) restart(r reading) {
	e.recent, e.next, e.beyond = append(e.recent[:0], r), 0, 0
}

// keep adds r and lets go of the oldest sample of a full window.
func (e *Estimator) keep(r reading) {
	if len(e.recent) < e.opts.Window {
		e.recent = append(e.recent, r)
		return
	}
	e.recent[e.next] = r
	e.next = (e.next + 1) % e.opts.Window
}

// Mapping returns the estimate as known at the local reading now, its error
// widened with the age of the sample behind it; false without any sample.
func (e *Estimator) Mapping(now int64) (Mapping, bool) {
	if len(e.recent) == 0 {
		return Mapping{}, false
	}
	m := Mapping{Boot: e.opts.Boot, At: now, DriftPPM: e.opts.DriftPPM}
	for i, r := range e.recent {
		bound := add(r.bound, portion(distance(now, r.at), e.opts.DriftPPM))
		if i == 0 || bound < m.Bound {
			m.Offset, m.Bound = r.offset, bound
		}
	}
	return m, true
}
