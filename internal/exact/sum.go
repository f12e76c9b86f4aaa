// Package exact adds numbers without rounding: a [Sum] is a 128-bit fixed
// point integer, so a total has the same bytes whatever the order of its
// addends and whatever the machine (floating point gives neither: addition is
// not associative, and compilers may fuse x*y+z).
//
// A float is rounded once, to a multiple of 2^-32, when it enters by
// [FromFloat]; after that everything is exact. One addend is confined to
// ±2^63, a total to ±2^95, so four billion addends of the largest size fit
// and saturation, which would depend on the order, is out of reach in
// practice. The package uses integer instructions only.
package exact

import (
	"math/bits"

	"pando/internal/pack"
)

// fraction is the number of fractional bits. 2^-32 is finer than a nanosecond
// is to a second, and leaves 95 bits for the integer part of a total.
const fraction = 32

// Sum is a number in 128-bit two's complement with 32 fractional bits: its
// value is (Hi·2^64 + Lo) / 2^32. The zero value is zero. Equal numbers are
// equal values, so == compares.
type Sum struct {
	Hi int64
	Lo uint64
}

var (
	maxSum = Sum{Hi: 1<<63 - 1, Lo: 1<<64 - 1}
	minSum = Sum{Hi: -1 << 63}
)

// FromInt returns v exactly.
func FromInt(v int64) Sum {
	return Sum{Hi: v >> (64 - fraction), Lo: uint64(v) << fraction}
}

// Add returns s + t; beyond the range it stays at the nearest end.
func (s Sum) Add(t Sum) Sum {
	lo, carry := bits.Add64(s.Lo, t.Lo, 0)
	hi := int64(uint64(s.Hi) + uint64(t.Hi) + carry)
	if (s.Hi < 0) == (t.Hi < 0) && (hi < 0) != (s.Hi < 0) {
		return end(s.Hi < 0)
	}
	return Sum{Hi: hi, Lo: lo}
}

// Sub returns s - t; beyond the range it stays at the nearest end.
func (s Sum) Sub(t Sum) Sum {
	lo, borrow := bits.Sub64(s.Lo, t.Lo, 0)
	hi := int64(uint64(s.Hi) - uint64(t.Hi) - borrow)
	if (s.Hi < 0) != (t.Hi < 0) && (hi < 0) != (s.Hi < 0) {
		return end(s.Hi < 0)
	}
	return Sum{Hi: hi, Lo: lo}
}

// Neg returns -s; the least number, which has no counterpart, gives the
// greatest.
func (s Sum) Neg() Sum { return Sum{}.Sub(s) }

// Cmp returns -1, 0 or 1 as s is less than, equal to or greater than t.
func (s Sum) Cmp(t Sum) int {
	switch {
	case s == t:
		return 0
	case s.Hi < t.Hi || s.Hi == t.Hi && s.Lo < t.Lo:
		return -1
	}
	return 1
}

// IsZero reports whether s is zero.
func (s Sum) IsZero() bool { return s == Sum{} }

// Append writes s as two integers, Hi then Lo.
func (s Sum) Append(w *pack.Writer) {
	w.Int(s.Hi)
	w.Uint(s.Lo)
}

// Read reads what [Sum.Append] wrote. Errors stay in r.
func Read(r *pack.Reader, field string) Sum {
	hi := r.Int(field)
	return Sum{Hi: hi, Lo: r.Uint(field, 1<<64-1)}
}

// end is the end of the range on the side of the sign.
func end(negative bool) Sum {
	if negative {
		return minSum
	}
	return maxSum
}

// magnitude returns |s| as an unsigned 128-bit number.
func (s Sum) magnitude() (hi, lo uint64) {
	if s.Hi >= 0 {
		return uint64(s.Hi), s.Lo
	}
	lo, borrow := bits.Sub64(0, s.Lo, 0)
	return -uint64(s.Hi) - borrow, lo
}
