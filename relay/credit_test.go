//go:build !zos

package relay

import (
	"testing"
	"time"

	"pando/transport"
)

// use spends a window's whole credit n times over, and returns what it gave.
func use(w *window, n int, now time.Time) (given transport.Credit) {
	for range n {
		for cost := w.size; cost > 0; cost -= firstCredit / 4 {
			given += w.taken(min(cost, firstCredit/4), now) - min(cost, firstCredit/4)
		}
	}
	return given
}

// Windows grow with use while the pool has credit, and give back when others
// lack some; nothing is made up or lost.
func TestWindowsShareThePool(t *testing.T) {
	now := time.Now()
	p := newPool(6 << 20)
	greedy, late := p.window(transport.LaneBulk), p.window(transport.LaneBulk)
	use(greedy, 20, now)
	if greedy.size != firstCredit+6<<20 || p.left != 0 {
		t.Fatalf("the only child has a window of %d, and the pool %d", greedy.size, p.left)
	}
	use(late, 2, now)
	if late.size != firstCredit {
		t.Fatalf("an empty pool gave %d", late.size-firstCredit)
	}
	for range 40 {
		use(greedy, 1, now)
		use(late, 1, now)
		now = now.Add(100 * time.Millisecond)
	}
	if late.size < 1<<20 || greedy.size < 1<<20 {
		t.Errorf("windows of %d and %d: one child has next to nothing of 6 MiB", greedy.size, late.size)
	}
	if sum := greedy.size + late.size + p.left; sum != 2*firstCredit+6<<20 {
		t.Errorf("%d bytes of credit in all, want %d", sum, 2*firstCredit+6<<20)
	}
	greedy.close()
	late.close()
	if p.left != 6<<20 {
		t.Errorf("the pool has %d after both are gone", p.left)
	}
	if size := newPool(1 << 30).window(transport.LaneCritical); use(size, 20, now) != mostCredit[transport.LaneCritical]-firstCredit {
		t.Errorf("a window grew to %d", size.size)
	}
}

func TestQuotaHoldsOnAverage(t *testing.T) {
	q := quota{rate: 1 << 20}
	now := time.Now()
	start := now
	sent := 0
	for now.Sub(start) < 20*time.Second {
		sent += 256 << 10
		now = now.Add(max(0, q.spend(256<<10, now)))
		now = now.Add(time.Millisecond)
	}
	if rate := float64(sent) / 20; rate > 1.1*(1<<20) || rate < 0.9*(1<<20) {
		t.Errorf("%.0f bytes a second, the quota is %d", rate, 1<<20)
	}
}
