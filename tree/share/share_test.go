package share

import (
	"slices"
	"testing"
)

func TestPoolIsDividedFairly(t *testing.T) {
	for _, c := range []struct {
		pool          uint64
		demands, want []uint64
	}{
		{100, nil, []uint64{}},
		{100, []uint64{10, 500, 500}, []uint64{10, 45, 45}},
		{100, []uint64{500, 10, 20}, []uint64{70, 10, 20}},
		{100, []uint64{10, 20}, []uint64{45, 55}}, // nobody wants the other 70
		{100, []uint64{1000, 1000, 1000, 1000}, []uint64{25, 25, 25, 25}},
		{3, []uint64{5, 5, 5, 5}, []uint64{0, 1, 1, 1}},
	} {
		got := Divide(c.pool, c.demands)
		if !slices.Equal(got, c.want) {
			t.Errorf("%d for %v: %v, want %v", c.pool, c.demands, got, c.want)
		}
		sum := uint64(0)
		for _, s := range got {
			sum += s
		}
		if sum > c.pool {
			t.Errorf("%d for %v: %v is more than there is", c.pool, c.demands, got)
		}
	}
}
