package sim

import (
	"encoding/binary"

	"pando/event/clock"
	"pando/event/hlc"
)

// clockwork is one machine's knowledge of time, joined as tree/rootclock joins
// it: a monotonic clock that drifts, a wall clock that anybody may set, the
// estimate of root time and the hybrid logical clock.
type clockwork struct {
	w      *world
	boot   clock.Boot
	booted int64 // true time at which mono was base
	base   int64
	drift  int64 // parts per billion
	skew   int64 // of the wall clock
	est    *clock.Estimator
	hlc    *hlc.Clock
	bound  uint64                      // of the hybrid logical clock, on disk
	issued hlc.Timestamp               // highest ever, whatever happened to the disk
	root   func() (int64, int64, bool) // of a root: its own word; else nil
}

// maxDrift is below the 50 ppm that the estimators reckon with.
const maxDrift = 40_000

func newClockwork(w *world, skew int64) *clockwork {
	c := &clockwork{w: w, drift: between(w.clocks, -maxDrift, maxDrift), skew: skew}
	c.reboot()
	c.start()
	return c
}

// reboot begins another run of the monotonic clock.
func (c *clockwork) reboot() {
	binary.LittleEndian.PutUint64(c.boot[:], c.w.clocks.Uint64())
	c.booted, c.base = c.w.now, between(c.w.clocks, 0, 1000*second)
}

// start is what a process knows of time when it begins: the bound on disk.
func (c *clockwork) start() {
	c.est, _ = clock.NewEstimator(clock.EstimatorOptions{Boot: c.boot})
	c.hlc, _ = hlc.New(hlc.Options{Physical: c.physical, Bound: c.bound, Persist: func(b uint64) error { c.bound = b; return nil }})
}

// lose is what a lost disk does.
func (c *clockwork) lose() { c.bound, c.issued = 0, 0 }

func (c *clockwork) mono() int64 { return c.monoAt(c.w.now) }

func (c *clockwork) monoAt(t int64) int64 {
	d := t - c.booted
	return c.base + d + d/1000*c.drift/1_000_000
}

func (c *clockwork) wall() int64 { return c.wallAt(c.w.now) }

// wallAt is what the wall clock showed at a true time, had it not been set
// since.
func (c *clockwork) wallAt(t int64) int64 { return t + c.skew + (t-epoch)/1000*c.drift/1_000_000 }

// rootNow is root time with its error, as far as it is known.
func (c *clockwork) rootNow() (now, bound int64, ok bool) {
	if c.root != nil {
		return c.root()
	}
	mono := c.mono()
	m, ok := c.est.Mapping(mono)
	if !ok {
		return 0, 0, false
	}
	return m.Point(mono), m.Bound, true
}

func (c *clockwork) physical() int64 {
	now, _, ok := c.rootNow()
	if !ok {
		return 0
	}
	return now / millisecond
}

func (c *clockwork) stamp() (hlc.Timestamp, error) { return c.stamps(1) }

// stamps issues n timestamps and returns the first.
func (c *clockwork) stamps(n int) (hlc.Timestamp, error) {
	t, err := c.hlc.Take(n)
	if err == nil {
		if t <= c.issued {
			c.w.fault("hlc: %v issued after %v", t, c.issued)
		}
		c.issued = t + hlc.Timestamp(n-1)
	}
	return t, err
}

// receive takes the stamp of a message, and checks that this comes after it.
func (c *clockwork) receive(sent hlc.Timestamp) error {
	t, err := c.hlc.Update(sent)
	if err != nil {
		return err
	}
	if t <= sent || t <= c.issued {
		c.w.fault("hlc: received %v at %v, last issued %v", sent, t, c.issued)
	}
	c.issued = t
	return nil
}

func (c *clockwork) mapping() (clock.Mapping, bool) { return c.est.Mapping(c.mono()) }
