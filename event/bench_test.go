package event

import (
	"fmt"
	"testing"
)

// Workloads of the design's table: metric-like and log-like events.
func workloads() map[string]func(int) []Event {
	return map[string]func(int) []Event{"metric": metricEvents, "log": logEvents}
}

func BenchmarkEncode(b *testing.B) {
	for name, make := range workloads() {
		for _, n := range []int{64, 1024, 4096} {
			b.Run(fmt.Sprintf("%s/events=%d", name, n), func(b *testing.B) {
				batch := batchOf(Bulk, make(n))
				var e Encoder
				var out []byte
				var err error
				b.ReportAllocs()
				for b.Loop() {
					if out, err = e.Encode(out[:0], batch); err != nil {
						b.Fatal(err)
					}
				}
				report(b, n, len(out))
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, make := range workloads() {
		for _, n := range []int{64, 1024, 4096} {
			b.Run(fmt.Sprintf("%s/events=%d", name, n), func(b *testing.B) {
				in, err := batchOf(Bulk, make(n)).Encode(nil)
				if err != nil {
					b.Fatal(err)
				}
				var c Columns
				b.ReportAllocs()
				for b.Loop() {
					if err := c.Decode(in); err != nil {
						b.Fatal(err)
					}
				}
				report(b, n, len(in))
			})
		}
	}
}

func report(b *testing.B, events, bytes int) {
	total := float64(events) * float64(b.N)
	b.ReportMetric(total/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/total, "ns/event")
	b.ReportMetric(float64(bytes)/float64(events), "bytes/event")
}
