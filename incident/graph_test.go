package incident

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pando/internal/pack"
	"pando/stream/anomaly"
)

func graphBytes(g *Graph) string {
	w := pack.NewWriter()
	g.AppendTo(w)
	return string(w.Bytes())
}

func TestGraphLearnsInAnyOrder(t *testing.T) {
	type sighting struct {
		from, to string
		at       int64
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var all []sighting
	for range 500 {
		all = append(all, sighting{fmt.Sprint("s", rng.IntN(30)), fmt.Sprint("s", rng.IntN(30)), at(float64(rng.IntN(600)))})
	}
	want := ""
	for range 5 {
		g := NewGraph()
		for _, k := range rng.Perm(len(all)) {
			g.AddEdge(all[k].from, all[k].to, all[k].at)
		}
		g.Expire(at(120))
		if got := graphBytes(g); want == "" {
			want = got
		} else if got != want {
			t.Fatal("the order of sightings changed the graph")
		}
	}
}

func TestPathIsShortestAndBounded(t *testing.T) {
	s := newStage(t, DefaultOptions(), "a>b>c>d", "a>z>d", "d>e>f>g>h>i>j>k>l")
	if got := s.graph.Path("a", "d", 8); !slices.Equal(got, []string{"a", "z", "d"}) {
		t.Errorf("path %v", got)
	}
	if got := s.graph.Path("d", "a", 8); got != nil {
		t.Errorf("a path against the calls: %v", got)
	}
	if got := s.graph.Path("a", "d", 1); got != nil {
		t.Errorf("a path beyond the limit: %v", got)
	}
	if got := s.graph.Path("a", "l", 100); got != nil {
		t.Errorf("a path beyond MaxHops: %v", got)
	}
}

func TestFrozenGraphKeepsItsContent(t *testing.T) {
	s := newStage(t, DefaultOptions(), "a>b>c")
	view, want := s.graph.Freeze(), graphBytes(s.graph)
	s.calls("a>c", "x>y")
	s.graph.AddEdge("a", "b", at(1000))
	w := pack.NewWriter()
	view.AppendTo(w)
	if string(w.Bytes()) != want {
		t.Error("a frozen graph changed")
	}
}

func FuzzReadGraph(f *testing.F) {
	s := newStage(f, DefaultOptions(), swift...)
	f.Add([]byte(graphBytes(s.graph)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pack.NewReader(b)
		g := ReadGraph(r)
		if r.Done() != nil {
			return
		}
		again := pack.NewReader([]byte(graphBytes(g)))
		if back := ReadGraph(again); again.Done() != nil || graphBytes(back) != graphBytes(g) {
			t.Error("a graph that was read does not read back")
		}
	})
}

func FuzzReadSet(f *testing.F) {
	s := newStage(f, DefaultOptions(), swift...)
	related, noise := cascade()
	s.add(related...)
	s.add(noise...)
	f.Add(bytesOf(s.set))
	s.tick(5000)
	f.Add(bytesOf(s.set))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pack.NewReader(b)
		set := ReadSet(r, DefaultOptions())
		if r.Done() != nil {
			return
		}
		again := pack.NewReader(bytesOf(set))
		if back := ReadSet(again, DefaultOptions()); again.Done() != nil || string(bytesOf(back)) != string(bytesOf(set)) {
			t.Error("a set that was read does not read back")
		}
		if len(set.open) < 50 { // whatever a damaged snapshot says, going on must not panic
			set.Add(finding("a", anomaly.Error, 1), NewGraph())
			set.Tick(at(1e6), NewGraph())
		}
	})
}

// One more finding when so many are open, in a mesh of a thousand services.
func BenchmarkAdd(b *testing.B) {
	for _, open := range []int{50, 512} {
		b.Run(fmt.Sprintf("open=%d", open), func(b *testing.B) {
			s := mesh(b, open)
			n := 0
			for b.Loop() {
				s.set.Add(finding(fmt.Sprintf("svc-%d", n%1000), anomaly.Error, 60, func(f *anomaly.Finding) {
					f.Revision, f.Summary = uint32(n+2), "the one that is revised"
				}), s.graph)
				n++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "findings/s")
		})
	}
}

func BenchmarkTimeline(b *testing.B) {
	s := mesh(b, 50)
	i := slices.MaxFunc(s.set.incidents, func(a, b *Incident) int { return len(a.Findings) - len(b.Findings) })
	for b.Loop() {
		i.Timeline()
	}
	b.ReportMetric(float64(len(i.Findings)), "findings")
}

func mesh(b *testing.B, open int) *stage {
	rng := rand.New(rand.NewPCG(5, 6))
	s := newStage(b, DefaultOptions())
	for i := range 1000 {
		for range 3 {
			s.graph.AddEdge(fmt.Sprintf("svc-%d", i), fmt.Sprintf("svc-%d", rng.IntN(1000)), start)
		}
	}
	for i := range open - 1 {
		s.set.Add(finding(fmt.Sprintf("svc-%d", rng.IntN(1000)), anomaly.Error, float64(i)/10), s.graph)
	}
	return s
}
