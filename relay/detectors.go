package relay

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"

	"pando/event"
	"pando/internal/pack"
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

// build makes detectors that know nothing.
func (d Detectors) build() (*anomaly.Engine, *dedup.Filter, error) {
	engine, err := anomaly.NewEngine(d.Config)
	if err != nil {
		return nil, nil, err
	}
	filter, err := dedup.New(d.Dedup)
	return engine, filter, err
}

// detectorsOf makes detectors from their configuration as the log keeps it. The
// shell tries it before the log has it: a record that cannot be stepped would
// keep the relay from ever starting again.
func detectorsOf(config []byte) (*anomaly.Engine, *dedup.Filter, error) {
	d := DefaultDetectors()
	err := yaml.UnmarshalWithOptions(config, &d, yaml.Strict())
	if err != nil {
		return nil, nil, fmt.Errorf("detectors' configuration: %w", err)
	}
	engine, filter, err := d.build()
	if err != nil {
		return nil, nil, fmt.Errorf("detectors' configuration: %w", err)
	}
	return engine, filter, nil
}

func checkDetectors(config []byte) error {
	_, _, err := detectorsOf(config)
	return err
}

func (c *core) configure(body []byte) error {
	engine, filter, err := detectorsOf(body)
	if err != nil {
		return err
	}
	if c.config != nil {
		w := pack.NewWriter()
		c.engine.Snapshot(w)
		c.dedup.Snapshot(w)
		r := pack.NewReader(w.Bytes())
		if err := errors.Join(engine.Restore(r), filter.Restore(r)); err != nil {
			return fmt.Errorf("carry detectors over: %w", err)
		}
	}
	c.config, c.engine, c.dedup = body, engine, filter
	return nil
}

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
