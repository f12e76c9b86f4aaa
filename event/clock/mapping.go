package clock

import "math"

// DefaultDriftPPM is how fast two machines' clocks are assumed to part, at
// most: cheap oscillators keep 20 to 40 parts per million, and the kernels'
// own discipline moves a monotonic clock by few more.
const DefaultDriftPPM = 50

// Mapping turns readings of one monotonic clock into root time: at the
// reading At, root time was At + Offset, give or take Bound. It is sent beside
// every batch, as known when the batch is sent. Its methods trust no field:
// a negative Bound, which no honest peer sends, makes everything unbounded.
type Mapping struct {
	Boot   Boot  // whose readings it maps; the caller compares
	Offset int64 // root time minus monotonic time, ns
	Bound  int64 // error at At, ns
	At     int64 // monotonic reading at which Offset ± Bound was computed

	// DriftPPM widens the error with the distance from At; 0 or less means
	// [DefaultDriftPPM].
	DriftPPM int64
}

// Point is the best single estimate of the reading's root time.
func (m Mapping) Point(mono int64) int64 { return add(mono, m.Offset) }

// Root is the root time of one reading with its error.
func (m Mapping) Root(mono int64) Interval { return m.Interval(mono, mono) }

// Interval is the root time of what happened between two readings;
// math.MinInt64 and math.MaxInt64 leave that end open. A lo after hi counts
// as hi.
func (m Mapping) Interval(lo, hi int64) Interval {
	if lo == hi && m.Bound >= 0 && lo != math.MinInt64 && lo != math.MaxInt64 { // the usual case, at half the price
		point, bound := m.Point(lo), m.errorAt(lo)
		return Interval{Lo: sub(point, bound), Hi: add(point, bound)}
	}
	return Interval{Lo: m.least(min(lo, hi)), Hi: m.most(hi)}
}

// least is the earliest root time that the reading may stand for.
func (m Mapping) least(mono int64) int64 {
	if mono == math.MinInt64 || m.Bound < 0 {
		return math.MinInt64
	}
	return sub(m.Point(mono), m.errorAt(mono))
}

// most is the latest root time that the reading may stand for.
func (m Mapping) most(mono int64) int64 {
	if mono == math.MaxInt64 || m.Bound < 0 {
		return math.MaxInt64
	}
	return add(m.Point(mono), m.errorAt(mono))
}

// errorAt is the bound widened by the drift since, or until, At.
func (m Mapping) errorAt(mono int64) int64 {
	drift := m.DriftPPM
	if drift <= 0 {
		drift = DefaultDriftPPM
	}
	return add(m.Bound, portion(distance(mono, m.At), drift))
}
