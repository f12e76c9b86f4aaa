//go:build !zos

package bench

import (
	"testing"
	"time"
)

// TestDetectFindsTheShifts has the detectors really look at what they are
// measured with.
func TestDetectFindsTheShifts(t *testing.T) {
	name, samples := GeneratedSeries()
	o := DetectOptions{For: MinFor, Name: name, Samples: samples[:9000]}
	f, err := Detect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if f.Events < 1000 || f.Latency.Samples != f.Events || f.Measured < MinFor.Seconds() || f.PeakRSS <= 0 {
		t.Errorf("measured %+v", f)
	}
	d, err := newDetectors()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := d.step(s); err != nil {
			t.Fatal(err)
		}
	}
	if d.findings["series"] == 0 || d.findings["rate"] != 0 {
		t.Errorf("found %v, want the shifts of a series that comes steadily", d.findings)
	}
	o.For = time.Millisecond
	if err := o.Validate(); err == nil {
		t.Error("a millisecond is long enough to measure")
	}
}
