package clock

import "time"

// SourceFlags tell what a [SourceOffset] made of a producer's own time.
type SourceFlags uint8

const (
	// SourceUsed: the producer's time lay inside the interval and is the
	// point.
	SourceUsed SourceFlags = 1 << iota
	// SourceSuspect: it lay outside, and the point is the append.
	SourceSuspect
	// SourceStepped: the producer's clock was set; its offset is learnt anew.
	SourceStepped
)

const (
	// sourceHalf is half of the lines, and sourceAge half of the time, that
	// an offset is learnt from. The least delay of some hundred lines is close
	// to the true one; ten minutes of drift at 50 ppm are 30 ms.
	sourceHalf = 128
	sourceAge  = 5 * int64(time.Minute)

	// sourceStep is how far outside its interval a producer's time may lie, by
	// the offset learnt, before its clock must have been set. A line that was
	// merely faster than all before it, or waited in the producer's buffer, is
	// outside by less.
	sourceStep = int64(time.Second)

	// sourceEarly is how many lines may lie that far before their interval,
	// with none inside between them, until the producer's clock must have been
	// set back. One line may carry an old time for many reasons.
	sourceEarly = 8
)

// SourceOffset learns how far one producer's own clock is from the agent's
// monotonic clock: the least of (append - claimed) over recent lines, since
// what exceeds the least is delay. Pure and integer only; the zero value is
// ready. Not safe for concurrent use; the source's reader owns it.
type SourceOffset struct {
	older, newer least // two buckets: together the window
	early        int   // lines in a row that lay before their interval
	recent       least // of those lines
}

// least is the smallest offset of some lines.
type least struct {
	offset int64 // valid while lines > 0
	lines  int
	since  int64 // append of the first line
}

func (l *least) take(offset, at int64) {
	if l.lines == 0 || offset < l.offset {
		l.offset = offset
	}
	if l.lines == 0 {
		l.since = at
	}
	l.lines++
}

// Point returns the best estimate of when a line was produced, on the agent's
// monotonic clock. The line was appended at hi, and lo was the last time
// before it that the source was known to hold nothing more; claimed is the
// producer's Unix time in nanoseconds, 0 if there is none. The point lies in
// [lo, hi].
func (s *SourceOffset) Point(lo, hi, claimed int64) (int64, SourceFlags) {
	lo = min(lo, hi)
	if claimed == 0 {
		return hi, 0
	}
	offset := sub(hi, claimed)
	var flags SourceFlags
	if known, ok := s.offset(); ok && sub(known, offset) > sourceStep {
		*s = SourceOffset{}
		flags |= SourceStepped
	}
	s.learn(offset, hi)
	known, _ := s.offset()
	point := add(claimed, known) // at most hi: this line's offset was learnt
	if point >= lo {
		s.early, s.recent = 0, least{}
		return min(point, hi), flags | SourceUsed
	}
	if sub(lo, point) <= sourceStep {
		return hi, flags | SourceSuspect // as from a producer that buffers
	}
	s.early++
	s.recent.take(offset, hi)
	if s.early < sourceEarly {
		return hi, flags | SourceSuspect
	}
	// So many in a row are no stray lines: believe the newest ones.
	*s = SourceOffset{newer: s.recent}
	return max(lo, min(add(claimed, s.newer.offset), hi)), flags | SourceStepped | SourceUsed
}

// learn enters one line into the window.
func (s *SourceOffset) learn(offset, at int64) {
	if s.newer.lines >= sourceHalf || s.newer.lines > 0 && sub(at, s.newer.since) > sourceAge {
		s.older, s.newer = s.newer, least{}
	}
	if s.older.lines > 0 && sub(at, s.older.since) > 2*sourceAge {
		s.older = least{}
	}
	s.newer.take(offset, at)
}

// offset is the least of the window; false before the first line.
func (s *SourceOffset) offset() (int64, bool) {
	switch {
	case s.newer.lines == 0:
		return s.older.offset, s.older.lines > 0
	case s.older.lines == 0:
		return s.newer.offset, true
	}
	return min(s.older.offset, s.newer.offset), true
}
