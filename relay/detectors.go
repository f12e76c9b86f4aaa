package relay

import (
	"errors"

	"pando/event"
	"pando/stream/anomaly"
	"pando/stream/dedup"
)

// Detectors configure what looks at events, and what folds the findings that
// are one alarm. Start from [DefaultDetectors].
type Detectors struct {
	anomaly.Config `yaml:",inline"`
	Dedup          dedup.Config `yaml:"dedup"`
}

// DefaultDetectors are the defaults of both.
func DefaultDetectors() Detectors {
	return Detectors{Config: anomaly.DefaultConfig(), Dedup: dedup.DefaultConfig()}
}

// Validate reports every fault of the configuration at once.
func (d *Detectors) Validate() error { return errors.Join(d.Config.Validate(), d.Dedup.Validate()) }

// detected takes what the detectors said on an event, or at a tick (nil), and
// reports it but for what is one alarm with something reported before. The
// series is under suspicion in any case: only the finding is folded.
func (c *core) detected(fs []anomaly.Finding, e *event.Event) {
	if len(fs) == 0 {
		return
	}
	c.pace.suspect(fs, c.now)
	c.sift(func() []anomaly.Finding { return c.dedup.Pass(fs, e) })
}

// sift reports what a step of deduplication says.
func (c *core) sift(step func() []anomaly.Finding) {
	before := c.dedup.Counts()
	said := step()
	if after := c.dedup.Counts(); after != before && c.sifted != nil {
		c.sifted(before, after)
	}
	c.report(said)
}
