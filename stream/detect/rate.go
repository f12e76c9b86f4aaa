package detect

import (
	"fmt"
	"math"
	"time"
)

// RateOptions configure a [Rate]. All durations are at least a Tick.
type RateOptions struct {
	Direction Direction `yaml:"direction"` // of the changes to look for: both, rises or falls

	ARL    time.Duration `yaml:"arl"`    // mean time from one false finding to the next, of a series that does not change
	Learn  time.Duration `yaml:"learn"`  // before anything is found
	Memory time.Duration `yaml:"memory"` // time constant of the baseline
	Hold   time.Duration `yaml:"hold"`   // calm before a finding ends
	Rearm  time.Duration `yaml:"rearm"`  // after its end, in which it comes back as itself
	Adopt  time.Duration `yaml:"adopt"`  // a change that lasts so long is the new baseline
}

// DefaultRateOptions find a false change of a series once a month.
func DefaultRateOptions() RateOptions {
	return RateOptions{
		ARL: 720 * time.Hour, Learn: 10 * time.Minute, Memory: 4 * time.Hour,
		Hold: 30 * time.Second, Rearm: 5 * time.Minute, Adopt: time.Hour,
	}
}

const (
	// Tick is the time between evaluations. Counts of one tick are one step.
	Tick = 10 * time.Millisecond
	// rateBlock is the time over which counts are compared to learn how far
	// they scatter: long enough for bursts of calls and retries to lie within
	// one, and short enough for hundreds of them in the time of learning.
	rateBlock = 5 * time.Second
)

// Rate tests whether events came to be more or less frequent in time. See
// [Intensity] for the method.
type Rate struct {
	test  Intensity
	last  int64 // root time of the latest step; 0 before the first
	gap   int64 // time that the latest Skip passed over
	gapAt int64 // exposure at which it did
}

// NewRate returns a test that has learnt nothing.
func NewRate(o RateOptions) (*Rate, error) {
	t, err := newIntensity(IntensityOptions{
		Direction: o.Direction, Unit: int64(time.Second), ARL: int64(o.ARL), Block: int64(rateBlock),
		Learn: int64(o.Learn), Memory: int64(o.Memory),
		Hold: int64(o.Hold), Rearm: int64(o.Rearm), Adopt: int64(o.Adopt),
	}, func(exposure int64) string { return time.Duration(exposure).String() })
	if err != nil {
		return nil, fmt.Errorf("rate: %w", err)
	}
	return &Rate{test: *t}, nil
}

// Step says that so many events came in the tick that ends at now, in Unix
// nanoseconds, and none since the step before. Ticks without events may be
// left out, but a rate that falls shows only when it is stepped. From and To
// of a change are Unix nanoseconds too.
func (r *Rate) Step(now, events int64) (Change, bool) {
	if r.last == 0 {
		r.last = now - int64(Tick)
	}
	exposure := max(now-r.last, 0)
	r.last = max(r.last, now)
	if idle := exposure - int64(Tick); idle > 0 && events > 0 {
		if c, ok := r.test.Observe(idle, 0); ok {
			// The events count from the next step on: one step says one thing.
			r.test.learn(events)
			return r.inTime(c), ok
		}
		exposure = int64(Tick)
	}
	c, ok := r.test.Observe(exposure, events)
	return r.inTime(c), ok
}

// Skip goes on at root time now: nobody knows what came since the latest step,
// so that time says nothing of the rate. A test that was not stepped yet begins
// there.
func (r *Rate) Skip(now int64) {
	if r.last != 0 && now > r.last {
		if r.gapAt < r.test.at {
			r.gap = 0
		}
		r.gap, r.gapAt = min(r.gap+now-r.last, math.MaxInt64/2), r.test.at
	}
	r.last = max(r.last, now)
}

// inTime turns exposures into root times. A change that began when nobody
// looked began, at the earliest, when somebody last had.
func (r *Rate) inTime(c Change) Change {
	c.From, c.To, c.At = r.time(c.From), r.last, r.last
	return c
}

// time is the root time of an exposure. Only the latest gap is known: times
// before one more are too late by it.
func (r *Rate) time(exposure int64) int64 {
	t := r.last - (r.test.at - exposure)
	if r.gap > 0 && exposure <= r.gapAt {
		t -= r.gap
	}
	return t
}

// Since is the root time since when there is evidence for any change, that of
// the latest step if there is none.
func (r *Rate) Since() int64 {
	if at := r.test.Since(); at < r.test.at {
		return r.time(at)
	}
	return r.last
}

// Due returns the root time at which a step without events would find a fall,
// math.MaxInt64 if none would.
func (r *Rate) Due() int64 {
	due := int64(math.MaxInt64)
	for i := range r.test.tests {
		s := &r.test.tests[i]
		if s.drift <= 0 || r.test.open >= 0 {
			continue
		}
		wait := portion(s.threshold-s.weight, int64(time.Second), s.drift)
		due = min(due, r.last+max(wait, 0)+int64(Tick))
	}
	return due
}

// Test is the test of the counts, for what it has learnt and found; only the
// rate may step it.
func (r *Rate) Test() *Intensity { return &r.test }

// Learning reports whether the baseline is not known well enough yet.
func (r *Rate) Learning() bool { return r.test.Learning() }

// Baseline is what is expected, in events per second.
func (r *Rate) Baseline() float64 { return r.test.Baseline() }
