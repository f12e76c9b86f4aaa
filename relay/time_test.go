package relay

import (
	"testing"

	"pando/event/clock"
)

// A relay that restarts while no root can be reached was down for a while. On
// the same boot it knows for how long; after another one it is behind.
func TestReckoningKnowsHowLongItWasDown(t *testing.T) {
	b := newBench(t)
	now := b.now
	boot := clock.Boot{1}
	const began = int64(70e9) // on the monotonic clock, when root time was now
	rec := ClockRecord(clock.Mapping{Boot: boot, Offset: now - began, Bound: 1e6, At: began})
	b.do(rec.Kind, rec.Body)
	b.tick(1e9)
	c := Core{b.restored()}

	const down = int64(30e9)
	mono := began + 1e9 + down
	if got, ok := Reckon(c, boot, mono).Now(mono + 5e8); !ok || got != now+1e9+down+5e8 {
		t.Errorf("on the same boot: %d, %v; want %d", got-now, ok, int64(1e9)+down+5e8)
	}
	if got, ok := Reckon(c, clock.Boot{2}, 3e9).Now(3e9 + 5e8); !ok || got != now+1e9+5e8 {
		t.Errorf("after another boot: %d, %v; want %d", got-now, ok, int64(15e8))
	}
}
