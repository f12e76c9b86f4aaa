package anomaly

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"pando/internal/pack"
)

const (
	// rhythmGaps is how many pauses make a rhythm. Sixteen steady ones come
	// from a bursty speaker by chance too rarely to matter.
	rhythmGaps = 16
	// steadiness is how many times the median pause the longest may last.
	// Steady speakers jitter by a factor of two; batch jobs, and Poisson
	// arrivals slower than the grain, exceed four soon.
	steadiness = 4
	// forgetAfter is how many times its own length a long pause is
	// remembered, so that what happens once a day is known for weeks.
	forgetAfter = 16
)

// rhythm is what is known of a speaker's pauses: the last sixteen, and the
// longest of old, which is halved whenever sixteen times its length passed
// without its like. A speaker is steady when the longest is at most four
// times the median; what comes in bursts never is.
//
// Pauses are kept in milliseconds, rounded up: nothing is expected more
// exactly than that.
type rhythm struct {
	gaps      [rhythmGaps]uint32 // milliseconds, oldest first
	n         uint8              // of gaps in use
	lapses    uint8              // silences lately that a finding told of
	longest   uint32             // milliseconds; at least every one of gaps
	at        int64              // event time of the last change
	longestAt int64              // event time at which longest was reached or halved
	lapse     int64              // nanoseconds the latest of the lapses lasted
	lapsedAt  int64              // event time at which it ended
}

// add notes a pause in nanoseconds that ended at root time at.
func (r *rhythm) add(gap, at int64) {
	ms := millis(gap)
	if int(r.n) < rhythmGaps {
		r.gaps[r.n] = ms
		r.n++
	} else {
		copy(r.gaps[:], r.gaps[1:])
		r.gaps[rhythmGaps-1] = ms
	}
	r.at = at
	switch {
	case ms >= r.longest:
		r.longest, r.longestAt = ms, at
	case at-r.longestAt >= forgetAfter*nanos(r.longest):
		r.longest, r.longestAt = max(r.longest/2, slices.Max(r.gaps[:r.n])), at
	}
}

// ended notes that a silence of so many nanoseconds, which a finding told of,
// ended at root time at. The first may be the accident that the finding was
// for: only the rhythm starts anew. From the second on such pauses are this
// speaker's way, and enter its memory.
func (r *rhythm) ended(length, at int64) {
	if at-r.lapsedAt >= forgetAfter*min(r.lapse, math.MaxInt64/forgetAfter) {
		r.lapses = 0
	}
	r.lapses = min(r.lapses, math.MaxUint8-1) + 1
	r.lapse, r.lapsedAt, r.at = length, at, at
	r.gaps, r.n = [rhythmGaps]uint32{}, 0
	if ms := millis(length); r.lapses >= 2 && ms >= r.longest {
		r.longest, r.longestAt = ms, at
	}
}

// typical returns the longest pause to reckon with, in nanoseconds, and
// whether the speaker keeps a steady rhythm at all.
func (r *rhythm) typical() (gap int64, steady bool) {
	sorted := r.gaps
	slices.Sort(sorted[:r.n])
	steady = r.n == rhythmGaps && uint64(r.longest) <= steadiness*uint64(sorted[rhythmGaps/2-1])
	return nanos(r.longest), steady
}

// compare orders what two relays know of one speaker: the one that learnt
// later comes first. Only equal rhythms compare as 0.
func (r *rhythm) compare(s *rhythm) int {
	return cmp.Or(-cmp.Compare(r.at, s.at), -cmp.Compare(r.n, s.n), slices.Compare(r.gaps[:], s.gaps[:]),
		cmp.Compare(r.longest, s.longest), cmp.Compare(r.longestAt, s.longestAt),
		cmp.Compare(r.lapses, s.lapses), cmp.Compare(r.lapse, s.lapse), cmp.Compare(r.lapsedAt, s.lapsedAt))
}

func millis(ns int64) uint32 {
	if ns <= 0 {
		return 0
	}
	return uint32(min((ns-1)/1e6+1, math.MaxUint32))
}

func nanos(ms uint32) int64 { return int64(ms) * 1e6 }

func appendRhythm(w *pack.Writer, r *rhythm) {
	w.Array(int(r.n))
	for _, ms := range r.gaps[:r.n] {
		w.Uint(uint64(ms))
	}
	w.Int(r.at)
	w.Uint(uint64(r.longest))
	w.Int(r.longestAt)
	w.Uint(uint64(r.lapses))
	w.Int(r.lapse)
	w.Int(r.lapsedAt)
}

func readRhythm(r *pack.Reader) rhythm {
	var out rhythm
	out.n = uint8(r.Array("pauses", rhythmGaps))
	for i := range out.n {
		out.gaps[i] = uint32(r.Uint("pause", math.MaxUint32))
	}
	out.at = r.Int("rhythm time")
	out.longest = uint32(r.Uint("longest pause", math.MaxUint32))
	out.longestAt = r.Int("longest pause time")
	out.lapses = uint8(r.Uint("lapses", math.MaxUint8))
	out.lapse = r.Int("lapse")
	out.lapsedAt = r.Int("lapse time")
	if r.Err() == nil && out.lapse < 0 {
		r.Fail("lapse", errors.New("lasts less than nothing"))
	}
	return out
}
