package exact

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pando/internal/pack"
)

// value is the number a Sum stands for, scaled by 2^32.
func value(s Sum) *big.Int {
	v := new(big.Int).Lsh(big.NewInt(s.Hi), 64)
	return v.Add(v, new(big.Int).SetUint64(s.Lo))
}

func anyFloat(rng *rand.Rand) float64 {
	switch rng.IntN(4) {
	case 0:
		return math.Float64frombits(rng.Uint64())
	case 1: // near the resolution, ties included
		return math.Ldexp(float64(rng.IntN(1<<20)-1<<19), -33-rng.IntN(3))
	case 2:
		return math.Ldexp(rng.Float64()-0.5, rng.IntN(70))
	}
	return float64(rng.IntN(2000) - 1000)
}

func anySum(rng *rand.Rand) Sum {
	s := Sum{Hi: int64(rng.Uint64()) >> rng.IntN(64), Lo: rng.Uint64() >> rng.IntN(64)}
	if rng.IntN(4) == 0 {
		s.Lo &^= 1<<rng.IntN(64) - 1 // ties
	}
	return s
}

func checkFromFloat(t *testing.T, f float64) {
	t.Helper()
	s, ok := FromFloat(f)
	if f != f || math.IsInf(f, 0) || f >= 1<<63 || f < -1<<63 {
		want := Sum{}
		switch {
		case f > 0:
			want = Sum{Hi: 1 << 31}
		case f < 0:
			want = FromInt(math.MinInt64)
		}
		if ok || s != want {
			t.Fatalf("FromFloat(%g) = %v %v, want %v and false", f, s, ok, want)
		}
		return
	}
	// Round f·2^32 to an integer, halves to even.
	exact := new(big.Float).SetPrec(2000).SetFloat64(f)
	exact.SetMantExp(exact, fraction)
	floor, _ := new(big.Float).SetPrec(2000).Sub(exact, big.NewFloat(0.5)).Int(nil) // truncates
	best := new(big.Int)
	for d := int64(-2); d <= 2; d++ {
		c := new(big.Int).Add(floor, big.NewInt(d))
		if d == -2 || closer(exact, c, best) {
			best = c
		}
	}
	if !ok || value(s).Cmp(best) != 0 {
		t.Fatalf("FromFloat(%g) = %v %v, want %v/2^32", f, s, ok, best)
	}
}

// closer reports whether c is nearer to x than best, or as near and even.
func closer(x *big.Float, c, best *big.Int) bool {
	far := func(i *big.Int) *big.Float {
		d := new(big.Float).SetPrec(2000).SetInt(i)
		return d.Abs(d.Sub(d, x))
	}
	order := far(c).Cmp(far(best))
	return order < 0 || order == 0 && c.Bit(0) == 0
}

func checkOut(t *testing.T, s Sum) {
	t.Helper()
	exact := new(big.Float).SetPrec(200).SetInt(value(s))
	exact.SetMantExp(exact, -fraction)
	if want, _ := exact.Float64(); s.Float() != want {
		t.Fatalf("%+v.Float() = %b, want %b", s, s.Float(), want)
	}
	rat := new(big.Rat).SetFrac(value(s), new(big.Int).Lsh(big.NewInt(1), fraction))
	got, ok := new(big.Rat).SetString(s.String())
	if !ok || got.Cmp(rat) != 0 {
		t.Fatalf("%+v.String() = %s, want %s", s, s, rat.FloatString(32))
	}
}

func TestFloatsEnterAndLeaveCorrectlyRounded(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1, 0.1, math.NaN(), math.Inf(1), math.Inf(-1),
		1 << 63, -1 << 63, math.Nextafter(1<<63, 0), math.Nextafter(-1<<63, -math.MaxFloat64),
		math.SmallestNonzeroFloat64, 0x1p-33, 0x1.8p-32, 0x1p-34, -0x1p-33, math.MaxFloat64} {
		checkFromFloat(t, f)
	}
	for _, s := range []Sum{{}, maxSum, minSum, {Lo: 1}, {Hi: -1, Lo: math.MaxUint64},
		{Hi: 1<<53 - 1, Lo: math.MaxUint64}, {Lo: 1<<54 - 1}, {Hi: 1 << 62, Lo: 1}} {
		checkOut(t, s)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		checkFromFloat(t, anyFloat(rng))
		checkOut(t, anySum(rng))
	}
}

func TestArithmeticSaturates(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	clamp := func(v *big.Int) *big.Int {
		if v.Cmp(value(maxSum)) > 0 {
			return value(maxSum)
		}
		if v.Cmp(value(minSum)) < 0 {
			return value(minSum)
		}
		return v
	}
	for range 20_000 {
		s, u := anySum(rng), anySum(rng)
		if got, want := value(s.Add(u)), clamp(new(big.Int).Add(value(s), value(u))); got.Cmp(want) != 0 {
			t.Fatalf("%v + %v = %v/2^32, want %v", s, u, got, want)
		}
		if got, want := value(s.Sub(u)), clamp(new(big.Int).Sub(value(s), value(u))); got.Cmp(want) != 0 {
			t.Fatalf("%v - %v = %v/2^32, want %v", s, u, got, want)
		}
		if got, want := s.Cmp(u), value(s).Cmp(value(u)); got != want {
			t.Fatalf("%v against %v: %d", s, u, got)
		}
	}
	if minSum.Neg() != maxSum || !FromInt(-5).Add(FromInt(5)).IsZero() {
		t.Error("negation")
	}
}

func TestOrderNeverChangesTheBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		addends := make([]float64, 1000)
		for i := range addends {
			addends[i] = anyFloat(rng)
		}
		var want []byte
		for range 4 {
			var total Sum
			for _, f := range addends {
				s, _ := FromFloat(f)
				total = total.Add(s)
			}
			w := pack.NewWriter()
			total.Append(w)
			if want == nil {
				want = w.Copy()
			}
			if string(want) != string(w.Bytes()) {
				t.Fatalf("%x in one order, %x in another", want, w.Bytes())
			}
			if r := pack.NewReader(want); Read(r, "sum") != total || r.Done() != nil {
				t.Fatal("read is not what was appended")
			}
			rng.Shuffle(len(addends), func(i, j int) { addends[i], addends[j] = addends[j], addends[i] })
		}
	}
}

func FuzzFloat(f *testing.F) {
	f.Add(uint64(0x3ff0000000000001), int64(-1), uint64(1))
	f.Fuzz(func(t *testing.T, bits uint64, hi int64, lo uint64) {
		checkFromFloat(t, math.Float64frombits(bits))
		checkOut(t, Sum{hi, lo})
	})
}

func BenchmarkAddFloat(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	values := make([]float64, 1024)
	for i := range values {
		values[i] = math.Exp(rng.NormFloat64())
	}
	var total Sum
	for b.Loop() {
		for _, v := range values {
			s, _ := FromFloat(v)
			total = total.Add(s)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(values))/b.Elapsed().Seconds(), "values/s")
	_ = total
}
