package hlc

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// ErrAhead refuses a remote timestamp that is too far ahead of the local
// clock: one peer with a wrong year must not carry the whole tree with it.
var ErrAhead = errors.New("remote clock too far ahead")

// ErrExhausted reports that the 48 bits of milliseconds have no room left.
var ErrExhausted = errors.New("clock exhausted")

const (
	// DefaultAhead keeps bound writes to one in a second and a half, and lets
	// a restart run at most three seconds ahead.
	DefaultAhead = 3 * time.Second
	// DefaultMaxAhead forgives a badly set clock, not a wrong date.
	DefaultMaxAhead = 5 * time.Minute
)

// Options describe a [Clock].
type Options struct {
	// Physical reads the wall clock in Unix milliseconds; 0 or less means
	// that it is unknown. A nil Physical is always unknown: the clock is then
	// purely logical. It is called with the clock's lock held.
	Physical func() int64
	// Bound is the persisted bound found at start, 0 if there is none.
	Bound uint64
	// Persist makes a bound durable before it returns. Nil persists nothing,
	// for clocks that do not outlive their process. It is never called twice
	// at a time, and bounds rise.
	Persist func(bound uint64) error
	// Ahead is how far ahead of use a bound is persisted; 0 means
	// [DefaultAhead]. When half of it is used up, the call that notices
	// persists the next bound while other calls go on; they wait only if the
	// write takes as long as the other half lasts.
	Ahead time.Duration
	// MaxAhead is how far ahead of the local physical time a remote one may
	// be; 0 means [DefaultMaxAhead].
	MaxAhead time.Duration
}

func (o *Options) validate() error {
	var faults []error
	if o.Ahead < 0 || o.Ahead > 0 && o.Ahead < 2*time.Millisecond {
		faults = append(faults, fmt.Errorf("ahead of %v: must be at least 2ms", o.Ahead))
	}
	if o.MaxAhead < 0 || o.MaxAhead > 0 && o.MaxAhead < time.Millisecond {
		faults = append(faults, fmt.Errorf("max ahead of %v: must be at least 1ms", o.MaxAhead))
	}
	return errors.Join(faults...)
}

// Clock issues timestamps that rise. Safe for concurrent use.
type Clock struct {
	physical func() int64
	persist  func(uint64) error
	ahead    uint64 // in timestamps
	maxAhead int64  // ms

	mu         sync.Mutex
	settled    sync.Cond // a bound write ended; shares mu
	last       uint64    // issued last, or a bound that earlier runs may have reached
	bound      uint64    // persisted; nothing above it was ever issued
	persisting bool      // one call is writing a bound, outside mu
	retry      uint64    // after a failed write ahead of need: no attempt below this
}

// New returns a clock that continues from the persisted bound.
func New(o Options) (*Clock, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("hlc options: %w", err)
	}
	if o.Ahead == 0 {
		o.Ahead = DefaultAhead
	}
	if o.MaxAhead == 0 {
		o.MaxAhead = DefaultMaxAhead
	}
	c := &Clock{
		physical: o.Physical,
		persist:  o.Persist,
		ahead:    uint64(o.Ahead.Milliseconds()) << logicalBits,
		maxAhead: o.MaxAhead.Milliseconds(),
		last:     o.Bound,
		bound:    o.Bound,
	}
	c.settled.L = &c.mu
	return c, nil
}

// Now issues a timestamp above every earlier one of this clock, earlier runs
// included. It fails if a bound that is needed cannot be persisted or time is
// exhausted; the clock is then as before and the call may be repeated. A bound
// that fails ahead of need is tried again later.
func (c *Clock) Now() (Timestamp, error) {
	return c.advance(0, 1)
}

// Take issues n timestamps, each one above the other, for the price of one, and
// returns the first; n is at least 1. Errors are those of [Clock.Now].
func (c *Clock) Take(n int) (first Timestamp, err error) {
	return c.advance(0, uint64(n))
}

// Update takes note of a timestamp received and issues one above it and above
// every earlier one of this clock. Errors are those of [Clock.Now], and
// [ErrAhead].
func (c *Clock) Update(remote Timestamp) (Timestamp, error) {
	return c.advance(remote, 1)
}

// advance issues the next n timestamps above last and remote.
func (c *Clock) advance(remote Timestamp, n uint64) (Timestamp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		first, err := c.next(remote)
		if err != nil {
			return 0, err
		}
		next := first + n - 1 // of the last of them
		if next < first {
			return 0, fmt.Errorf("%d timestamps from %v: %w", n, Timestamp(first), ErrExhausted)
		}
		if c.persist == nil || next <= c.bound && (c.persisting || next < c.retry || !c.thin(next)) {
			c.last = next
			return Timestamp(first), nil
		}
		if c.persisting {
			c.settled.Wait()
			continue // time went on: look again
		}
		if err := c.extend(next); err != nil && next > c.bound {
			return 0, err
		}
	}
}

// next is the timestamp that would be issued now.
func (c *Clock) next(remote Timestamp) (uint64, error) {
	now := int64(0)
	if c.physical != nil {
		now = c.physical()
	}
	if now > MaxPhysical {
		return 0, fmt.Errorf("physical time of %d ms: %w", now, ErrExhausted)
	}
	if now > 0 && remote.Physical()-now > c.maxAhead {
		return 0, fmt.Errorf("remote %v is %d ms ahead of local %d ms, limit %d ms: %w",
			remote, remote.Physical()-now, now, c.maxAhead, ErrAhead)
	}
	base := max(c.last, uint64(remote))
	if base == math.MaxUint64 {
		return 0, fmt.Errorf("after %v: %w", Timestamp(base), ErrExhausted)
	}
	return max(base+1, uint64(max(now, 0))<<logicalBits), nil
}

// thin reports that next uses up half of what was persisted ahead: one call
// then renews it while others use the rest.
func (c *Clock) thin(next uint64) bool {
	return c.bound != math.MaxUint64 && c.bound-next < c.ahead/2
}

// extend persists a bound ahead of next, with the lock released meanwhile.
func (c *Clock) extend(next uint64) error {
	bound := next + c.ahead
	if bound < next {
		bound = math.MaxUint64
	}
	c.persisting = true
	c.mu.Unlock()
	err := c.persist(bound)
	c.mu.Lock()
	c.persisting = false
	c.settled.Broadcast()
	if err != nil {
		// What is left of the old bound may be used up; a sixteenth of it
		// passes before the next attempt.
		c.retry = next + c.ahead/16
		return fmt.Errorf("persist clock bound %v: %w", Timestamp(bound), err)
	}
	c.bound, c.retry = bound, 0
	return nil
}
