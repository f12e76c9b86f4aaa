package detect

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pando/internal/golden"
	"pando/internal/pack"
)

// state is what all tests have, and step what one does with the next draw.
type state interface {
	Snapshot(*pack.Writer)
	Restore(*pack.Reader) error
}

type subject struct {
	name string
	make func() state
	step func(s state, i int64, r *rand.Rand) string // says what was found, or nothing
}

// about is roughly normal, by integers, which are the same everywhere.
func about(r *rand.Rand) float64 {
	n := 0
	for range 12 {
		n += r.IntN(1 << 20)
	}
	return float64(n)/(1<<20) - 6
}

func subjects() []subject {
	say := func(c Change, ok bool) string {
		if !ok {
			return ""
		}
		return fmt.Sprintf("%+v", c)
	}
	must := func(s state, err error) state {
		if err != nil {
			panic(err)
		}
		return s
	}
	return []subject{
		{"rate", func() state { r, err := NewRate(quickRate(time.Hour)); return must(r, err) },
			func(s state, i int64, r *rand.Rand) string {
				n := r.Int64N(3)
				if i/9000%2 == 1 {
					n *= 2
				}
				return say(s.(*Rate).Step(1e18+i*250*int64(time.Millisecond), n))
			}},
		{"ratio", func() state { o := DefaultRatioOptions(); o.Adopt = 5000; r, err := NewRatio(o); return must(r, err) },
			func(s state, i int64, r *rand.Rand) string {
				failed := int64(0)
				if r.IntN(100) < 2+int(i/20000%3)*3 {
					failed = 1
				}
				return say(s.(*Ratio).Step(1, failed))
			}},
		{"level", func() state { l, err := NewLevel(DefaultLevelOptions()); return must(l, err) },
			func(s state, i int64, r *rand.Rand) string {
				v := about(r)
				switch i / 7000 % 4 {
				case 1:
					v += 3
				case 3:
					v *= 5
				}
				c, ok := s.(*Level).Step(v)
				if !ok {
					return ""
				}
				return fmt.Sprintf("%+v", c)
			}},
		{"series", func() state { return NewSeries() },
			func(s state, i int64, r *rand.Rand) string {
				at := 1_700_000_000 + i*600
				v := float64(at%86400)/8640 + about(r)
				if i%3001 > 2990 {
					v += 20
				}
				score, err := s.(*Series).Step(at*second, v)
				if err != nil {
					panic(err)
				}
				if score.Score < 2 {
					return ""
				}
				return fmt.Sprintf("%+v", score)
			}},
	}
}

func snapshot(s state) []byte {
	w := pack.NewWriter()
	s.Snapshot(w)
	return w.Copy()
}

const goldenSteps = 100_000

// TestGolden has each test step a long stream, and compares what it says, and
// its state in the end, with what every other machine says.
func TestGolden(t *testing.T) {
	for _, c := range subjects() {
		t.Run(c.name, func(t *testing.T) {
			s, r := c.make(), rand.New(rand.NewPCG(3, 3))
			var out []byte
			for i := range int64(goldenSteps / 4) {
				if said := c.step(s, i, r); said != "" {
					out = fmt.Appendf(out, "%d: %s\n", i, said)
				}
			}
			if len(out) == 0 {
				t.Error("nothing was found: the stream tests nothing")
			}
			out = fmt.Appendf(out, "state: sha256 %x\n", sha256.Sum256(snapshot(s)))
			golden.Compare(t, c.name+".txt", out, "raise relay's logicVersion if a relay runs it")
		})
	}
}

// TestRestore goes on from a snapshot as if nothing had happened.
func TestRestore(t *testing.T) {
	for _, c := range subjects() {
		t.Run(c.name, func(t *testing.T) {
			r, again := rand.New(rand.NewPCG(4, 4)), rand.New(rand.NewPCG(4, 4))
			s, other := c.make(), c.make()
			for i := range int64(20_000) {
				if i%1777 == 0 {
					bytes := snapshot(other)
					other = c.make()
					in := pack.NewReader(bytes)
					if err := other.Restore(in); err != nil {
						t.Fatal(err)
					}
					if err := in.Done(); err != nil {
						t.Fatal(err)
					}
				}
				if a, b := c.step(s, i, r), c.step(other, i, again); a != b {
					t.Fatalf("step %d says %q, restored %q", i, a, b)
				}
			}
			if a, b := snapshot(s), snapshot(other); string(a) != string(b) {
				t.Error("the states differ in the end")
			}
		})
	}
}

// FuzzRestore takes any bytes for a state: refused, or a state that steps and
// has these very bytes.
func FuzzRestore(f *testing.F) {
	for i, c := range subjects() {
		s, r := c.make(), rand.New(rand.NewPCG(5, 5))
		for n := range int64(3000) {
			c.step(s, n, r)
		}
		f.Add(uint8(i), snapshot(s))
		f.Add(uint8(i), snapshot(c.make()))
	}
	f.Fuzz(func(t *testing.T, which uint8, bytes []byte) {
		c := subjects()[int(which)%len(subjects())]
		s, in := c.make(), pack.NewReader(bytes)
		if s.Restore(in) != nil || in.Done() != nil {
			return
		}
		if again := snapshot(s); string(again) != string(bytes) {
			t.Fatalf("restored from %x, written as %x", bytes, again)
		}
		r := rand.New(rand.NewPCG(6, 6))
		for i := range int64(100) {
			c.step(s, i, r)
		}
	})
}

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

// TestRatio finds a share of failures that rises, not three failures of four
// requests, and takes a share that stays for the new usual.
func TestRatio(t *testing.T) {
	o := DefaultRatioOptions()
	o.Adopt = 20_000
	r, err := NewRatio(o)
	if err != nil {
		t.Fatal(err)
	}
	draw := rand.New(rand.NewPCG(9, 9))
	run := func(n int, percent int) (began, ended int) {
		for range n {
			failed := int64(0)
			if draw.IntN(100) < percent {
				failed = 1
			}
			if c, ok := r.Step(1, failed); ok && c.Ended {
				ended++
			} else if ok {
				began++
			}
		}
		return began, ended
	}
	if b, e := run(200_000, 1); b+e != 0 {
		t.Fatalf("of an unchanged share: %d began, %d ended", b, e)
	}
	if c, ok := r.Step(4, 3); ok {
		t.Errorf("three of four: %+v", c)
	}
	run(10_000, 1)
	if b, e := run(2000, 5); b != 1 || e != 0 {
		t.Errorf("five times the share: %d began, %d ended; want one, open", b, e)
	}
	if b, e := run(5000, 1); b != 0 || e != 1 {
		t.Errorf("back again: %d began, %d ended; want one end", b, e)
	}
	if b, e := run(60_000, 5); b != 1 || e != 1 {
		t.Errorf("for good: %d began, %d ended; want one, adopted", b, e)
	}
	if got := r.Baseline(); got < 0.04 || got > 0.06 {
		t.Errorf("the baseline is %.3f, want what became usual, 0.05", got)
	}
}

// TestRateChange follows one change: where it began, its end, its return.
func TestRateChange(t *testing.T) {
	o := DefaultRateOptions()
	r, err := NewRate(o)
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1e18)
	run := func(d time.Duration, every time.Duration) (said []Change) {
		for end := now + int64(d); now < end; {
			now += int64(Tick)
			n := int64(0)
			if now%int64(every) == 0 {
				n = 1
			}
			if c, ok := r.Step(now, n); ok {
				said = append(said, c)
			}
		}
		return said
	}
	if said := run(30*time.Minute, 100*time.Millisecond); len(said) != 0 {
		t.Fatalf("a steady rate: %+v", said)
	}
	begin := now
	said := run(time.Minute, 30*time.Millisecond)
	if len(said) != 1 || !said[0].Up || said[0].Ended {
		t.Fatalf("three times the rate: %+v", said)
	}
	if c := said[0]; c.From < begin-second || c.From > begin+second || c.To < c.From || c.To > begin+5*second {
		t.Errorf("began between %v and %v after it did", time.Duration(c.From-begin), time.Duration(c.To-begin))
	}
	if c := said[0]; math.Abs(c.Baseline-10) > 0.5 || c.Now < 20 || c.Now > 45 || c.Score < 1000 {
		t.Errorf("from %.1f/s to %.1f/s, score %d; want 10 to 33", c.Baseline, c.Now, c.Score)
	}
	if said = run(2*time.Minute, 100*time.Millisecond); len(said) != 1 || !said[0].Ended || said[0].Adopted {
		t.Fatalf("back again: %+v", said)
	}
	if said = run(10*time.Second, 30*time.Millisecond); len(said) != 1 || !said[0].Returned {
		t.Fatalf("and again: %+v", said)
	}
	run(10*time.Minute, 100*time.Millisecond)
	begin = now
	if said = run(time.Minute, time.Hour); len(said) != 1 || said[0].Up || said[0].From > begin+second {
		t.Fatalf("no events: %+v", said)
	}
}

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
					// The tail is fitted to few values, and so never exact: twice as many pass.
					if want := 2 * n / math.Pow10(j); float64(found[j]) > want+3*math.Sqrt(want) {
						t.Errorf("learning %v: %d samples of %d score %d or more, want at most %.0f", learning, found[j], n, j, want)
					}
				}
			}
		})
	}
}

// BenchmarkStep steps each test, the rate at ticks with events.
func BenchmarkStep(b *testing.B) {
	for _, c := range subjects() {
		b.Run(c.name, func(b *testing.B) {
			s, r := c.make(), rand.New(rand.NewPCG(12, 12))
			i := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				c.step(s, i, r)
				i++
			}
		})
	}
}
