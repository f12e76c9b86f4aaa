package detect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestLevelNull measures the run length on heavy-tailed values that do not
// change, and on a constant.
func TestLevelNull(t *testing.T) {
	o := DefaultLevelOptions()
	o.ARL, o.Rearm = 10_000, 0
	l, err := NewLevel(o)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	const n = 1_000_000
	found := 0
	for range n {
		v := math.Tan(math.Pi * (r.Float64() - 0.5)) // Cauchy: neither mean nor variance
		if c, ok := l.Step(v); ok && !c.Ended {
			found++
		}
	}
	t.Logf("%d found in %d samples, at most %d wanted", found, n, n/o.ARL)
	if want := float64(n / o.ARL); float64(found) > want+3*math.Sqrt(want) {
		t.Errorf("%d false findings in %d samples, want at most %.0f", found, n, want)
	}
	flat, err := NewLevel(o)
	if err != nil {
		t.Fatal(err)
	}
	for range 1_000_000 {
		if c, ok := flat.Step(7); ok {
			t.Fatalf("a constant gives %+v", c)
		}
	}
}

// TestLevelFinds shifts and spreads by three, in any unit.
func TestLevelFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(v float64) float64
		aspect Aspect
		up     bool
	}{
		{"up", func(v float64) float64 { return v + 3 }, LevelShift, true},
		{"down", func(v float64) float64 { return v - 3 }, LevelShift, false},
		{"wider", func(v float64) float64 { return v * 3 }, SpreadShift, true},
		{"narrower", func(v float64) float64 { return v / 20 }, SpreadShift, false},
	} {
		for _, unit := range []float64{1, 1e-30, 1e30} {
			t.Run(fmt.Sprintf("%s/unit=%g", c.name, unit), func(t *testing.T) {
				l, err := NewLevel(DefaultLevelOptions())
				if err != nil {
					t.Fatal(err)
				}
				r := rand.New(rand.NewPCG(8, 8))
				const before = 3000
				for range before {
					if c, ok := l.Step(about(r) * unit); ok {
						t.Fatalf("found before: %+v", c)
					}
				}
				for range 150 {
					got, ok := l.Step(c.change(about(r)) * unit)
					if !ok {
						continue
					}
					if got.Aspect != c.aspect || got.Up != c.up || got.Ended {
						t.Fatalf("found %+v", got)
					}
					if got.From < before-100 || got.From > before || got.To < before {
						t.Errorf("began between samples %d and %d, want about %d", got.From, got.To, before)
					}
					return
				}
				t.Error("not found within 150 samples")
			})
		}
	}
}
