package relay

import (
	"os"
	"testing"
	"time"

	"pando/internal/durable"
	"pando/tree/journal"
	"pando/wal"
)

func BenchmarkZZ(b *testing.B) {
	dir := os.Getenv("ZZ")
	total := uint64(0)
	var tOpen time.Duration
	for b.Loop() {
		os.Remove(dir + "/wal/LOCK")
		w := wal.DefaultOptions(dir + "/wal")
		w.FS = durable.OS()
		before := uint64(0)
		t0 := time.Now()
		j, _, err := journal.Open(journal.Options{WAL: w, Deliver: func([]journal.Output) {},
			Core: func(_ uint64, fetch journal.Fetch) (journal.Core, error) {
				tOpen += time.Since(t0)
				c, err := newCore("", fetch)
				return c, err
			}})
		if err != nil {
			b.Fatal(err)
		}
		stepped := uint64(0)
		j.View(func(c journal.Core) {
			for _, u := range c.(*core).units {
				stepped += u.stepped
			}
		})
		total += stepped - before
		j.Log().Close()
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(total)/float64(b.N), "events")
	b.ReportMetric(float64(tOpen.Milliseconds())/float64(b.N), "open-ms")
}
