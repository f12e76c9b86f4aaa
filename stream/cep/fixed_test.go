package cep

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// clamp is a big number as the fixed point holds it.
func clamp(v *big.Int) int64 {
	switch {
	case v.IsInt64():
		return v.Int64()
	case v.Sign() < 0:
		return math.MinInt64
	}
	return math.MaxInt64
}

// TestFixedPointIsExact compares the arithmetic with big integers, at all
// sizes, and at the ends of the range.
func TestFixedPointIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	value := func() int64 {
		switch r.IntN(8) {
		case 0:
			return math.MaxInt64 - r.Int64N(2)
		case 1:
			return math.MinInt64 + 1 + r.Int64N(2)
		case 2:
			return 0
		}
		return (r.Int64() >> r.IntN(63)) * (1 - 2*r.Int64N(2))
	}
	for range 200_000 {
		a, b := value(), value()
		x, y := big.NewInt(a), big.NewInt(b)
		check := func(op string, got int64, want *big.Int) {
			if got != clamp(want) {
				t.Fatalf("%d %s %d is %d, want %v", a, op, b, got, want)
			}
		}
		check("+", add(a, b), new(big.Int).Add(x, y))
		check("-", subtract(a, b), new(big.Int).Sub(x, y))
		check("*", multiply(a, b), new(big.Int).Quo(new(big.Int).Mul(x, y), big.NewInt(Scale)))
		if b != 0 {
			check("/", divide(a, b), new(big.Int).Quo(new(big.Int).Mul(x, big.NewInt(Scale)), y))
		}
	}
	for _, tc := range []struct{ a, b, want int64 }{{0, 0, 0}, {5, 0, math.MaxInt64}, {-5, 0, math.MinInt64}} {
		if got := divide(tc.a, tc.b); got != tc.want {
			t.Errorf("%d / %d is %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestFixedOfFloats(t *testing.T) {
	for _, tc := range []struct {
		v    float64
		want int64
		text string
	}{
		{0.1, 100_000, "0.1"}, {-2.5, -2_500_000, "-2.5"}, {1e-7, 0, "0"}, {0.0000005, 0, "0"}, {0.0000015, 2, "0.000002"},
		{math.NaN(), 0, "0"}, {math.Inf(1), math.MaxInt64, "9223372036854.775807"}, {-1e300, math.MinInt64, "-9223372036854.775808"},
	} {
		if got := Fixed(tc.v); got != tc.want || FormatFixed(got) != tc.text {
			t.Errorf("%v is %d, %s; want %d, %s", tc.v, got, FormatFixed(got), tc.want, tc.text)
		}
	}
}
