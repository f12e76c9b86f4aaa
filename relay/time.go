package relay

// Reckoning is root time as a relay knows it before it hears of it again: what
// its log says last, and what has passed since. Its own wall clock may be
// minutes ahead, and detectors never go back: they would find nothing until
// time has caught up. The zero value knows nothing.
type Reckoning struct{ last, since int64 }

// Reckon goes on from the last root time in the core's log, at a reading of the
// monotonic clock.
func Reckon(c Core, mono int64) Reckoning { return Reckoning{c.now, mono} }

// Now is root time at a reading of the monotonic clock, or at the most behind
// it by as long as the relay was down; false if the log tells none.
func (r Reckoning) Now(mono int64) (int64, bool) { return r.last + mono - r.since, r.last != 0 }
