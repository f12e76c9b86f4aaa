package detect

import (
	"math"
	"slices"
	"sort"
)

const (
	// phases divide a period: values nearer to each other in time are not
	// kept, so that a season of a day keeps one in five minutes.
	phases = 288
	// cycles of a period are kept. What did not happen for so long is new.
	cycles = 7
	// leastCycles must be known at a phase to expect something there.
	leastCycles = 2
	// neighbours of a phase, at each side, are as good as the phase: what
	// happens every day does not happen at the same minute.
	neighbours = 2
)

// season remembers a series over the last cycles of a period, and knows what
// is usual at a phase: any value that was seen there. That is a seasonal
// baseline without a model: several modes, edges and outages of the past need
// no parameters, and what was not seen for cycles is forgotten.
type season struct {
	period int64 // nanoseconds
	times  []int64
	values []float64
}

// most is how many values are kept.
const most = cycles*phases + 2*neighbours + 1

// add keeps a value, unless one near to it is there. Time does not go back.
func (s *season) add(t int64, v float64) {
	if n := len(s.times); n > 0 && t-s.times[n-1] < s.period/phases {
		return
	}
	if len(s.times) == most {
		s.times, s.values = slices.Delete(s.times, 0, 1), slices.Delete(s.values, 0, 1)
	}
	s.times, s.values = append(s.times, t), append(s.values, v)
}

// surprise is the distance of v to the nearest value near the same phase of
// the cycles before; reach is how far a neighbour may be, in nanoseconds. It
// reports false while too few cycles are known there.
func (s *season) surprise(t int64, v float64, reach int64) (float64, bool) {
	nearest, known := math.MaxFloat64, 0
	for cycle := range int64(cycles) {
		at := t - (cycle+1)*s.period
		if len(s.times) == 0 || at < s.times[0]-reach {
			break
		}
		i := sort.Search(len(s.times), func(i int) bool { return s.times[i] >= at })
		found := false
		for j := max(0, i-neighbours); j <= min(len(s.times)-1, i+neighbours); j++ {
			if off := s.times[j] - at; off > reach || off < -reach {
				continue
			}
			found = true
			nearest = min(nearest, math.Abs(v-s.values[j]))
		}
		if found {
			known++
		}
	}
	return nearest, known >= leastCycles
}
