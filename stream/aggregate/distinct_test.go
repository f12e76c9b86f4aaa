package aggregate

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

type appender interface{ Append(*pack.Writer) }

func encoded(x appender) []byte {
	w := pack.NewWriter()
	x.Append(w)
	return w.Copy()
}

func distinctOf(values []string) *Distinct {
	var d Distinct
	for _, v := range values {
		d.Add(v)
	}
	return &d
}

func readDistinct(b []byte) (Distinct, error) {
	r := pack.NewReader(b)
	d := ReadDistinct(r)
	return d, r.Done()
}

func names(from, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("user-%d", from+i)
	}
	return list
}

// TestDistinctError measures the error over sets of one size each.
func TestDistinctError(t *testing.T) {
	for n, want := range map[int]float64{10: 0, 900: 0.001, 1500: 0.018, 5000: 0.018, 30_000: 0.018} {
		const sets = 50
		square, bias := 0.0, 0.0
		for set := range sets {
			var d Distinct
			for i := range n {
				d.Add(fmt.Sprintf("set %d, value %d", set, i))
			}
			off := (float64(d.Count()) - float64(n)) / float64(n)
			square, bias = square+off*off, bias+off
		}
		deviation := math.Sqrt(square / sets)
		// The deviation of so many sets is itself known to about a tenth.
		if deviation > want*1.3 || math.Abs(bias/sets) > want/2 {
			t.Errorf("%d values: standard error %.4f, mean error %.4f; want %.4f and none", n, deviation, bias/sets, want)
		}
	}
}

func TestDistinctMergeTreesGiveEqualBytes(t *testing.T) {
	for _, n := range []int{1, 300, maxSparse, maxSparse + 1, 1500, 30_000} {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			values := names(int(seed)*100_000, n)
			want := encoded(distinctOf(values))
			values = append(values, values[:n/2]...)
			r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			parts := []*Distinct{{}}
			for len(values) > 0 {
				k := min(1+r.IntN(1+n/2), len(values))
				parts = append(parts, distinctOf(values[:k]))
				values = values[k:]
			}
			for len(parts) > 1 {
				r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
				last := len(parts) - 1
				before := encoded(parts[last])
				parts[0].Merge(parts[last])
				if !bytes.Equal(encoded(parts[last]), before) {
					t.Fatal("a merge changed what was merged")
				}
				parts = parts[:last]
			}
			if !bytes.Equal(encoded(parts[0]), want) {
				t.Fatalf("%d values, seed %d: merged they give other bytes", n, seed)
			}
			if back, err := readDistinct(want); err != nil || !bytes.Equal(encoded(&back), want) {
				t.Fatalf("%d values, seed %d: read back: %v", n, seed, err)
			}
		}
	}
}

// TestSparseRanksAreThoseOfRegisters enters hashes into registers by way of a
// code, and as HyperLogLog defines it.
func TestSparseRanksAreThoseOfRegisters(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200_000 {
		h := r.Uint64() &^ (uint64(1)<<r.IntN(64) - 1) >> r.IntN(20)
		d := Distinct{dense: make([]uint8, registers)}
		d.addHash(h)
		rank := 1
		for rank < maxRank && h<<(denseBits+rank-1)>>63 == 0 {
			rank++
		}
		if got := int(d.dense[h>>(64-denseBits)]); got != rank {
			t.Fatalf("hash %064b has rank %d, want %d", h, got, rank)
		}
	}
}

func FuzzReadDistinct(f *testing.F) {
	for _, n := range []int{0, 3, 1000, 1500} {
		f.Add(encoded(distinctOf(names(0, n))))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := readDistinct(b)
		if err != nil {
			return
		}
		if !bytes.Equal(encoded(&d), b) {
			t.Fatalf("read from %x, written as %x", b, encoded(&d))
		}
		d.Count()
		d.Merge(distinctOf([]string{"one more"}))
		if _, err := readDistinct(encoded(&d)); err != nil {
			t.Error(err)
		}
	})
}

func TestDistinctGolden(t *testing.T) {
	var out bytes.Buffer
	for _, n := range []int{1, 5, 1000, 2000, 50_000} {
		d := distinctOf(names(0, n))
		b := encoded(d)
		fmt.Fprintf(&out, "%d: counted %d, %d bytes %x\n", n, d.Count(), len(b), b[:min(len(b), 64)])
	}
	golden.Compare(t, "distinct.txt", out.Bytes(), "raise snapshotVersion")
}

// TestTopBounds merges summaries of skewed names in random trees, and holds
// every promise against the true counts.
func TestTopBounds(t *testing.T) {
	const k = 3
	lossy := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 9))
		zipf := rand.NewZipf(r, 1.05+r.Float64(), 1, 5000)
		truth := map[string]uint64{}
		var parts []*Top
		n := uint64(0)
		for range 1 + r.IntN(6) {
			part := NewTop(k)
			for range r.IntN(3000) {
				name := fmt.Sprint(zipf.Uint64())
				part.Add(name)
				truth[name]++
				n++
			}
			parts = append(parts, part)
		}
		for len(parts) > 1 {
			r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			parts[0].Merge(parts[len(parts)-1])
			parts = parts[:len(parts)-1]
		}
		top := parts[0]
		if top.loss > 0 {
			lossy++
		}
		if top.loss > n/(kept*k+1) || len(top.counts) > 2*kept*k {
			t.Fatalf("seed %d: of %d lost %d, %d counters", seed, n, top.loss, len(top.counts))
		}
		for name, true := range truth {
			if c := top.counts[name]; c > true || true > c+top.loss {
				t.Fatalf("seed %d: %q was there %d times, told as %d to %d", seed, name, true, c, c+top.loss)
			}
		}
		for i, e := range top.Entries() {
			if e.Count-e.Error > truth[e.Name] || truth[e.Name] > e.Count {
				t.Fatalf("seed %d: entry %d %+v, truly %d", seed, i, e, truth[e.Name])
			}
		}
		b := encoded(top)
		rd := pack.NewReader(b)
		if back := ReadTop(rd); rd.Done() != nil || !bytes.Equal(encoded(back), b) {
			t.Fatalf("seed %d: read back: %v", seed, rd.Err())
		}
	}
	if lossy < 50 {
		t.Errorf("only %d summaries lost anything", lossy)
	}
}

func TestTopTellsTiesInOrder(t *testing.T) {
	top := NewTop(3)
	for _, name := range []string{"c", "b", "d", "a", "b", string(bytes.Repeat([]byte("ä"), 300)), string(bytes.Repeat([]byte("ä"), 301))} {
		top.Add(name)
	}
	want := []Entry{{"b", 2, 0}, {string(bytes.Repeat([]byte("ä"), 128)), 2, 0}, {"a", 1, 0}}
	if got := top.Entries(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzReadTop(f *testing.F) {
	top := NewTop(2)
	for i := range 500 {
		top.Add(fmt.Sprint(i % (1 + i%70)))
		if i%100 == 7 {
			f.Add(encoded(top))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pack.NewReader(b)
		top := ReadTop(r)
		if r.Done() != nil {
			return
		}
		if !bytes.Equal(encoded(top), b) {
			t.Fatalf("read from %x, written as %x", b, encoded(top))
		}
		top.Merge(ReadTop(pack.NewReader(b)))
		top.Add("another")
		top.Entries()
	})
}
