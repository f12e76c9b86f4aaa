//go:build !zos

package bench

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/internal/exact"
	"pando/root"
)

func TestTheComparisonFindsEveryDeviation(t *testing.T) {
	sent := Account{Origin: "lab/a", WAL: "1", Lane: "bulk", Events: 10, Heartbeats: 2, Last: 12, Sum: "55", Chain: "c"}
	right := root.Unit{Origin: "lab/a", WAL: "1", Lane: "bulk", Events: 10, Heartbeats: 2, Settled: 12, SumExact: "55", Chain: "c"}
	for what, c := range map[string]struct {
		spoil         func(u *root.Unit)
		lost, doubled uint64
	}{
		"all there":                   {func(*root.Unit) {}, 0, 0},
		"one lost":                    {func(u *root.Unit) { u.Events = 9 }, 1, 0},
		"two doubled":                 {func(u *root.Unit) { u.Events = 12 }, 0, 2},
		"a heartbeat lost":            {func(u *root.Unit) { u.Heartbeats = 1 }, 1, 0},
		"one in another's place":      {func(u *root.Unit) { u.SumExact = "54" }, 1, 1},
		"another content":             {func(u *root.Unit) { u.Chain = "d" }, 1, 1},
		"not settled to its end":      {func(u *root.Unit) { u.Settled = 11 }, 1, 1},
		"none of it, and a stranger":  {func(u *root.Unit) { u.WAL = "2" }, 12, 10},
		"all of it in the wrong lane": {func(u *root.Unit) { u.Lane = "critical" }, 12, 10},
	} {
		var f Figures
		u := right
		c.spoil(&u)
		f.compare([]Account{sent}, []root.Unit{u})
		if f.Lost != c.lost || f.Doubled != c.doubled {
			t.Errorf("%s: lost %d, doubled %d; want %d and %d", what, f.Lost, f.Doubled, c.lost, c.doubled)
		}
		if err := f.verdict(); (err == nil) != (c.lost+c.doubled == 0) {
			t.Errorf("%s: verdict %v", what, err)
		}
	}
}

// A percentile is never below the sample of its rank, and at most a sixty-fourth
// above it.
func TestPercentilesAreThoseOfTheSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 99, 1000, 5000} {
		var h Histogram
		var all []time.Duration
		for range n {
			d := time.Duration(math.Exp(rng.NormFloat64()*4) * 1e5)
			all = append(all, d)
			h.Add(d, 1)
		}
		slices.Sort(all)
		p := h.Percentiles()
		for share, got := range map[float64]float64{0.5: p.P50, 0.99: p.P99, 0.999: p.P999} {
			want := ms(all[int(math.Ceil(share*float64(n)))-1])
			if got < want || got > want*(1+1.0/64)+1e-6 {
				t.Errorf("%v of %d samples: %v ms, want %v", share, n, got, want)
			}
		}
		if p.Samples != uint64(n) || p.Max != ms(all[n-1]) {
			t.Errorf("%d samples, the largest %v ms: %+v", n, ms(all[n-1]), p)
		}
	}
	if p := (&Histogram{}).Percentiles(); p != (Percentiles{}) {
		t.Errorf("percentiles of nothing: %+v", p)
	}
}

// A file that is rotated goes on where it ended, keeps whole lines, and does not
// grow beyond its limit; the account is of all that was written.
func TestAFileIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines.json")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l := &lines{path: path, file: file, blocks: render(newEvents(kindLine, &Options{Entities: 4, Signals: 5, Agents: 1}, 0))}
	t.Cleanup(func() { _ = l.file.Close() })
	l.most = 5 * len(l.blocks[0].text) / 2 // two blocks and a bit
	want, sum := []byte{}, exact.Sum{}
	for n := range 7 {
		if err := l.write(); err != nil {
			t.Fatal(err)
		}
		want, sum = append(want, l.blocks[n].text...), sum.Add(l.blocks[n].sum)
		before, err := os.ReadFile(path + ".1")
		if err != nil && n >= 3 {
			t.Fatal(err)
		}
		now, err := os.ReadFile(path)
		if err != nil || len(now) > l.most || !bytes.HasSuffix(want, append(before, now...)) {
			t.Fatalf("after %d blocks %d and %d bytes are there, error %v", n+1, len(before), len(now), err)
		}
	}
	if l.written.Load() != 7*blockLines || bytes.Count(want, []byte("\n")) != 7*blockLines || l.sum != sum {
		t.Errorf("%d lines are accounted for, with a sum of %v instead of %v", l.written.Load(), l.sum, sum)
	}
}

// What is sent is what the result says: all series, a twentieth codes, events
// that every node accepts, and sums that are theirs.
func TestTheWorkloadIsWhatItSays(t *testing.T) {
	for _, kind := range []string{KindMetric, KindLog} {
		o := &Options{Entities: 41, Signals: 20, Agents: 2}
		series, entities, codes, all := map[string]bool{}, map[string]int{}, 0, 0
		for agent := range o.Agents {
			w := newEvents(kind, o, agent)
			list, arena := make([]event.Event, 512), make([]event.Attr, 512*attrsOfLog)
			for range len(w.draws)/len(list) + 1 {
				sum, want := w.fill(list, arena), exact.Sum{}
				for i := range list {
					e := &list[i]
					if err := e.Validate(); err != nil {
						t.Fatal(err)
					}
					v, _ := exact.FromFloat(e.Value)
					want = want.Add(v)
					entities[e.Entity] |= 1 << agent
					all++
					if strings.HasPrefix(e.Signal, "http.server.request") {
						series[e.Entity+e.Signal] = true
					} else {
						codes++
					}
					if kind == KindLog && (len(e.Attrs) != attrsOfLog || len(e.Attrs[0].Value) != textSize || e.TraceID == [16]byte{}) {
						t.Fatalf("log event %+v", e)
					}
				}
				if sum != want {
					t.Fatalf("sum %v, want %v", sum, want)
				}
			}
		}
		if len(series) != o.Entities*o.Signals || len(entities) != o.Entities {
			t.Errorf("%s: %d series of %d entities", kind, len(series), len(entities))
		}
		for name, agents := range entities {
			if agents == 3 {
				t.Errorf("%s: two agents send %s", kind, name)
			}
		}
		if share := float64(codes) / float64(all); math.Abs(share-codeShare) > 0.01 {
			t.Errorf("%s: %.3f of the events carry codes", kind, share)
		}
	}
}
