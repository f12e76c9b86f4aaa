package clock

// DefaultSlewPPM is what adjtime(2) uses: a second in 33 minutes, and far
// above drift, so that a slew ends.
const DefaultSlewPPM = 500

// Slew is root time after a change of leader. It continues from the estimate
// that the new leader had of root time, and moves toward the leader's own
// clock by at most PPM, so that root time never steps and never goes back. A
// value; pure.
type Slew struct {
	From   int64 // leader's clock when it took over, Unix ns
	Behind int64 // leader's clock minus root time at that moment
	PPM    int64 // 0 or less means [DefaultSlewPPM]; at most half a million
}

// NewSlew starts at the leader's reading local, when root time was estimated
// to be root.
func NewSlew(local, root, ppm int64) Slew {
	return Slew{From: local, Behind: sub(local, root), PPM: ppm}
}

// At is root time at the leader's reading local. It rises with local; before
// From it runs parallel to the leader's clock.
func (s Slew) At(local int64) int64 {
	ppm := s.PPM
	if ppm <= 0 {
		ppm = DefaultSlewPPM
	}
	left := s.Behind
	if local > s.From {
		moved := portion(distance(local, s.From), min(ppm, million/2))
		if left > 0 {
			left = max(0, sub(left, moved))
		} else {
			left = min(0, add(left, moved))
		}
	}
	return sub(local, left)
}
