package detect

import (
	"math"
	"slices"
	"sort"

	"pando/internal/exact"
)

// sample keeps the latest values of a statistic, in order of their coming and
// of their size. Values are finite.
type sample struct {
	most   int
	ring   []float64 // the oldest at next, once it is full
	next   int
	sorted []float64
}

func newSample(most int) sample { return sample{most: most} }

// add keeps v, in place of the oldest value if there is no room.
func (s *sample) add(v float64) {
	v += 0 // there is one zero
	if len(s.ring) < s.most {
		s.ring = append(s.ring, v)
	} else {
		at, _ := slices.BinarySearch(s.sorted, s.ring[s.next])
		s.sorted = slices.Delete(s.sorted, at, at+1)
		s.ring[s.next] = v
		s.next = (s.next + 1) % s.most
	}
	s.sorted = slices.Insert(s.sorted, sort.SearchFloat64s(s.sorted, v), v)
}

const (
	// tailWindows is how many independent windows the tail is fitted to.
	tailWindows = 5
	// leastValues are needed before anything can be called rare.
	leastValues = 20
	// mostBeyond bounds how far the fitted tail is believed beyond what was
	// seen, in decades.
	mostBeyond = 4
)

// rank is the decimal logarithm of how many windows go by, on average, before
// the statistic of a window is v or more, by the conformal rank of v among
// those seen (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
// World", 2005); 0 until there are enough. Overlap is how many values were kept
// for each window, at least 1: so many are one observation.
func (s *sample) rank(v, overlap float64) float64 {
	n := len(s.sorted)
	if n < leastValues {
		return 0
	}
	atLeast := float64(n-sort.SearchFloat64s(s.sorted, v)) / overlap
	return log10((float64(n)/overlap + 1) / (atLeast + 1))
}

// rarity is the rank, and beyond the largest value seen what a Pareto tail
// around the median gives, so that heavy tails are no news (Hill, "A Simple
// General Approach to Inference About the Tail of a Distribution", 1975):
// logarithms of its excesses over a threshold are exponential, and as their
// scale is not known, the predictive tail of one more, x, after k others with
// the sum S is (1+x/S)^-k (Geisser, "Predictive Inference", 1993). There is no
// unit in it.
func (s *sample) rarity(v, overlap float64) float64 {
	rank, n := s.rank(v, overlap), len(s.sorted)
	if n < leastValues || v <= s.sorted[n-1] {
		return rank
	}
	k := min(n/2-1, int(tailWindows*overlap))
	middle := s.sorted[n/2]
	from := s.sorted[n-k] - middle
	if from <= 0 {
		return rank
	}
	sum := 0.0
	for _, w := range s.sorted[n-k:] {
		sum += exact.Log((w - middle) / from)
	}
	if sum <= 0 {
		return rank
	}
	excess := exact.Log((v - middle) / from)
	tail := log10(float64(n)/float64(k)) + float64(float64(k)/overlap*log10(1+excess/sum))
	return min(max(tail, rank), rank+mostBeyond)
}

// log10 is the decimal logarithm of a positive number.
func log10(v float64) float64 { return exact.Log(min(v, math.MaxFloat64)) / math.Ln10 }

// usual reports whether v is at most the median of what was seen.
func (s *sample) usual(v float64) bool {
	return len(s.sorted) == 0 || v <= s.sorted[len(s.sorted)/2]
}
