package exact

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestLog compares with package math, which is not portable but accurate.
func TestLog(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200_000 {
		x := math.Ldexp(1+r.Float64(), r.IntN(2000)-1000)
		if r.IntN(4) == 0 {
			x = 1 + (r.Float64()-0.5)/float64(uint64(1)<<r.IntN(50)) // near the zero of the function
		}
		got, want := Log(x), math.Log(x)
		if off := math.Abs(got - want); off > 4*0x1p-53*math.Abs(want) {
			t.Fatalf("Log(%g) = %g, want %g: %g of it off", x, got, want, off/math.Abs(want))
		}
	}
	for _, x := range []float64{math.NaN(), -1, math.Inf(-1), math.Inf(1), 0, 1, 0x1p-1022, math.MaxFloat64} {
		got, want := Log(x), math.Log(x)
		if math.IsNaN(got) != math.IsNaN(want) || !math.IsNaN(got) && math.Abs(got-want) > 1e-15*math.Abs(want) && got != want {
			t.Errorf("Log(%g) = %g, want %g", x, got, want)
		}
	}
}

// TestLogGolden has the same bits on every processor.
func TestLogGolden(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var hash uint64
	for range 100_000 {
		x := math.Ldexp(1+r.Float64(), r.IntN(200)-100)
		hash = hash*0x100000001b3 ^ math.Float64bits(Log(x))
	}
	if got, want := fmt.Sprintf("%016x", hash), "61b1207f5f9d38cd"; got != want {
		t.Errorf("hash of 100,000 logarithms is %s, want %s", got, want)
	}
}
