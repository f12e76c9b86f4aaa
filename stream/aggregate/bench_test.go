package aggregate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"pando/event"
	"pando/stream"
)

// workload draws metric-like events: a Zipf choice of series, 20 signals an
// entity, log-normal values.
type workload struct {
	names  []stream.Series // shared among events, as the batch decoder has them
	series []uint32
	values []float64
}

func newWorkload(series, n int) *workload {
	r := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(r, 1.2, 4, uint64(series-1))
	x := &workload{}
	entity := ""
	var signals [20]string
	for i := range signals {
		signals[i] = fmt.Sprintf("metric.%d", i)
	}
	for i := range series {
		if i%20 == 0 {
			entity = fmt.Sprintf("payments/service-%d", i/20)
		}
		x.names = append(x.names, stream.Series{Entity: entity, Signal: signals[i%20]})
	}
	for i := range n {
		s := uint32(zipf.Uint64())
		if i < series { // each at least once
			s = uint32(i)
		}
		x.series, x.values = append(x.series, s), append(x.values, math.Exp(r.NormFloat64()))
	}
	r.Shuffle(n, func(i, j int) { x.series[i], x.series[j] = x.series[j], x.series[i] })
	return x
}

// batches are the events in batches, as a relay has them.
func (x *workload) batches() (list []*stream.Arrival) {
	const size = 1024
	events := make([]event.Event, 0, size)
	for i, n := range x.series {
		s := &x.names[n]
		events = append(events, event.Event{Kind: event.Metric, Entity: s.Entity, Signal: s.Signal, Value: x.values[i]})
		if len(events) == size {
			list = append(list, arrivalOf(bulk, events, nil))
			events = events[:0]
		}
	}
	return list
}

// BenchmarkEngine aggregates a million events a second of event time, and
// advances every 100 ms: what a window of one second costs by event, results and
// what is worked out ahead for each batch included, and what its state takes by
// series.
func BenchmarkEngine(b *testing.B) {
	for _, kind := range []struct {
		name string
		def  Window
	}{
		{"sums", Window{}},
		{"quantiles", Window{Quantiles: []float64{0.5, 0.95, 0.99}}},
		{"sliding", Window{Slide: 200 * time.Millisecond}},
	} {
		for _, series := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/series=%dk", kind.name, series/1000), func(b *testing.B) {
				benchmark(b, kind.def, series)
			})
		}
	}
}

func benchmark(b *testing.B, def Window, series int) {
	def.Name, def.Length, def.Lateness, def.MaxGroups = "w", time.Second, time.Second, series
	batches := newWorkload(series, 1<<18).batches()
	before := heap()
	e, err := New(Config{Windows: []Window{def}}, DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	marks := stream.NewWatermarks()
	point, i, events, results := dawn, 0, 0, 0
	b.ReportAllocs()
	for b.Loop() {
		a := batches[i%len(batches)]
		for j := range a.Points {
			a.Points[j] = point + int64(j)*1000
		}
		recount(a)
		e.Observe(a, math.MaxInt64)
		point += int64(a.Count) * 1000
		events += a.Count
		if i++; i%100 == 0 {
			marks.Set(bulk, point)
			results += len(e.Advance(marks))
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(heap()-before)/float64(series), "bytes/series")
	b.ReportMetric(float64(results)/float64(events), "results/event")
	runtime.KeepAlive(e)
	runtime.KeepAlive(batches)
}

// heap is what lives on it.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkTopAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(r, 1.2, 4, 9_999)
	names := make([]string, 1<<14)
	for i := range names {
		names[i] = fmt.Sprintf("payments/service-%d", zipf.Uint64())
	}
	top, i := NewTop(10), 0
	b.ReportAllocs()
	for b.Loop() {
		top.Add(names[i&(1<<14-1)])
		i++
	}
}

func BenchmarkDistinctAdd(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("values=%d", n), func(b *testing.B) {
			list := names(0, n)
			var d Distinct
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				d.Add(list[i%n])
				i++
			}
		})
	}
}
