package event

import (
	"math"

	"pando/event/clock"
)

// Time places the event in root time, by a mapping of the clock that its
// batch's Boot names: the interval in which it must have happened, and within
// that the best single estimate. An event with [OpenStart] has no lower end.
func (e *Event) Time(m clock.Mapping) (clock.Interval, int64) {
	lo := e.Stamp.Lo
	if e.Flags&OpenStart != 0 {
		lo = math.MinInt64
	}
	iv := m.Interval(lo, e.Stamp.Hi)
	return iv, min(max(m.Point(e.Stamp.Point), iv.Lo), iv.Hi)
}

// WithSource adds what a [clock.SourceOffset] found.
func (f Flags) WithSource(s clock.SourceFlags) Flags {
	if s&clock.SourceUsed != 0 {
		f |= PointFromSource
	}
	if s&clock.SourceSuspect != 0 {
		f |= SourceClockSuspect
	}
	return f
}
