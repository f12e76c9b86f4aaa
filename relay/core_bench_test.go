package relay

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/stream/cep/pattern"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// BenchmarkStep steps batches of 1024 metric-like events of one agent through
// a core: custody, chain, decoding, panes, detectors, sections; and windows; and
// 32 patterns, of which none wants any of the events, or one wants each event,
// which waits for the watermark: the worst case.
func BenchmarkStep(b *testing.B) {
	patterns := func(name string) []byte {
		var list []pattern.Pattern
		for i := range 32 {
			list = append(list, pattern.Pattern{Name: fmt.Sprintf("p%d", i), Key: []string{"entity"}, Within: time.Minute, Steps: []pattern.Step{
				{Name: "first", When: fmt.Sprintf(`signal == "%s.%d"`, name, i)}, {Name: "second", When: `signal == "never"`}}})
		}
		return patternsBody(b, 1, list...)
	}
	b.Run("detectors", func(b *testing.B) { benchmarkStep(b, "{}", nil) })
	b.Run("sums", func(b *testing.B) { benchmarkStep(b, "windows: [{name: s, window: 10s}]", nil) })
	b.Run("quantiles", func(b *testing.B) { benchmarkStep(b, "windows: [{name: q, window: 10s, quantiles: [0.5, 0.99]}]", nil) })
	b.Run("patterns-unwanted", func(b *testing.B) { benchmarkStep(b, "{}", patterns("log")) })
	b.Run("patterns-wanted", func(b *testing.B) { benchmarkStep(b, "{}", patterns("metric")) })
}

func benchmarkStep(b *testing.B, config string, patterns []byte) {
	const batches, size = 64, 1024
	rng := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(rng, 1.1, 1, 3999)
	chain, bodies := event.Hash{}, make([][]byte, batches)
	for i := range bodies {
		batch := event.Batch{Unit: event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}, First: uint64(i*size) + 1, Boot: clock.Boot{1},
			Positions: []event.Position{{Source: "s"}}}
		for k := range size {
			n, at := zipf.Uint64(), int64(i*size+k)*1e5
			batch.Events = append(batch.Events, event.Event{Seq: batch.First + uint64(k), Kind: event.Metric, Criticality: 2, Source: "s",
				Entity: fmt.Sprintf("svc/%d", n/20), Signal: fmt.Sprintf("metric.%d", n%20), Value: rng.ExpFloat64(), Stamp: event.Stamp{Lo: at, Hi: at, Point: at}})
		}
		bytes, err := batch.Encode(nil)
		if err != nil {
			b.Fatal(err)
		}
		m := wire.Batch{Before: chain, DurableTo: batch.Last(), Mapped: true, Map: clock.Mapping{Boot: clock.Boot{1}, Offset: 1e18}, Bytes: bytes}
		chain = event.Chain(chain, bytes)
		bodies[i] = encodeArrival(1, uint8(event.Bulk), 1e18, wire.Encode(&m).Body)
	}
	o := opening{Session: 1, Origin: "eu/a", HLC: 1, Open: wire.Open{WAL: 7, Term: custody.Term{Epoch: 1, Session: 1},
		Offers: [event.Lanes]custody.Offer{{From: 1}, {From: 1, Last: batches * size, Synced: batches * size}}}}
	said := 0
	for b.Loop() {
		c, err := newCore("eu/r", func(wal.Seq) (uint8, []byte, error) { panic("nothing is fetched") })
		if err != nil {
			b.Fatal(err)
		}
		step := func(at wal.Seq, kind uint8, body []byte) {
			if err := c.Step(at, kind, body, func(o journal.Output) { said += len(o.Body) }); err != nil {
				b.Fatal(err)
			}
		}
		step(1, recUplink, encodeNumbers(1))
		step(2, recConfig, []byte(config))
		if patterns != nil {
			step(2, recPatterns, patterns)
		}
		step(2, recOpen, o.encode())
		step(3, recTick, encodeTick(1e18)) // the detectors wait for the root no longer
		for i, body := range bodies {
			step(wal.Seq(4+i), recBatch, body)
		}
		step(100, recTick, encodeTick(2e18))
	}
	b.ReportMetric(float64(batches*size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(len(bodies[1]))/size, "bytes/event")
}
