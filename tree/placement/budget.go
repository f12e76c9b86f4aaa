package placement

import (
	"fmt"
	"time"
)

// Bounds of a budget. With less than one handshake an hour nobody would ever
// be let in; a burst above a million is no limit. Their product fits 63 bits.
const (
	maxInterval = time.Hour
	maxBurst    = 1 << 20
)

// Budget is a token bucket: it grants one handshake each interval on average,
// and up to burst at once after a quiet time. It is kept as the virtual
// scheduling form of ITU-T I.371's generic cell rate algorithm, which needs
// one instant of state and integers only. The caller passes the time; a clock
// that goes back cannot lock the budget for longer than a whole refill.
// Not safe for concurrent use.
type Budget struct {
	interval time.Duration
	capacity time.Duration // burst × interval: how far ahead of now full may lie
	full     time.Time     // when the bucket will be full again
}

// NewBudget returns a full budget. Interval lies within 1 ns to 1 h, burst
// within 1 to 2^20.
func NewBudget(interval time.Duration, burst int) (*Budget, error) {
	if interval < 1 || interval > maxInterval {
		return nil, fmt.Errorf("handshake budget: interval %v is outside 1ns to %v", interval, maxInterval)
	}
	if burst < 1 || burst > maxBurst {
		return nil, fmt.Errorf("handshake budget: burst %d is outside 1 to %d", burst, maxBurst)
	}
	return &Budget{interval: interval, capacity: time.Duration(burst) * interval}, nil
}

// Take grants one handshake and returns 0, or refuses and returns how long to
// wait until one could be granted if nobody else asks.
func (b *Budget) Take(now time.Time) (wait time.Duration) {
	ahead := max(0, min(b.full.Sub(now), b.capacity))
	if over := ahead + b.interval - b.capacity; over > 0 {
		b.full = now.Add(ahead) // forgets what a clock that went back would add
		return over
	}
	b.full = now.Add(ahead + b.interval)
	return 0
}
