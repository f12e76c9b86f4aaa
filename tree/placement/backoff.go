package placement

import (
	"errors"
	"fmt"
	"time"
)

// BackoffOptions configure a [Backoff].
type BackoffOptions struct {
	Base time.Duration // the least pause, above 0
	Cap  time.Duration // the greatest pause, at least Base

	// Rand returns a uniform integer in [0, n) for n > 0, as Int64N of
	// math/rand/v2 does. It is the only source of randomness.
	Rand func(n int64) int64
}

// DefaultBackoffOptions suits reconnecting to a relay: quick enough to be back
// within half a second of its return, slow enough that a thousand agents that
// lost it together do not keep it busy with handshakes.
func DefaultBackoffOptions(rand func(n int64) int64) BackoffOptions {
	return BackoffOptions{Base: 50 * time.Millisecond, Cap: 5 * time.Second, Rand: rand}
}

// maxBackoff bounds Cap, far below where tripling a pause would overflow.
const maxBackoff = 24 * time.Hour

func (o BackoffOptions) validate() error {
	var faults []error
	if o.Base <= 0 {
		faults = append(faults, fmt.Errorf("base %v is not above 0", o.Base))
	}
	if o.Cap < o.Base || o.Cap > maxBackoff {
		faults = append(faults, fmt.Errorf("cap %v is outside %v to %v", o.Cap, o.Base, maxBackoff))
	}
	if o.Rand == nil {
		faults = append(faults, errors.New("no source of randomness"))
	}
	return errors.Join(faults...)
}

// Backoff yields the pauses between attempts, with decorrelated jitter: each
// is uniform between the base and three times the one before, up to the cap
// (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
// Clients that failed together drift apart. Not safe for concurrent use.
type Backoff struct {
	opts BackoffOptions
	last time.Duration // the last pause; Base after a reset
}

// NewBackoff returns a backoff that starts at its base.
func NewBackoff(opts BackoffOptions) (*Backoff, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("backoff: %w", err)
	}
	return &Backoff{opts: opts, last: opts.Base}, nil
}

// Next returns the pause before the next attempt, within [Base, Cap].
func (b *Backoff) Next() time.Duration {
	span := int64(3*b.last-b.opts.Base) + 1
	b.last = min(b.opts.Cap, b.opts.Base+time.Duration(b.opts.Rand(span)))
	return b.last
}

// Reset starts again at the base, after a success.
func (b *Backoff) Reset() { b.last = b.opts.Base }
