package exact

import (
	"math"
	"math/bits"
)

// Parts of an IEEE 754 double.
const (
	mantissaBits = 52
	exponentBias = 1023
	exponentMask = 0x7ff
)

// FromFloat returns v rounded to the nearest multiple of 2^-32, halves to
// even. It reports false for what is no number in ±2^63: NaN gives zero,
// anything else the nearest of ±2^63, so that the caller may count it and go
// on.
func FromFloat(v float64) (Sum, bool) {
	b := math.Float64bits(v)
	negative := b>>63 != 0
	exponent := int(b >> mantissaBits & exponentMask)
	mantissa := b & (1<<mantissaBits - 1)
	switch {
	case exponent == exponentMask && mantissa != 0:
		return Sum{}, false
	case exponent > exponentBias+63,
		exponent == exponentBias+63 && (mantissa != 0 || !negative):
		return signed(1<<(63+fraction-64), 0, negative), false
	case exponent == 0: // zero, or subnormal and far below 2^-33
		return Sum{}, true
	}
	mantissa |= 1 << mantissaBits
	// v = mantissa · 2^(exponent-bias-52), and the sum counts in 2^-32.
	shift := exponent - exponentBias - mantissaBits + fraction
	if shift >= 0 { // at most 63-52+32 = 43
		return signed(mantissa>>(64-shift), mantissa<<shift, negative), true
	}
	shift = -shift
	if shift > mantissaBits+1 { // below half of 2^-32
		return Sum{}, true
	}
	whole := mantissa >> shift
	rest := mantissa & (1<<shift - 1)
	if half := uint64(1) << (shift - 1); rest > half || rest == half && whole&1 != 0 {
		whole++
	}
	return signed(0, whole, negative), true
}

// signed applies a sign to a magnitude below 2^127.
func signed(hi, lo uint64, negative bool) Sum {
	if negative {
		l, borrow := bits.Sub64(0, lo, 0)
		return Sum{Hi: int64(-hi - borrow), Lo: l}
	}
	return Sum{Hi: int64(hi), Lo: lo}
}

// Float returns the nearest float64 to s, halves to even.
func (s Sum) Float() float64 {
	hi, lo := s.magnitude()
	length := bits.Len64(lo)
	if hi != 0 {
		length = 64 + bits.Len64(hi)
	}
	if length == 0 {
		return 0
	}
	exponent := length - 1 - fraction
	mantissa := lo // with its leading bit at mantissaBits, after the switch
	switch excess := length - (mantissaBits + 1); {
	case excess <= 0:
		mantissa <<= -excess
	default:
		var rest, half uint64 // what is cut off; rest keeps only whether low bits are set, above 64
		mantissa, rest, half = cut(hi, lo, excess)
		if rest > half || rest == half && mantissa&1 != 0 {
			mantissa++
		}
		if mantissa>>(mantissaBits+1) != 0 {
			mantissa >>= 1
			exponent++
		}
	}
	b := uint64(exponent+exponentBias)<<mantissaBits | mantissa&(1<<mantissaBits-1)
	if s.Hi < 0 {
		b |= 1 << 63
	}
	return math.Float64frombits(b)
}

// cut shifts the 128-bit number right by n, 1 to 75, and returns what is left
// with the bits cut off and half of their range, both scaled to compare as
// integers: of more than 62 cut bits the low ones are folded into one.
func cut(hi, lo uint64, n int) (left, rest, half uint64) {
	const wide = 62
	if n > wide {
		fold := n - wide
		sticky := uint64(0)
		if lo&(1<<fold-1) != 0 {
			sticky = 1
		}
		// Double what is left so that the folded bits have a place.
		lo = hi<<(64-fold) | lo>>fold
		hi >>= fold
		n = wide
		left = hi<<(64-n) | lo>>n
		return left, (lo&(1<<n-1))<<1 | sticky, 1 << n
	}
	left = lo >> n
	if hi != 0 {
		left |= hi << (64 - n)
	}
	return left, lo & (1<<n - 1), 1 << (n - 1)
}

// String returns s exactly, in decimal: every multiple of 2^-32 has at most
// 32 decimals.
func (s Sum) String() string {
	hi, lo := s.magnitude()
	var text [1 + 29 + 1 + fraction]byte // sign, 2^95, point, decimals
	at := 1 + 29
	// Integer part: 96 bits, three times 32.
	whole := [3]uint64{hi >> 32, hi & math.MaxUint32, lo >> 32}
	for {
		rest := uint64(0)
		for i := range whole {
			rest = rest<<32 | whole[i]
			whole[i], rest = rest/10, rest%10
		}
		at--
		text[at] = '0' + byte(rest)
		if whole == [3]uint64{} {
			break
		}
	}
	if s.Hi < 0 {
		at--
		text[at] = '-'
	}
	end := 1 + 29
	rest := lo & math.MaxUint32
	if rest != 0 {
		text[end] = '.'
		end++
	}
	for ; rest != 0; rest &= math.MaxUint32 {
		rest *= 10
		text[end] = '0' + byte(rest>>32)
		end++
	}
	return string(text[at:end])
}
