package anomaly

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pando/event"
	"pando/stream"
)

// BenchmarkObserve steps metric-like events (200 entities, 20 signals, Zipf)
// with the default detectors on.
func BenchmarkObserve(b *testing.B) {
	for _, kind := range []struct {
		name     string
		severity event.Severity
		signal   string
	}{{"plain", event.SeverityInfo, "metric.%d"}, {"errors=rule+code", event.SeverityError, "http.5%02d"}} {
		b.Run(kind.name, func(b *testing.B) {
			e, err := NewEngine(DefaultConfig())
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
					events[i] = event.Event{Seq: uint64(k*size+i) + 1, Source: "app", Severity: kind.severity,
						Entity: fmt.Sprintf("payments/service-%d", zipf.Uint64()), Signal: fmt.Sprintf(kind.signal, r.IntN(20))}
				}
				arrivals[k] = arrivalOf(unit, events...)
			}
			now, n := dawn, 0
			b.ReportAllocs()
			for b.Loop() {
				a := arrivals[n%len(arrivals)]
				n++
				e.Begin(a)
				for i := range size {
					now += 1000
					a.Points[i], a.At = now, now
					e.Observe(i)
				}
			}
			b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "events/s")
		})
	}
}
