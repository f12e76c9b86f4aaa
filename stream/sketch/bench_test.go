package sketch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func logNormal(n int) []float64 {
	r := rand.New(rand.NewPCG(1, 1))
	return draw(r, n, func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) })
}

// BenchmarkAdd adds batches of log-normal values (sigma 1) to one sketch.
func BenchmarkAdd(b *testing.B) {
	const batch = 1 << 10
	values := logNormal(1 << 16)
	var s Sketch
	at := 0
	b.ReportAllocs()
	for b.Loop() {
		for _, v := range values[at : at+batch] {
			s.Add(v)
		}
		at = (at + batch) & (len(values) - 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/value")
	b.ReportMetric(float64(len(encoded(&s))), "bytes")
}

// BenchmarkFill makes a sketch of so many values from an emptied one.
func BenchmarkFill(b *testing.B) {
	for _, n := range []int{1, 4, 16, 100, 1000} {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) {
			values := logNormal(1 << 16)
			var s Sketch
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				s.Reset()
				for range n {
					s.Add(values[i&(1<<16-1)])
					i++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/value")
			b.ReportMetric(float64(len(encoded(&s))), "bytes")
		})
	}
}

// BenchmarkMerge merges a sketch of so many values into one of 10,000.
func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{1, 16, 1000, 100_000} {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) {
			values := logNormal(n)
			s, part := sketchOf(logNormal(10_000)), sketchOf(values)
			b.ReportAllocs()
			for b.Loop() {
				s.Merge(part)
			}
		})
	}
}

func BenchmarkQuantile(b *testing.B) {
	s := sketchOf(logNormal(1 << 16))
	for b.Loop() {
		s.Quantile(0.99)
	}
}
