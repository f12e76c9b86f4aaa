package relay

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"

	"pando/internal/pack"
	"pando/stream/aggregate"
	"pando/stream/anomaly"
	"pando/stream/dedup"
)

// Analysis configures all that a relay makes of the events that it steps. Its
// YAML is the content of the log's records of configuration.
type Analysis struct {
	Detectors Detectors          `yaml:",inline"`
	Windows   []aggregate.Window `yaml:"windows,omitempty"`
}

func (a *Analysis) windows() aggregate.Config { return aggregate.Config{Windows: a.Windows} }

// analysers are what an [Analysis] configures.
type analysers struct {
	engine  *anomaly.Engine
	dedup   *dedup.Filter // what the engine says passes through it
	windows *windowing
}

// build makes analysers that know nothing.
func (a *Analysis) build() (x analysers, err error) {
	if x.engine, err = anomaly.NewEngine(a.Detectors.Config); err != nil {
		return x, err
	}
	if x.dedup, err = dedup.New(a.Detectors.Dedup); err != nil {
		return x, err
	}
	windows, err := aggregate.New(a.windows(), aggregate.DefaultLimits())
	x.windows = newWindowing(windows)
	return x, err
}

// analysisOf reads a configuration as the log keeps it.
func analysisOf(config []byte) (x analysers, a Analysis, err error) {
	a.Detectors = DefaultDetectors()
	if err = yaml.UnmarshalWithOptions(config, &a, yaml.Strict()); err == nil {
		x, err = a.build()
	}
	if err != nil {
		err = fmt.Errorf("configuration of detectors and windows: %w", err)
	}
	return x, a, err
}

// checkAnalysis tries a configuration before the log has it: a record that
// cannot be stepped would keep the relay from ever starting again.
func checkAnalysis(config []byte) error {
	_, _, err := analysisOf(config)
	return err
}

// configure puts another configuration into force. Detectors and windows go on
// with what they know.
func (c *core) configure(body []byte) error {
	next, a, err := analysisOf(body)
	if err != nil {
		return err
	}
	if c.config != nil {
		w := pack.NewWriter()
		c.engine.Snapshot(w)
		c.dedup.Snapshot(w)
		r := pack.NewReader(w.Bytes())
		if err := errors.Join(next.engine.Restore(r), next.dedup.Restore(r)); err != nil {
			return fmt.Errorf("carry detectors over: %w", err)
		}
	}
	next.windows = c.windows
	if err := next.windows.engine().Reconfigure(a.windows()); err != nil {
		return err
	}
	c.config, c.analysers = body, next
	return nil
}
