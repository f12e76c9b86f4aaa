package detect

import (
	"crypto/sha256"
	"fmt"
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
		for n := range int64(300) { // larger seeds are slow to mutate
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
