//go:build !zos

package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"pando/stream/detect"
)

// Sample is one value of a series.
type Sample struct {
	Time  int64 // Unix nanoseconds
	Value float64
}

// DetectOptions are what [Detect] runs.
type DetectOptions struct {
	For     time.Duration // at least [MinFor]
	Name    string        // of the series, for the report
	Samples []Sample      // in the order of their times; at least one
}

// Validate reports the first fault.
func (o *DetectOptions) Validate() error {
	switch {
	case o.For < MinFor || o.For > MaxFor:
		return fmt.Errorf("for: %v is outside %v to %v", o.For, MinFor, MaxFor)
	case len(o.Samples) == 0:
		return fmt.Errorf("%s: has no samples", o.Name)
	}
	return nil
}

// DetectFigures are what [Detect] measured. Their JSON is an interface, and
// its names mean what they mean in [Figures].
type DetectFigures struct {
	Workload   DetectWorkload     `json:"workload"`
	Machine    Machine            `json:"machine"`
	EventsPerS float64            `json:"events_per_s"` // samples, each through all tests
	CPU        map[string]float64 `json:"cpu_s_per_million"`
	Latency    Percentiles        `json:"latency_ms"` // of a sample through all tests
	PeakRSS    float64            `json:"peak_rss_mib"`
	GCShare    float64            `json:"gc_share"`
	Events     uint64             `json:"events"`
	Measured   float64            `json:"duration_s"`
	Findings   map[string]int     `json:"findings"` // of each test, in the first run through the series
}

// DetectWorkload says what went through the tests.
type DetectWorkload struct {
	Kind    string `json:"kind"` // detect
	Series  string `json:"series"`
	Samples int    `json:"samples"` // of the series, which is run through again and again
}

// GeneratedSeries is a series with a day, a week, noise, and a shift now and
// then; always the same one.
func GeneratedSeries() (string, []Sample) {
	const n, step = 20_000, int64(5 * time.Minute)
	r := rand.New(rand.NewPCG(1, 2))
	samples := make([]Sample, n)
	level := 100.0
	for i := range samples {
		if i%4000 == 3999 {
			level += 40
		}
		day := 2 * math.Pi * float64(i) / 288
		samples[i] = Sample{Time: int64(i) * step, Value: level + float64(20*math.Sin(day)) + float64(10*math.Sin(day/7)) + float64(3*r.NormFloat64())}
	}
	return "generated", samples
}

// Detect runs a series through the tests of package detect on one goroutine,
// over and over, each time from the start and with tests that know nothing. A
// sample is a value to Series and Level, and an event to Rate.
func Detect(ctx context.Context, o DetectOptions) (f DetectFigures, err error) {
	before, err := readUsage()
	if err != nil {
		return f, err
	}
	f.Workload = DetectWorkload{Kind: "detect", Series: o.Name, Samples: len(o.Samples)}
	var h Histogram
	begun := time.Now()
	at := begun
	for at.Sub(begun) < o.For && ctx.Err() == nil {
		tests, err := newDetectors()
		if err != nil {
			return f, err
		}
		for _, s := range o.Samples {
			if err := tests.step(s); err != nil {
				return f, err
			}
			now := time.Now()
			h.Add(now.Sub(at), 1)
			f.Events++
			if at = now; at.Sub(begun) >= o.For {
				break
			}
		}
		if f.Findings == nil {
			f.Findings = tests.findings
		}
	}
	after, err := readUsage()
	if err != nil {
		return f, err
	}
	f.Machine = machine(Disk{})
	f.Measured = at.Sub(begun).Seconds()
	f.EventsPerS = ratio(float64(f.Events), f.Measured)
	f.CPU = map[string]float64{"detect": ratio((after.CPU-before.CPU)*1e6, float64(f.Events))}
	f.Latency, f.PeakRSS = h.Percentiles(), after.PeakRSS
	f.GCShare = ratio(after.GC-before.GC, after.Busy-before.Busy)
	return f, ctx.Err()
}

// detectors are one of each test.
type detectors struct {
	series   *detect.Series
	level    *detect.Level
	rate     *detect.Rate
	findings map[string]int
}

func newDetectors() (*detectors, error) {
	level, err := detect.NewLevel(detect.DefaultLevelOptions())
	if err != nil {
		return nil, err
	}
	rate, err := detect.NewRate(detect.DefaultRateOptions())
	if err != nil {
		return nil, err
	}
	return &detectors{detect.NewSeries(), level, rate, map[string]int{"series": 0, "level": 0, "rate": 0}}, nil
}

func (d *detectors) step(s Sample) error {
	score, err := d.series.Step(s.Time, s.Value)
	if err != nil {
		return err
	}
	if score.Score >= detect.DefaultThreshold {
		d.findings["series"]++
	}
	if c, ok := d.level.Step(s.Value); ok && !c.Ended {
		d.findings["level"]++
	}
	if c, ok := d.rate.Step(s.Time, 1); ok && !c.Ended {
		d.findings["rate"]++
	}
	return nil
}
