package sketch

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pando/internal/golden"
	"pando/internal/pack"
)

// sources draw values of one kind each, without functions of package math that
// differ between machines.
var sources = []struct {
	name string
	draw func(r *rand.Rand) float64
}{
	{"latencies", func(r *rand.Rand) float64 { return math.Ldexp(1+r.Float64(), r.IntN(12)-8) }},
	{"whole numbers", func(r *rand.Rand) float64 { return float64(r.IntN(300)) }},
	{"both signs", func(r *rand.Rand) float64 { return r.Float64() - 0.5 }},
	{"one value", func(*rand.Rand) float64 { return 0.1 }},
	{"few, far apart", func(r *rand.Rand) float64 { return math.Ldexp(1, 40*r.IntN(20)-400) }},
	{"tiny ones", func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64N(1 << 54)) }},
	{"any bits", func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64()) }},
	{"mostly one octave", func(r *rand.Rand) float64 {
		if r.IntN(100) == 0 {
			return math.Float64frombits(r.Uint64())
		}
		return 1 + r.Float64()
	}},
}

func sketchOf(values []float64) *Sketch {
	var s Sketch
	for _, v := range values {
		s.Add(v)
	}
	return &s
}

func encoded(s *Sketch) []byte {
	w := pack.NewWriter()
	s.Append(w)
	return w.Copy()
}

func decoded(b []byte) (Sketch, error) {
	r := pack.NewReader(b)
	s := Read(r)
	return s, r.Done()
}

func draw(r *rand.Rand, n int, from func(*rand.Rand) float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = from(r)
	}
	return values
}

// TestQuantilesAreWithinTheirError compares every rank with the sorted values.
func TestQuantilesAreWithinTheirError(t *testing.T) {
	for _, source := range sources {
		for _, n := range []int{1, 2, 3, 40, 1000, 20_000} {
			values := draw(rand.New(rand.NewPCG(uint64(n), 1)), n, source.draw)
			s := sketchOf(values)
			values = slices.DeleteFunc(values, func(v float64) bool { return v != v || math.IsInf(v, 0) })
			slices.Sort(values)
			if s.Count() != uint64(len(values)) || s.Buckets() > MaxBuckets {
				t.Fatalf("%s, %d: counts %d of %d in %d buckets", source.name, n, s.Count(), len(values), s.Buckets())
			}
			if len(values) > 0 && (s.Min() != values[0] || s.Max() != values[len(values)-1]) {
				t.Fatalf("%s, %d: %v to %v, want %v to %v", source.name, n, s.Min(), s.Max(), values[0], values[len(values)-1])
			}
			for q := range 1001 {
				got, ok := s.Quantile(float64(q) / 1000)
				if ok != (len(values) > 0) {
					t.Fatalf("%s, %d: of %d values it says %v", source.name, n, len(values), ok)
				}
				if !ok {
					continue
				}
				rank := max((q*len(values)+999)/1000, 1)
				want := values[rank-1]
				if off := math.Abs(got - want); off > s.RelativeError()*math.Abs(want)+0x1p-1029 {
					t.Fatalf("%s, %d: the value of rank %d is %v, said to be %v within %v", source.name, n, rank, want, got, s.RelativeError())
				}
			}
		}
	}
}

// TestEveryBucketIsNarrow looks at both ends of buckets in octaves of all sizes,
// which no drawn value need come near.
func TestEveryBucketIsNarrow(t *testing.T) {
	var s Sketch
	for exponent := uint64(1); exponent < 0x7ff; exponent += 31 {
		for i := range uint64(1 << Precision) {
			first := exponent<<mantissaBits | i<<(mantissaBits-Precision)
			last := first | 1<<(mantissaBits-Precision) - 1
			for _, end := range []float64{math.Float64frombits(first), math.Float64frombits(last)} {
				m := s.middle(int32(math.Float64bits(end) >> s.shift()))
				if math.Abs(m-end) > end/128 {
					t.Fatalf("the middle of the bucket of %v is %v", end, m)
				}
			}
		}
	}
	if s.RelativeError() != 1.0/128 {
		t.Errorf("relative error %v", s.RelativeError())
	}
}

// TestMergeTreesGiveEqualBytes merges parts in random trees.
func TestMergeTreesGiveEqualBytes(t *testing.T) {
	collapsed := 0
	for _, source := range sources {
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 2))
			values := draw(r, 1+r.IntN(9000), source.draw)
			whole := sketchOf(values)
			want := encoded(whole)
			if whole.level > 0 {
				collapsed++
			}
			r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			var parts []*Sketch
			for i := 0; i < len(values); {
				n := min(1+r.IntN(1+len(values)/3), len(values)-i)
				parts = append(parts, sketchOf(values[i:i+n]))
				i += n
			}
			reused := sketchOf(values[:min(700, len(values))])
			reused.Reset()
			parts = append(parts, new(Sketch), reused)
			for len(parts) > 1 {
				r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
				last := parts[len(parts)-1]
				before := encoded(last)
				parts[0].Merge(last)
				if !bytes.Equal(encoded(last), before) {
					t.Fatalf("%s, seed %d: a merge changed what was merged", source.name, seed)
				}
				parts = parts[:len(parts)-1]
			}
			if !bytes.Equal(encoded(parts[0]), want) {
				t.Fatalf("%s, seed %d: %d values merged give other bytes", source.name, seed, len(values))
			}
			back, err := decoded(want)
			if err != nil || !bytes.Equal(encoded(&back), want) {
				t.Fatalf("%s, seed %d: read back: %v", source.name, seed, err)
			}
			back.Merge(whole)
			twice := new(Sketch)
			for _, v := range values {
				twice.AddN(v, 2)
			}
			if !bytes.Equal(encoded(&back), encoded(twice)) {
				t.Fatalf("%s, seed %d: what was read does not go on as what was written", source.name, seed)
			}
		}
	}
	if collapsed < 30 {
		t.Errorf("only %d of the sketches had to collapse", collapsed)
	}
}

func TestStrangeValuesAreApart(t *testing.T) {
	s := sketchOf([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Inf(1), math.Copysign(0, -1), 3})
	if s.Count() != 2 || s.Strange() != (Strange{NaN: 1, NegInf: 1, PosInf: 2}) {
		t.Errorf("%d values and %+v", s.Count(), s.Strange())
	}
	if s.Min() != 0 || math.Signbit(s.Min()) || s.Max() != 3 {
		t.Errorf("from %v to %v", s.Min(), s.Max())
	}
	s.AddN(3, math.MaxUint64)
	s.Merge(s)
	s.Add(3)
	if v, ok := s.Quantile(0.5); s.Count() != math.MaxInt64 || v != 3 || !ok {
		t.Errorf("beyond what can be counted: %d values, the median %v", s.Count(), v)
	}
	if back, err := decoded(encoded(s)); err != nil || !bytes.Equal(encoded(&back), encoded(s)) {
		t.Errorf("read back: %v", err)
	}
}

func TestWarmSketchesDoNotAllocate(t *testing.T) {
	values := draw(rand.New(rand.NewPCG(1, 3)), 4096, sources[0].draw)
	s := sketchOf(values)
	if n := testing.AllocsPerRun(10, func() {
		for _, v := range values {
			s.Add(v)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReadRefuses(t *testing.T) {
	good := func() *Sketch { return sketchOf([]float64{-2, 0, 1, 5}) }
	for name, spoil := range map[string]func(*Sketch){
		"more values than buckets count":    func(s *Sketch) { s.count++ },
		"a least value of no bucket":        func(s *Sketch) { s.min = -3 },
		"a greatest value of no bucket":     func(s *Sketch) { s.max = 7 },
		"extremes that have changed places": func(s *Sketch) { s.min, s.max = s.max, s.min },
		"an infinite extreme":               func(s *Sketch) { s.max = math.Inf(1) },
		"a negative zero":                   func(s *Sketch) { *s = *sketchOf([]float64{1}); s.min = math.Copysign(0, -1) },
		"an empty bucket":                   func(s *Sketch) { s.zeros = 0; s.neg = buckets{}; s.pos.add(s.pos.keys[0], 1) },
		"a level that nothing explains":     func(s *Sketch) { s.halve() },
		"a level beyond the last":           func(s *Sketch) { s.level = lastLevel + 1 },
		"buckets in another order":          func(s *Sketch) { slices.Reverse(s.pos.keys) },
	} {
		s := good()
		spoil(s)
		if _, err := decoded(encoded(s)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, source := range sources {
		for _, n := range []int{0, 1, 2, 50, 5000} {
			f.Add(encoded(sketchOf(draw(rand.New(rand.NewPCG(1, 1)), n, source.draw))))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decoded(b)
		if err != nil {
			return
		}
		if !bytes.Equal(encoded(&s), b) {
			t.Fatalf("read from %x, written as %x", b, encoded(&s))
		}
		if v, ok := s.Quantile(0.9); ok && (v < s.Min() || v > s.Max()) {
			t.Errorf("quantile %v outside %v to %v", v, s.Min(), s.Max())
		}
		again, _ := decoded(b)
		again.Merge(&s)
		again.Add(1)
		if back, err := decoded(encoded(&again)); err != nil || back.Count() < s.Count() {
			t.Errorf("merged with itself: %v", err)
		}
	})
}

// TestGolden pins the bytes, and so the buckets, on machines of other kinds.
func TestGolden(t *testing.T) {
	var out bytes.Buffer
	for _, source := range sources {
		values := draw(rand.New(rand.NewPCG(7, 7)), 6000, source.draw)
		for _, n := range []int{1, 2, 6, 6000} {
			s := sketchOf(values[:n])
			b := encoded(s)
			fmt.Fprintf(&out, "%s, %d: %d buckets, error %v, %d bytes %x", source.name, n, s.Buckets(), s.RelativeError(), len(b), b[:min(len(b), 48)])
			for _, q := range []float64{0, 0.05, 0.5, 0.99, 1} {
				v, _ := s.Quantile(q)
				fmt.Fprintf(&out, " %v", v)
			}
			fmt.Fprintln(&out)
		}
	}
	golden.Compare(t, "sketches.txt", out.Bytes(), "raise the version of whatever carries sketches")
}

// TestUsedAgainIsAsNew has one sketch hold one sample after another, all of its
// values at once, as many of them as collapse it and of every form: each time it
// is the same as a new one that took them in one by one.
func TestUsedAgainIsAsNew(t *testing.T) {
	var used Sketch
	windows, halves := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		scale, spread := math.Exp(5*r.NormFloat64()), []float64{0.01, 1, 8, 60}[r.IntN(4)]
		values := draw(r, 1<<r.IntN(13), func(r *rand.Rand) float64 {
			v := scale * math.Exp(spread*r.NormFloat64())
			switch r.IntN(100) {
			case 0:
				return -v
			case 1:
				return 0
			}
			return v
		})
		used.Reset()
		if used.pos.window {
			windows++
		}
		used.AddAll(values[:len(values)/2])
		used.AddAll(values[len(values)/2:])
		fresh := sketchOf(values)
		switch seed % 8 {
		case 4: // more than half a slot holds
			for i := range min(len(values), 300) {
				used.AddN(values[i], 40_000+seed)
				used.AddN(values[i], 40_000)
				fresh.AddN(values[i], 80_000+seed)
			}
			if used.AddAll(values); len(used.pos.high) > 0 {
				halves++
			}
			fresh.Merge(sketchOf(values))
		case 0: // more than a slot holds
			for i := range min(len(values), 3) {
				used.AddN(values[i], 1<<32-2)
				fresh.AddN(values[i], 1<<31-1)
				fresh.AddN(values[i], 1<<31-1)
			}
			used.AddAll(values)
			fresh.Merge(sketchOf(values))
		}
		if !bytes.Equal(encoded(&used), encoded(fresh)) || used.Buckets() != fresh.Buckets() {
			t.Fatalf("seed %d: %d values in %d buckets, %d in a new sketch", seed, len(values), used.Buckets(), fresh.Buckets())
		}
		b := &used.pos
		if n, most := len(b.slots), room(leaveWindow, max(b.used, b.kept), len(b.high) > 0)+windowSlack; b.window && n > most {
			t.Fatalf("seed %d: a window of %d for %d buckets, before %d", seed, n, b.used, b.kept)
		}
	}
	if windows < 50 || halves < 10 {
		t.Errorf("only %d windows stayed, %d had upper halves", windows, halves)
	}
}

// TestCountsAtTheEdges counts one value up to where a window's counters carry, and
// end, by one and at once, among enough others for a window: as a list counts.
func TestCountsAtTheEdges(t *testing.T) {
	for _, to := range []uint64{1<<16 - 2, 1<<16 - 1, 1 << 16, 1<<16 + 1, 2 << 16, 1<<32 - 1, 1 << 32, 1<<32 + 1} {
		windowed, listed := sketchOf(nil), sketchOf(nil)
		for i := range 2 * minWindow {
			windowed.Add(1 + float64(i)/64)
		}
		if !windowed.pos.window {
			t.Fatal("no window")
		}
		last := min(to-1, 5) // one by one, over the edge
		windowed.AddN(1, to-1-last)
		for range last {
			windowed.Add(1)
		}
		listed.AddN(1, to)
		for i := 1; i < 2*minWindow; i++ {
			listed.Add(1 + float64(i)/64)
		}
		if !bytes.Equal(encoded(windowed), encoded(listed)) || windowed.Count() != to+2*minWindow-1 {
			t.Errorf("%d: counted %d", to, windowed.Count())
		}
		if to > maxHalf && to <= maxSlot && (!windowed.pos.window || len(windowed.pos.high) == 0) {
			t.Errorf("%d: not in a window with upper halves", to)
		}
	}
}
