package cow_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pando/internal/cow"
)

func newMap() *cow.Map[string, int] {
	return cow.NewMap[string, int](cow.HashString, strings.Compare)
}

type ascender interface {
	Ascend(func(string, int) bool)
}

func content(m ascender) string {
	var b strings.Builder
	m.Ascend(func(k string, v int) bool { fmt.Fprintf(&b, "%s=%d ", k, v); return true })
	return b.String()
}

func contentOf(m map[string]int) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%d ", k, m[k])
	}
	return b.String()
}

type summer interface {
	Sum(func(func(func(string, int))) [32]byte, func([]byte) [32]byte) [32]byte
}

func sum(m summer) [32]byte {
	return m.Sum(func(each func(func(string, int))) [32]byte {
		h := sha256.New()
		each(func(k string, v int) { fmt.Fprintf(h, "%q %d\n", k, v) })
		return [32]byte(h.Sum(nil))
	}, func(b []byte) [32]byte { return sha256.Sum256(b) })
}

// A long random history is compared with a plain map, and every frozen view
// with a copy made at the same moment.
func TestViewsKeepTheirContent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m, model := newMap(), map[string]int{}
	type kept struct {
		view *cow.Frozen[string, int]
		want string
		sum  [32]byte
	}
	var views []kept
	for i := range 20000 {
		k := fmt.Sprintf("k%d", rng.IntN(3000))
		switch op := rng.IntN(10); {
		case op < 6:
			m.Set(k, i)
			model[k] = i
		case op < 9:
			_, there := model[k]
			if m.Delete(k) != there {
				t.Fatalf("step %d: delete %s disagrees with the model", i, k)
			}
			delete(model, k)
		}
		if got, ok := m.Get(k); got != model[k] || m.Len() != len(model) || ok != (func() bool { _, ok := model[k]; return ok })() {
			t.Fatalf("step %d: get %s = %d, %v; len %d", i, k, got, ok, m.Len())
		}
		if i%1000 == 999 {
			v := m.Freeze()
			views = append(views, kept{v, contentOf(model), sum(v)})
		}
	}
	if content(m) != contentOf(model) {
		t.Error("the live map differs from the model")
	}
	for i, v := range views {
		if content(v.view) != v.want {
			t.Errorf("view %d changed after it was frozen", i)
		}
		if sum(v.view) != v.sum {
			t.Errorf("the sum of view %d changed", i)
		}
	}
}

// The sum must depend on content alone, or two replicas with one state would
// accuse each other.
func TestSumForgetsHistory(t *testing.T) {
	direct, roundabout := newMap(), newMap()
	for i := range 500 {
		direct.Set(fmt.Sprint(i), i)
	}
	for i := 999; i >= 0; i-- {
		roundabout.Set(fmt.Sprint(i), -1)
		if i%100 == 0 {
			_ = sum(roundabout)
			_ = roundabout.Freeze()
		}
	}
	for i := 999; i >= 500; i-- {
		roundabout.Delete(fmt.Sprint(i))
	}
	for i := range 500 {
		roundabout.Set(fmt.Sprint(i), i)
	}
	if sum(direct) != sum(roundabout) {
		t.Error("equal contents have different sums")
	}
	roundabout.Set("7", 8)
	if sum(direct) == sum(roundabout) {
		t.Error("a changed value did not change the sum")
	}
}

// Meaningful under -race: a view is read while the map goes on.
func TestViewIsReadWhileTheMapIsWritten(t *testing.T) {
	m := newMap()
	for i := range 2000 {
		m.Set(fmt.Sprint(i), i)
	}
	v := m.Freeze()
	want := content(v)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			if content(v) != want {
				t.Error("the view changed")
			}
			_ = sum(v)
		}
	})
	for i := range 20000 {
		m.Set(fmt.Sprint(i%4000), -i)
		if i%500 == 0 {
			_ = sum(m)
		}
	}
	wg.Wait()
}

func BenchmarkSetAfterFreeze(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("keys=%dk", n/1000), func(b *testing.B) {
			m := newMap()
			keys := make([]string, n)
			for i := range keys {
				keys[i] = fmt.Sprintf("region/host-%d", i)
				m.Set(keys[i], i)
			}
			i := 0
			for b.Loop() {
				if i%1000 == 0 {
					m.Freeze()
				}
				m.Set(keys[i%n], i)
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sets/s")
		})
	}
}
