package cep

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWheelFiresWhatIsDue compares the wheel with a list, over deadlines that
// are near, far, past and the same, with jumps over nothing and over years.
func TestWheelFiresWhatIsDue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	span := func() int64 { return r.Int64N(1 << (10 + r.IntN(50))) }
	for range 200 {
		var w wheel
		timers := make([]*timer, 20)
		for i := range timers {
			timers[i] = &timer{}
		}
		now := int64(0)
		for range 200 {
			switch x := timers[r.IntN(len(timers))]; r.IntN(4) {
			case 0:
				w.stop(x)
			case 1:
				w.set(x, max(now-span(), 0))
			default:
				w.set(x, min(now, 1<<61)+span())
			}
			if r.IntN(3) > 0 {
				continue
			}
			now += span() >> r.IntN(20)
			var want []*timer
			for _, x := range timers {
				if x.armed && x.deadline <= now {
					want = append(want, x)
				}
			}
			got := w.advance(now, nil)
			if len(got) != len(want) {
				t.Fatalf("at %d %d timers fire, %d are due", now, len(got), len(want))
			}
			for _, x := range want {
				if !slices.Contains(got, x) || x.armed {
					t.Fatalf("at %d the timer for %d does not fire", now, x.deadline)
				}
			}
		}
	}
}
