//go:build !zos

package demo

import (
	"time"

	"pando/event"
	"pando/stream/anomaly"
)

// Profile sets the length of the scenario's phases.
type Profile struct {
	// Learn is the time of ordinary traffic, in which detectors learn.
	Learn time.Duration
	// Storm is the time from the gateway's first timeout to the last line.
	Storm time.Duration
	// Patience is how long an expected speaker may pause. It is well below
	// Storm, and above what settling takes once all writers have stopped.
	Patience time.Duration
}

// DefaultProfile is what a newcomer sees.
func DefaultProfile() Profile {
	return Profile{Learn: 12 * time.Second, Storm: 10 * time.Second, Patience: 5 * time.Second}
}

// end is when the last line is written.
func (p Profile) end() time.Duration { return p.Learn + p.Storm }

// detectors are the relays' detectors with learning times that fit a
// demonstration; in production they are hours.
func (p Profile) detectors() anomaly.Config {
	c := anomaly.DefaultConfig()
	severe, warn, info := anomaly.Level(event.SeverityError), anomaly.Level(event.SeverityWarn), anomaly.Level(event.SeverityInfo)
	c.Rules = []anomaly.Rule{
		{Name: "swift-timeouts", Entity: "payments/*", Signal: "SWGW504", Count: 5, Within: 2 * time.Second, Class: anomaly.Error, Severity: severe},
		{Name: "server-errors", Signal: "http.5??", Count: 10, Within: 2 * time.Second, Class: anomaly.Error, Severity: severe},
		{Name: "abend", Signal: "abend.*", Count: 1, Within: time.Minute, Class: anomaly.Error, Severity: severe},
		{Name: "retry-storm", Signal: "http.503", Count: 150, Within: time.Second, Class: anomaly.Load, Severity: warn},
		{Name: "flapping-job", Signal: "$HASP395", Count: 3, Within: 5 * time.Second, Class: anomaly.Error, Severity: warn},
		{Name: "report-peak", Entity: "reports/*", Signal: "http.200", Count: 60, Within: time.Second, Class: anomaly.Load, Severity: info},
	}
	c.FirstSeen.LearnFor = p.Learn * 3 / 5
	c.Silence.LearnFor, c.Silence.MinEvents = p.Learn/2, 20
	c.Silence.Grain, c.Silence.Floor, c.Silence.Ceiling = 100*time.Millisecond, p.Patience, time.Minute
	return c
}
