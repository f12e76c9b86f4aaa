package cep

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Scale is the number of units in one: numbers of conditions and folds are
// integers in millionths. Six decimals hold what people write in conditions
// exactly, and leave a range of ±9.2·10^12; what lies beyond it stays at the
// nearest end.
const Scale = 1_000_000

const decimals = 6

// Fixed returns v rounded to the nearest millionth, halves to even; NaN is 0.
// One multiplication and one rounding are the same on every machine.
func Fixed(v float64) int64 {
	scaled := math.RoundToEven(v * Scale)
	switch {
	case scaled != scaled:
		return 0
	case scaled >= math.MaxInt64: // the constant is rounded up to 2^63
		return math.MaxInt64
	case scaled <= math.MinInt64:
		return math.MinInt64
	}
	return int64(scaled)
}

// FormatFixed writes a number in millionths in decimal, without zeros at the
// end.
func FormatFixed(v int64) string {
	negative, size := magnitude(v)
	text := strconv.FormatUint(size/Scale, 10)
	if rest := size % Scale; rest != 0 {
		fraction := strconv.FormatUint(rest, 10)
		text += "." + strings.TrimRight(strings.Repeat("0", decimals-len(fraction))+fraction, "0")
	}
	if negative {
		return "-" + text
	}
	return text
}

func magnitude(v int64) (negative bool, size uint64) {
	if v < 0 {
		return true, -uint64(v)
	}
	return false, uint64(v)
}

// signed applies a sign to a magnitude; what does not fit stays at the end.
func signed(negative bool, size uint64) int64 {
	switch {
	case negative && size >= 1<<63:
		return math.MinInt64
	case negative:
		return -int64(size)
	case size >= 1<<63:
		return math.MaxInt64
	}
	return int64(size)
}

// add returns a + b; beyond the range it stays at the nearest end.
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

func negate(v int64) int64 {
	if v == math.MinInt64 {
		return math.MaxInt64
	}
	return -v
}

// subtract returns a - b. For the least b, which has no counterpart, the
// result is one too small where it does not saturate, far below what a
// condition can tell.
func subtract(a, b int64) int64 { return add(a, negate(b)) }

// multiply returns a · b, cut towards zero to a millionth.
func multiply(a, b int64) int64 {
	aNegative, x := magnitude(a)
	bNegative, y := magnitude(b)
	hi, lo := bits.Mul64(x, y)
	if hi >= Scale {
		return signed(aNegative != bNegative, math.MaxUint64)
	}
	quotient, _ := bits.Div64(hi, lo, Scale)
	return signed(aNegative != bNegative, quotient)
}

// divide returns a / b, cut towards zero to a millionth. Division by zero
// gives the end of the range on a's side, and 0/0 is 0, so that a condition
// on a ratio is true of an infinite one and never fails.
func divide(a, b int64) int64 {
	aNegative, x := magnitude(a)
	bNegative, y := magnitude(b)
	if x == 0 {
		return 0
	}
	hi, lo := bits.Mul64(x, Scale)
	if hi >= y {
		return signed(aNegative != bNegative, math.MaxUint64)
	}
	quotient, _ := bits.Div64(hi, lo, y)
	return signed(aNegative != bNegative, quotient)
}
