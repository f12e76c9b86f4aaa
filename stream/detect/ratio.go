package detect

import "fmt"

// RatioOptions configure a [Ratio], in requests.
type RatioOptions struct {
	ARL       int64 `yaml:"arl"`        // requests from one false finding to the next, of a share that does not change
	Learn     int64 `yaml:"learn"`      // before anything is found
	Memory    int64 `yaml:"memory"`     // time constant of the baseline
	MinVolume int64 `yaml:"min_volume"` // since the change, before it is told: three failures of four are no news
	Hold      int64 `yaml:"hold"`       // calm before a finding ends
	Rearm     int64 `yaml:"rearm"`      // after its end, in which it comes back as itself
	Adopt     int64 `yaml:"adopt"`      // a change that lasts so long is the new baseline
}

// DefaultRatioOptions find a false change in ten million requests.
func DefaultRatioOptions() RatioOptions {
	return RatioOptions{ARL: 10_000_000, Learn: 1000, Memory: 100_000, MinVolume: 20, Hold: 200, Rearm: 1000, Adopt: 100_000}
}

// ratioBlock is the number of requests by which the share is learnt, and its
// scatter: failures come in bursts, and a burst must lie within a block.
const ratioBlock = 100

// Ratio tests whether the share of requests that fail came to be larger or
// smaller: the [Intensity] of failures, with requests for an exposure. Failures
// among a fixed number of requests scatter less than Poisson counts do, so the
// run length of the Poisson test is a lower bound.
type Ratio struct{ test Intensity }

// NewRatio returns a test that has learnt nothing.
func NewRatio(o RatioOptions) (*Ratio, error) {
	if o.MinVolume < 1 {
		return nil, fmt.Errorf("ratio: min_volume is %d: want at least 1", o.MinVolume)
	}
	t, err := NewIntensity(IntensityOptions{
		Unit: 1, ARL: o.ARL, Block: ratioBlock, Learn: o.Learn, Memory: o.Memory,
		Least: o.MinVolume, Hold: o.Hold, Rearm: o.Rearm, Adopt: o.Adopt,
	})
	if err != nil {
		return nil, fmt.Errorf("ratio: %w", err)
	}
	return &Ratio{test: *t}, nil
}

// Step says how many of the next requests failed. From, To and At of a change
// are numbers of requests, from the first on.
func (r *Ratio) Step(requests, failed int64) (Change, bool) {
	return r.test.Observe(requests, min(failed, requests))
}

// Test is the test of the failures, for what it has learnt and found; only the
// ratio may step it.
func (r *Ratio) Test() *Intensity { return &r.test }

// Learning reports whether the share is not known well enough yet.
func (r *Ratio) Learning() bool { return r.test.Learning() }

// Baseline is the share of requests that is expected to fail.
func (r *Ratio) Baseline() float64 { return min(r.test.Baseline(), 1) }
