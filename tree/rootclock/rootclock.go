// Package rootclock is one node's knowledge of time: its monotonic clock, its
// estimate of root time from the exchanges with its parent, and its hybrid
// logical clock. It joins the pure parts of event/clock and event/hlc to the
// session that feeds them.
package rootclock

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"pando/event/clock"
	"pando/event/hlc"
	"pando/internal/durable"
	"pando/transport"
)

// Options configure a [Clock].
type Options struct {
	// Dir holds the persisted bound of the hybrid logical clock.
	Dir string
	FS  durable.FS
	// Wall reads this node's own wall clock, in nanoseconds since the Unix
	// epoch. It is only shown to operators, as skew, except at a root.
	Wall func() int64
	// Root, if set, is a root's own word on root time in place of the
	// estimate: its clock while it leads, and nothing while it neither leads
	// nor has heard from a leader.
	Root   func() (now, bound int64, ok bool)
	Logger *slog.Logger
}

// Clock is safe for concurrent use.
type Clock struct {
	opts Options
	mono *clock.Monotonic
	hlc  *hlc.Clock

	mu  sync.Mutex
	est *clock.Estimator
}

// New reads the persisted bound and returns a clock that knows nothing of
// root time yet.
func New(o Options) (*Clock, error) {
	if o.Wall == nil {
		o.Wall = func() int64 { return time.Now().UnixNano() }
	}
	mono, err := clock.NewMonotonic()
	if err != nil {
		return nil, fmt.Errorf("root clock: %w", err)
	}
	est, err := clock.NewEstimator(clock.EstimatorOptions{Boot: mono.Boot()})
	if err != nil {
		return nil, fmt.Errorf("root clock: %w", err)
	}
	c := &Clock{opts: o, mono: mono, est: est}
	slots, bound, err := openBound(o.FS, filepath.Join(o.Dir, boundFile))
	if err != nil {
		return nil, fmt.Errorf("root clock: %w", err)
	}
	c.hlc, err = hlc.New(hlc.Options{Physical: c.physical, Bound: bound, Persist: slots.write})
	if err != nil {
		return nil, fmt.Errorf("root clock: %w", err)
	}
	return c, nil
}

// physical is root time in milliseconds, as far as it is known. A node whose
// own clock is wrong never puts that into its timestamps.
func (c *Clock) physical() int64 {
	now, _, ok := c.Root()
	if !ok {
		return 0
	}
	return now / int64(time.Millisecond)
}

// Mono reads the monotonic clock in nanoseconds.
func (c *Clock) Mono() int64 { return c.mono.Now() }

// Boot names the monotonic clock.
func (c *Clock) Boot() clock.Boot { return c.mono.Boot() }

// Root is the estimate of root time with the bound of its error, both in
// nanoseconds; ok is false while nothing is known.
func (c *Clock) Root() (now, bound int64, ok bool) {
	if c.opts.Root != nil {
		return c.opts.Root()
	}
	mono := c.mono.Now()
	m, ok := c.mapping(mono)
	if !ok {
		return 0, 0, false
	}
	return m.Point(mono), m.Bound, true
}

// Now is root time if it is known, else this node's wall clock.
func (c *Clock) Now() int64 {
	if now, _, ok := c.Root(); ok {
		return now
	}
	return c.opts.Wall()
}

// Mapping turns this node's monotonic readings into root time.
func (c *Clock) Mapping() (clock.Mapping, bool) { return c.mapping(c.mono.Now()) }

func (c *Clock) mapping(mono int64) (clock.Mapping, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.est.Mapping(mono)
}

// Skew is how far this node's wall clock is ahead of root time, in
// nanoseconds, with the bound of the error.
func (c *Clock) Skew() (skew, bound int64, ok bool) {
	now, bound, ok := c.Root()
	if !ok {
		return 0, 0, false
	}
	return c.opts.Wall() - now, bound, true
}

// Sample takes an exchange with the parent.
func (c *Clock) Sample(s *transport.Session, x transport.Sample) {
	if !x.OK {
		return
	}
	c.mu.Lock()
	out := c.est.Add(clock.Sample{T1: x.T1, T2: x.T2, T3: x.T3, T4: x.T4, Bound: x.Bound})
	c.mu.Unlock()
	if out != clock.Accepted {
		peer := ""
		if s != nil {
			peer = s.Peer().Node()
		}
		c.opts.Logger.Warn("clock exchange disagrees with the estimate", "parent", peer, "outcome", out.String())
	}
}

// Stamp issues a hybrid logical timestamp.
func (c *Clock) Stamp() (hlc.Timestamp, error) { return c.hlc.Now() }

// Stamps issues n timestamps, each one above the other, and returns the first.
func (c *Clock) Stamps(n int) (hlc.Timestamp, error) { return c.hlc.Take(n) }

// Wire puts the clock into a session's options.
func (c *Clock) Wire(o *transport.Options) {
	o.Time = transport.Time{Now: c.Mono, Root: c.Root}
	o.Stamp = transport.Stamp{
		Send: func() uint64 {
			t, err := c.hlc.Now()
			if err != nil {
				c.opts.Logger.Error("hybrid logical clock", "error", err)
			}
			return uint64(t)
		},
		Receive: func(v uint64) error {
			_, err := c.hlc.Update(hlc.Timestamp(v))
			return err
		},
	}
	o.Sample = c.Sample
}
