package anomaly

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pando/event"
	"pando/stream"
	"pando/stream/detect"
)

// BenchmarkObserve steps metric-like events (200 entities, 20 signals, Zipf)
// of a source that is observed, with the default detectors on, a million of
// them in a second of root time: of signals that no test looks at but by
// severity, of errors, which have a rate, and of requests, which have a share;
// and with a rate, or a level, of every series.
func BenchmarkObserve(b *testing.B) {
	rates, levels := DefaultConfig(), DefaultConfig()
	rates.Rates = []RateOf{{Name: "all", RateOptions: detect.RateOptions{Direction: detect.Both}}}
	levels.Levels = []LevelOf{{Name: "all"}}
	for _, kind := range []struct {
		name     string
		config   Config
		severity event.Severity
		signal   string
	}{
		{"plain", DefaultConfig(), event.SeverityInfo, "metric.%d"},
		{"errors=rule+code+rate", DefaultConfig(), event.SeverityError, "http.5%02d"},
		{"requests=ratio", DefaultConfig(), event.SeverityInfo, "http.2%02d"},
		{"series=rate", rates, event.SeverityInfo, "metric.%d"},
		{"series=level", levels, event.SeverityInfo, "metric.%d"},
	} {
		b.Run(kind.name, func(b *testing.B) {
			e, err := NewEngine(kind.config)
			if err != nil {
				b.Fatal(err)
			}
			unit := event.Unit{Origin: "east/a", WAL: 1, Lane: event.Bulk}
			r := rand.New(rand.NewPCG(1, 1))
			zipf := rand.NewZipf(r, 1.2, 1, 199)
			const size = 4096
			arrivals := make([]*stream.Arrival, 16)
			for k := range arrivals {
				events := make([]event.Event, size)
				for i := range events {
					events[i] = event.Event{Seq: uint64(k*size+i) + 1, Source: "app", Severity: kind.severity, Value: r.NormFloat64(),
						Entity: fmt.Sprintf("payments/service-%d", zipf.Uint64()), Signal: fmt.Sprintf(kind.signal, r.IntN(20))}
				}
				arrivals[k] = arrivalOf(unit, events...)
			}
			now, n := dawn, 0
			e.Tick(now)
			for l := range event.Lane(event.Lanes) {
				e.Present(event.Unit{Origin: unit.Origin, WAL: unit.WAL, Lane: l})
				e.Claimed(event.Unit{Origin: unit.Origin, WAL: unit.WAL, Lane: l}, Expectations{})
			}
			beat := func() {
				for l := range event.Lane(event.Lanes) {
					e.Heartbeat(event.Unit{Origin: unit.Origin, WAL: unit.WAL, Lane: l}, &event.Event{Source: "app", Signal: readable}, now)
				}
			}
			beat()
			b.ReportAllocs()
			for b.Loop() {
				a := arrivals[n%len(arrivals)]
				e.Begin(a)
				for i := range size {
					now += 1000
					a.Points[i], a.At = now, now
					e.Observe(i)
				}
				e.Tick(now)
				if n++; n%64 == 0 {
					beat()
				}
			}
			b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "events/s")
		})
	}
}
