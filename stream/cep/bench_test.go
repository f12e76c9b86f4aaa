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
	// As a decoder gives them: one event that is filled anew, names that are shared.
	entities := make([]string, 512)
	for i := range entities {
		entities[i] = fmt.Sprintf("payments/gateway-%d", i)
	}
	ev := said(0, "", 0)
	n, matches := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		ev.Seq, ev.Time = uint64(n), int64(n)*1000
		ev.Entity, ev.Signal = entities[n%len(entities)], signals[n/len(entities)%len(signals)]
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

// BenchmarkCondition is one of five comparisons that all hold.
func BenchmarkCondition(b *testing.B) {
	n := node(OpAnd, node(OpStartsWith, field(FieldSignal), text("http.5")), node(OpLessEqual, number(17), field(FieldSeverity)),
		node(OpEqual, field(FieldEntity), text("payments/gw")), node(OpIn, field(FieldKind), text("log"), text("span")),
		node(OpLess, number(10), node(OpMultiply, field(FieldValue), number(2))))
	c := (&linker{}).condition(&n)
	s := &scope{event: &Event{Kind: "span", Signal: "http.503", Severity: 17, Entity: "payments/gw", Value: 6 * Scale}}
	for b.Loop() {
		if !c(s) {
			b.Fatal("it does not hold")
		}
	}
}
