package clock

// Steady is a wall clock without its steps: it goes on with the monotonic
// clock, and moves toward the wall clock by at most [DefaultSlewPPM]. What
// others follow must not jump when somebody sets a clock, or when NTP steps
// it: a hybrid clock that was ten minutes ahead once stays so for ten minutes,
// and its peers refuse it. The zero value begins at the first reading. Pure;
// not safe for concurrent use.
type Steady struct {
	begun bool
	mono  int64 // at the last reading
	value int64 // then
	spare int64 // allowed to move, in ns × ppm, less than a nanosecond
}

// maxSpan bounds the time between readings that may be used to move, 13 days:
// its product with the rate fits.
const maxSpan = 1 << 50

// At is the steady time at the readings mono and wall. It never goes back.
func (s *Steady) At(mono, wall int64) int64 {
	if !s.begun {
		s.begun, s.mono, s.value = true, mono, wall
		return wall
	}
	if mono <= s.mono {
		return s.value
	}
	span := distance(mono, s.mono)
	s.mono, s.value = mono, add(s.value, int64(min(span, maxSpan)))
	s.spare += int64(min(span, maxSpan)) * DefaultSlewPPM
	most, left := s.spare/million, sub(wall, s.value)
	move := max(-most, min(most, left))
	s.value = add(s.value, move)
	if s.spare -= most * million; move == left {
		s.spare = 0 // it has arrived: what is not used is no credit for a later step
	}
	return s.value
}
