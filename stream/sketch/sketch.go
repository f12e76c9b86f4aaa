// Package sketch keeps the distribution of values in little memory: quantiles
// within a relative error of 1/128, by integer work alone.
//
// A value falls into a bucket by the upper bits of its IEEE 754 form: the sign,
// the exponent, and the first [Precision] bits of the mantissa. So each octave
// [2^e, 2^(e+1)) has 64 buckets of equal width 2^(e-6), and the buckets are
// logarithmic from octave to octave, as in HdrHistogram (G. Tene) and in the
// mapping that DDSketch calls linearly interpolated (Masson, Rim, Lee, VLDB
// 2019), but without a logarithm: that would differ between machines.
//
// # Error
//
// A bucket is told as its middle. With v in [2^e, 2^(e+1)) the middle m is at
// most half a bucket away, |m-v| <= 2^(e-7), and v >= 2^e, hence |m-v|/v <=
// 2^-7 < 0.79 %. Below 2^-1022, where floats themselves lose precision, the
// buckets are of equal width and the error is absolute, at most 2^-1029. Least
// and greatest value are exact.
//
// # Merging
//
// A sketch has at most [MaxBuckets] buckets. When its values fall into more, it
// halves the resolution, by one mantissa bit less, until they do not; this is
// the collapse of UDDSketch (Epicoco et al., IEEE Access 2020). The resolution
// is the finest at which the values fit, and so a function of the set of values
// alone: a part of the values never needs a coarser one than the whole, and the
// buckets of a coarser resolution are unions of those of a finer one. Therefore
// values may be added and sketches merged in any order and any grouping, and
// equal values give equal bytes, on every machine.
package sketch

import (
	"math"
	"math/bits"
)

const (
	// Precision is the number of mantissa bits that choose a bucket of an octave
	// while nothing had to collapse. Six keep the error below 1 %.
	Precision = 6
	// MaxBuckets bounds the buckets of a sketch, zero's apart: 32 octaves
	// without a gap, such as a nanosecond to four seconds, at full resolution.
	// Side by side they take 4 or 8 KB, spread as thinly as possible 132 KB.
	MaxBuckets = 2048

	mantissaBits = 52
	signBit      = 1 << 63
	// lastLevel leaves one bucket a sign.
	lastLevel = 63 - (mantissaBits - Precision)
	// maxCount is where counts stop, so that they fit a signed integer.
	maxCount = math.MaxInt64
)

// Sketch is the distribution of a multiset of values. Its zero value is empty
// and ready. Not safe for concurrent use.
type Sketch struct {
	// What most values touch comes first, within 64 bytes.
	count    uint64  // finite values
	min, max float64 // of these; 0 while there are none, never -0
	level    uint8   // how often the resolution was halved
	pos, neg buckets // of magnitudes
	zeros    uint64  // 0 and -0
	strange  Strange
}

// Strange counts the values that are no finite numbers. They are in no other
// count, and in no quantile.
type Strange struct {
	NaN, NegInf, PosInf uint64
}

// shift is how far the bits of a magnitude are shifted to give its bucket.
func (s *Sketch) shift() uint { return mantissaBits - Precision + uint(s.level) }

// Add takes one value in.
func (s *Sketch) Add(v float64) {
	if !s.slot(v) {
		s.AddN(v, 1)
	}
}

// AddAll is [Sketch.Add] for each of the values, and returns by how many there are
// more buckets now.
func (s *Sketch) AddAll(values []float64) (more int) {
	for _, v := range values {
		if !s.slot(v) {
			more -= s.Buckets()
			s.AddN(v, 1)
			more += s.Buckets()
		}
	}
	return more
}

// slot takes a value in that falls between the extremes and into the window of the
// positive ones, as most do, and reports whether it did. A value of the other sign,
// or zero, shifts to a number outside the window.
func (s *Sketch) slot(v float64) bool {
	b := &s.pos
	i := math.Float64bits(v)>>(s.shift()&63) - uint64(b.base)
	if i >= uint64(len(b.slots)) || !b.window || !(s.min <= v && v <= s.max) {
		return false
	}
	n := b.slots[i]
	if n-1 >= maxHalf-1 || s.count == maxCount { // unused, or full
		return false
	}
	b.slots[i] = n + 1
	s.count++
	return true
}

// AddN takes one value in n times. Counts stop at 2^63-1.
func (s *Sketch) AddN(v float64, n uint64) {
	switch {
	case n == 0:
		return
	case v != v:
		s.strange.NaN = plus(s.strange.NaN, n)
		return
	case v < -math.MaxFloat64:
		s.strange.NegInf = plus(s.strange.NegInf, n)
		return
	case v > math.MaxFloat64:
		s.strange.PosInf = plus(s.strange.PosInf, n)
		return
	}
	if v == 0 {
		v = 0 // of the two zeros the positive one
	}
	if s.count == 0 || v < s.min {
		s.min = v
	}
	if s.count == 0 || v > s.max {
		s.max = v
	}
	s.count = plus(s.count, n)
	switch b := math.Float64bits(v); {
	case b == 0:
		s.zeros = plus(s.zeros, n)
	case b&signBit == 0:
		s.pos.add(int32(b>>s.shift()), n)
	default:
		s.neg.add(int32(b&^signBit>>s.shift()), n)
	}
	s.collapse()
}

// Merge takes in all values of t, which stays as it is.
func (s *Sketch) Merge(t *Sketch) {
	s.strange.NaN = plus(s.strange.NaN, t.strange.NaN)
	s.strange.NegInf = plus(s.strange.NegInf, t.strange.NegInf)
	s.strange.PosInf = plus(s.strange.PosInf, t.strange.PosInf)
	if t.count == 0 {
		return
	}
	if s.count == 0 {
		s.min, s.max = t.min, t.max
	}
	s.min, s.max = min(s.min, t.min), max(s.max, t.max)
	s.count, s.zeros = plus(s.count, t.count), plus(s.zeros, t.zeros)
	for s.level < t.level {
		s.halve()
	}
	finer := s.level - t.level
	s.pos.merge(&t.pos, finer)
	s.neg.merge(&t.neg, finer)
	s.collapse()
}

// collapse halves the resolution until the buckets are few enough.
func (s *Sketch) collapse() {
	for s.pos.used+s.neg.used > MaxBuckets {
		s.halve()
	}
}

func (s *Sketch) halve() {
	s.level++
	s.pos.halve()
	s.neg.halve()
}

// Reset empties the sketch and keeps its memory for the values to come.
func (s *Sketch) Reset() {
	s.pos.reset()
	s.neg.reset()
	*s = Sketch{pos: s.pos, neg: s.neg}
}

// Count is the number of finite values.
func (s *Sketch) Count() uint64 { return s.count }

// Strange counts the values that are not finite.
func (s *Sketch) Strange() Strange { return s.strange }

// Min is the least finite value, exactly; 0 if there is none.
func (s *Sketch) Min() float64 { return s.min }

// Max is the greatest finite value, exactly; 0 if there is none.
func (s *Sketch) Max() float64 { return s.max }

// Buckets is the number of buckets in use, zero's apart: what the sketch takes
// of memory follows from it.
func (s *Sketch) Buckets() int { return s.pos.used + s.neg.used }

// Held is how many bytes the sketch takes beside its own, in use or kept for
// values to come.
func (s *Sketch) Held() int { return s.pos.held() + s.neg.held() }

// RelativeError is the greatest relative error that a quantile may have: 1/128
// unless buckets had to collapse, and infinite when not one mantissa bit is left.
func (s *Sketch) RelativeError() float64 {
	if s.level > Precision {
		return math.Inf(1)
	}
	return 1 / float64(uint64(1)<<(Precision+1-s.level))
}

// millionths is the unit in which a quantile is meant, so that the 0.07 of 100
// values is the 7th although 0.07*100 is above 7 in floating point.
const millionths = 1_000_000

// Quantile tells the value of rank ceil(q*Count), the least having rank 1 (the
// inverse of the empirical distribution; Hyndman and Fan 1996, definition 1),
// within [Sketch.RelativeError]; rank 1 and rank Count are exact. Q is taken to
// the nearest millionth and kept within 0 to 1, where rank 0 means 1. It
// reports false if there is no value.
func (s *Sketch) Quantile(q float64) (float64, bool) {
	if s.count == 0 {
		return 0, false
	}
	m := uint64(0)
	if q > 0 {
		m = uint64(math.Round(min(q, 1) * millionths))
	}
	hi, lo := bits.Mul64(m, s.count)
	lo, carry := bits.Add64(lo, millionths-1, 0)
	rank, _ := bits.Div64(hi+carry, lo, millionths)
	switch {
	case rank <= 1:
		return s.min, true
	case rank >= s.count:
		return s.max, true
	}
	return min(max(s.at(rank), s.min), s.max), true
}

// at is the middle of the bucket that holds the value of a rank.
func (s *Sketch) at(rank uint64) float64 {
	for key, n := range s.neg.falling {
		if rank <= n {
			return -s.middle(key)
		}
		rank -= n
	}
	if rank <= s.zeros {
		return 0
	}
	rank -= s.zeros
	for key, n := range s.pos.rising {
		if rank <= n {
			return s.middle(key)
		}
		rank -= n
	}
	return s.max
}

// middle is the value that stands for a bucket. That of the last bucket may be
// infinite; the caller keeps it within the extremes.
func (s *Sketch) middle(key int32) float64 {
	return math.Float64frombits(uint64(key)<<s.shift() | 1<<(s.shift()-1))
}

// plus adds counts, up to maxCount.
func plus(a, b uint64) uint64 {
	if b > maxCount || a+b > maxCount {
		return maxCount
	}
	return a + b
}
