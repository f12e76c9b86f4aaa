package cep

import (
	"fmt"
	"testing"
)

// benchmark plays events of many entities to three patterns, a thousand a
// watermark.
func benchmark(b *testing.B, signals []string, strict bool) {
	var patterns []*Pattern
	for i := range 3 {
		p := pair()
		p.Name = fmt.Sprint("p", i)
		p.Limits.Keys = 1 << 12
		if strict {
			p.Steps[1].Follow = Next
		}
		patterns = append(patterns, p)
	}
	e := engineOf(b, DefaultOptions(), patterns...)
	events := make([]*Event, 1<<12)
	for i := range events {
		events[i] = said(uint64(i), signals[i/512%len(signals)], 0)
		events[i].Entity = fmt.Sprintf("payments/gateway-%d", i%512)
	}
	n, matches := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		ev := events[n%len(events)]
		ev.Time = int64(n) * 1000
		e.Observe(ev)
		if n++; n%1000 == 0 {
			matches += len(e.Advance(ev.Time))
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(matches)/float64(n), "matches/event")
}

func BenchmarkUnwanted(b *testing.B)      { benchmark(b, []string{"x", "y"}, false) }
func BenchmarkStart(b *testing.B)         { benchmark(b, []string{"a"}, false) }
func BenchmarkStartAndMatch(b *testing.B) { benchmark(b, []string{"a", "b"}, false) }
func BenchmarkStrict(b *testing.B)        { benchmark(b, []string{"a", "x", "b"}, true) }
