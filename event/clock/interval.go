// Package clock turns readings of clocks that disagree into intervals of one
// time: root time, nanoseconds since the Unix epoch on the Raft leader's
// clock. All of it is pure, integer only, and saturates instead of wrapping;
// the callers read the clocks, for which [Monotonic] is at hand.
package clock

import "fmt"

// Boot names one run of a machine's monotonic clock: readings of different
// boots cannot be compared.
type Boot [16]byte

// Interval is a time in root time with its error: the true time lies in
// [Lo, Hi]. Unbounded ends are math.MinInt64 and math.MaxInt64.
type Interval struct{ Lo, Hi int64 }

// Before reports whether every time in i precedes every time in j.
func (i Interval) Before(j Interval) bool { return i.Hi < j.Lo }

// Concurrent reports whether neither interval is before the other.
func (i Interval) Concurrent(j Interval) bool { return !i.Before(j) && !j.Before(i) }

// Contains reports whether t lies in the interval.
func (i Interval) Contains(t int64) bool { return i.Lo <= t && t <= i.Hi }

func (i Interval) String() string { return fmt.Sprintf("[%d, %d]", i.Lo, i.Hi) }
