package detect

import "math"

// baseline is a decayed average over blocks.
type baseline struct {
	exposure, events float64 // decayed sums
	expected, square float64 // of predicted counts, and of squared deviations from them
	openEvents       int64   // of the present block
	openFrom         int64   // exposure at which the present block began
	whole            int64   // exposure of all blocks ever
}

// close ends the present block.
func (b *baseline) close(at, memory int64) {
	span, n := float64(at-b.openFrom), float64(b.openEvents)
	b.whole = min(b.whole+at-b.openFrom, math.MaxInt64/2)
	keep := 1 / (1 + span/float64(memory))
	if b.exposure > 0 {
		predicted := float64(b.mean() * span)
		off := n - predicted
		b.expected = float64(b.expected*keep) + predicted
		b.square = float64(b.square*keep) + float64(off*off)
	}
	b.exposure = float64(b.exposure*keep) + span
	b.events = float64(b.events*keep) + n
	b.openFrom, b.openEvents = at, 0
}

// mean is the intensity in events per exposure. Half an event more than came
// keeps what never happened possible.
func (b *baseline) mean() float64 {
	if b.exposure <= 0 {
		return 0
	}
	return (b.events + 0.5) / b.exposure
}

// fano is the variance of a block's count over its mean, at least 1.
func (b *baseline) fano() float64 {
	if b.expected <= 0 {
		return 1
	}
	return min(max(b.square/b.expected, 1), maxFano)
}

// maxFano keeps the weight of an event well above the grain of fixed point.
const maxFano = 1 << 20
