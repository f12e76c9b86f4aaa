package detect

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestSeriesUnit has the same scores in another unit.
func TestSeriesUnit(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	a, b := NewSeries(), NewSeries()
	for i := range int64(5000) {
		v := float64(i%144) + about(r)
		x, _ := a.Step(i*600*second, v)
		y, _ := b.Step(i*600*second, v*0x1p-40)
		if x != y {
			t.Fatalf("sample %d: %+v, in another unit %+v", i, x, y)
		}
	}
}

// TestSeriesLearning finds what is out of range before any season is known,
// nothing in a constant, and refuses what is no value.
func TestSeriesLearning(t *testing.T) {
	s := NewSeries()
	r := rand.New(rand.NewPCG(11, 11))
	for i := range int64(400) { // more than a day, which is one cycle
		if x, _ := s.Step(i*300*second, 100+about(r)); !x.Learning {
			t.Fatalf("sample %d: %+v", i, x)
		}
	}
	if x, _ := s.Step(400*300*second, 300); x.Score < DefaultThreshold {
		t.Errorf("far out of range: %+v", x)
	}
	day := NewSeries()
	for i := range int64(288) { // the first morning is no finding
		v := about(r)
		if i >= 108 {
			v += 50
		}
		if x, _ := day.Step(i*300*second, v); x.Score >= DefaultThreshold {
			t.Fatalf("the first day, sample %d: %+v", i, x)
		}
	}
	flat := NewSeries()
	for i := range int64(5000) {
		if x, _ := flat.Step(i*300*second, 5); x.Score >= 1 {
			t.Fatalf("a constant, sample %d: %+v", i, x)
		}
	}
	before := snapshot(s)
	for _, v := range []float64{math.NaN(), math.Inf(1), -1e301} {
		if _, err := s.Step(0, v); err == nil {
			t.Errorf("%g is taken for a value", v)
		}
	}
	if string(before) != string(snapshot(s)) {
		t.Error("a refused value changed the state")
	}
}

// TestSeriesNull counts the findings in noise, of light and of heavy tails. A
// score of s comes at most once in 10^s samples.
func TestSeriesNull(t *testing.T) {
	for name, draw := range map[string]func(r *rand.Rand) float64{
		"normal": about,
		"cauchy": func(r *rand.Rand) float64 { return math.Tan(math.Pi * (r.Float64() - 0.5)) },
		"counts": func(r *rand.Rand) float64 { return float64(int(2*about(r) + 6)) },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 100_000
			for _, learning := range []bool{false, true} {
				s, r := NewSeries(), rand.New(rand.NewPCG(13, 13))
				found := [5]int{}
				for i := range int64(n) {
					if learning && i%570 == 0 {
						s = NewSeries() // never gets beyond
					}
					x, err := s.Step(i*300*second, draw(r))
					if err != nil {
						t.Fatal(err)
					}
					for j := range found {
						if x.Score >= float64(j) {
							found[j]++
						}
					}
				}
				t.Logf("learning %v: of %d samples %d score 2 or more, %d 3, %d 4", learning, n, found[2], found[3], found[4])
				for j := 2; j < len(found); j++ {
					if want := n / math.Pow10(j); float64(found[j]) > want+3*math.Sqrt(want) {
						t.Errorf("learning %v: %d samples of %d score %d or more, want at most %.0f", learning, found[j], n, j, want)
					}
				}
			}
		})
	}
}
