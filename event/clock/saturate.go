package clock

import (
	"math"
	"math/bits"
)

// million is the unit of drift and slew: parts per million.
const million = 1_000_000

// add returns a + b, or the nearest end of the range.
func add(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	}
	return sum
}

// sub returns a - b, or the nearest end of the range.
func sub(a, b int64) int64 {
	diff := a - b
	switch {
	case a >= 0 && b < 0 && diff < 0:
		return math.MaxInt64
	case a < 0 && b >= 0 && diff >= 0:
		return math.MinInt64
	}
	return diff
}

// distance returns |a - b|, exactly.
func distance(a, b int64) uint64 {
	if a < b {
		return uint64(b) - uint64(a)
	}
	return uint64(a) - uint64(b)
}

// portion returns span·ppm/10^6, rounded down, at most MaxInt64. It never
// falls as span rises.
func portion(span uint64, ppm int64) int64 {
	hi, lo := bits.Mul64(span, uint64(max(ppm, 0)))
	if hi == 0 { // the usual case, without a long division
		return int64(min(lo/million, math.MaxInt64))
	}
	if hi >= million {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(hi, lo, million)
	return int64(min(quotient, math.MaxInt64))
}

// middle returns (a + b) / 2 without overflow, rounded down.
func middle(a, b int64) int64 { return a&b + (a^b)>>1 }
