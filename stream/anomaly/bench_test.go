package anomaly

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pando/event"
	"pando/event/clock"
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
			var entities, signals []string // shared among events, as the batch decoder has them
			for i := range 200 {
				entities = append(entities, fmt.Sprintf("payments/service-%d", i))
				signals = append(signals, fmt.Sprintf(kind.signal, i%20))
			}
			events := make([]event.Event, 1<<14)
			for i := range events {
				events[i] = event.Event{Seq: uint64(i), Source: "app", Severity: kind.severity,
					Entity: entities[zipf.Uint64()], Signal: signals[r.IntN(20)]}
			}
			now, i := dawn, 0
			b.ReportAllocs()
			for b.Loop() {
				now += 1000
				e.Observe(unit, &events[i&(1<<14-1)], clock.Interval{Lo: now - 1000, Hi: now}, now, now)
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
