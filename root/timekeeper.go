//go:build !zos

package root

import "pando/event/clock"

// Timekeeper is a member's reckoning of root time: as the leader its own clock
// without its steps, slewed from the root time it knew when it took over;
// otherwise what it learns from the leader. A copy reckons on by itself. Pure;
// not safe for concurrent use.
type Timekeeper struct {
	steady  clock.Steady
	slew    clock.Slew
	leading bool
}

// Reading is a member's clocks at one moment, and the leader's time as it
// estimates it.
type Reading struct {
	Mono, Wall    int64
	Leader, Bound int64
	Heard         bool // the leader was heard of: Leader and Bound mean something
}

// local is this member's own clock. Everybody's time hangs on a leader's, so a
// step of it must not be one of theirs.
func (k *Timekeeper) local(r Reading) int64 { return k.steady.At(r.Mono, r.Wall) }

// Now is root time in nanoseconds since the Unix epoch.
func (k *Timekeeper) Now(r Reading) int64 { return k.at(r, k.local(r)) }

func (k *Timekeeper) at(r Reading, local int64) int64 {
	if !k.leading && r.Heard {
		return r.Leader
	}
	return k.slew.At(local)
}

// Known is root time with the bound of its error, for those below. While no
// leader was heard of it is unknown: this member's own clock may be minutes
// from what the group goes by, and a child would believe it.
func (k *Timekeeper) Known(r Reading) (now, bound int64, ok bool) {
	switch {
	case k.leading:
		return k.Now(r), 0, true
	case r.Heard:
		return r.Leader, r.Bound, true
	}
	return 0, 0, false
}

// Lead goes on from the root time known so far, and from the latest that the
// log tells: whoever starts after its clock was set back knows no better, and
// nodes that saw the later time would refuse it.
func (k *Timekeeper) Lead(r Reading, told int64) {
	local := k.local(r)
	k.slew, k.leading = clock.NewSlew(local, max(k.at(r, local), told), clock.DefaultSlewPPM), true
}

// Follow takes the leader's word for it again.
func (k *Timekeeper) Follow() { k.leading = false }
