//go:build !zos

package bench

import (
	"math/bits"
	"time"
)

const (
	// subBits gives each power of two 64 buckets: a percentile is at most
	// 1/64 above the sample that it stands for.
	subBits = 6
	// octaves covers latencies of up to 2^42 ns, more than an hour.
	octaves = 42 - subBits + 1
)

// Histogram counts latencies in log-linear buckets, after HdrHistogram (Tene,
// 2012): fixed memory however long the run. The zero value is empty. Not safe
// for concurrent use.
type Histogram struct {
	Counts [octaves << subBits]uint64
	Max    time.Duration
}

// Add counts n samples of the same latency.
func (h *Histogram) Add(d time.Duration, n uint64) {
	h.Counts[bucket(d)] += n
	h.Max = max(h.Max, d)
}

func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	shift := max(bits.Len64(v)-subBits-1, 0)
	return min(shift<<subBits+int(v>>shift), octaves<<subBits-1)
}

// upper is the largest latency of a bucket.
func upper(bucket int) time.Duration {
	shift := max(bucket>>subBits-1, 0)
	return time.Duration((uint64(bucket-shift<<subBits)+1)<<shift - 1)
}

// Percentiles returns what the samples come to.
func (h *Histogram) Percentiles() (p Percentiles) {
	for _, n := range h.Counts {
		p.Samples += n
	}
	p.P50, p.P99, p.P999, p.Max = h.quantile(p.Samples, 500), h.quantile(p.Samples, 990), h.quantile(p.Samples, 999), ms(h.Max)
	return p
}

// quantile is the latency that so many thousandths of the samples do not
// exceed, in milliseconds.
func (h *Histogram) quantile(samples, thousandths uint64) float64 {
	rank := (samples*thousandths + 999) / 1000
	for i, seen := 0, uint64(0); i < len(h.Counts); i++ {
		if seen += h.Counts[i]; seen >= rank && seen > 0 {
			return ms(min(upper(i), h.Max))
		}
	}
	return 0
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
