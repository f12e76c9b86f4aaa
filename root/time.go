//go:build !zos

package root

import (
	"sync"

	"pando/tree/rootclock"
)

// rootTime is what this member takes for root time, by its clocks.
type rootTime struct {
	wall func() int64
	mono func() int64 // nil until use, unless a test sets it

	mu     sync.Mutex
	keeper Timekeeper
	clock  *rootclock.Clock // holds the estimate of the leader's time; set once
}

// use gives it the clock that takes the exchanges with the leader.
func (t *rootTime) use(c *rootclock.Clock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock = c
	if t.mono == nil {
		t.mono = c.Mono
	}
}

func (t *rootTime) readLocked() Reading {
	r := Reading{Mono: t.mono(), Wall: t.wall()}
	if t.clock != nil {
		if m, ok := t.clock.Mapping(); ok {
			r.Leader, r.Bound, r.Heard = m.Point(t.clock.Mono()), m.Bound, true
		}
	}
	return r
}

// Now is root time in nanoseconds since the Unix epoch.
func (t *rootTime) Now() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mono == nil {
		return t.wall()
	}
	return t.keeper.Now(t.readLocked())
}

// Root is root time with the bound of its error, for those below.
func (t *rootTime) Root() (now, bound int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mono == nil {
		return 0, 0, false
	}
	return t.keeper.Known(t.readLocked())
}

// lead goes on from the root time known so far, and from what the log tells.
func (t *rootTime) lead(told int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keeper.Lead(t.readLocked(), told)
}

// follow takes the leader's word for it again.
func (t *rootTime) follow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keeper.Follow()
}
