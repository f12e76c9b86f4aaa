//go:build !zos

package root

import (
	"sync"

	"pando/event/clock"
	"pando/tree/rootclock"
)

// rootTime is what this member takes for root time: as the leader its own
// clock without its steps, slewed from the root time it knew when it took
// over; otherwise what it learns from the leader.
type rootTime struct {
	wall func() int64
	mono func() int64 // nil until use, unless a test sets it

	mu      sync.Mutex
	steady  clock.Steady
	clock   *rootclock.Clock // holds the estimate of the leader's time; set once
	leading bool
	slew    clock.Slew
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

// localLocked is this member's own clock. Everybody's time hangs on a
// leader's, so a step of it must not be one of theirs.
func (t *rootTime) localLocked() int64 {
	if t.mono == nil {
		return t.wall()
	}
	return t.steady.At(t.mono(), t.wall())
}

// Now is root time in nanoseconds since the Unix epoch.
func (t *rootTime) Now() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nowLocked(t.localLocked())
}

// Root is root time with the bound of its error, for those below. While no
// leader was heard of it is unknown: this member's own clock may be minutes
// from what the group goes by, and a child would believe it.
func (t *rootTime) Root() (now, bound int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leading {
		return t.nowLocked(t.localLocked()), 0, true
	}
	if t.clock == nil {
		return 0, 0, false
	}
	m, ok := t.clock.Mapping()
	if !ok {
		return 0, 0, false
	}
	return m.Point(t.clock.Mono()), m.Bound, true
}

func (t *rootTime) nowLocked(local int64) int64 {
	if !t.leading && t.clock != nil {
		if m, ok := t.clock.Mapping(); ok {
			return m.Point(t.clock.Mono())
		}
	}
	return t.slew.At(local)
}

// lead goes on from the root time known so far.
func (t *rootTime) lead() {
	t.mu.Lock()
	defer t.mu.Unlock()
	local := t.localLocked()
	t.slew, t.leading = clock.NewSlew(local, t.nowLocked(local), clock.DefaultSlewPPM), true
}

// follow takes the leader's word for it again.
func (t *rootTime) follow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leading = false
}
