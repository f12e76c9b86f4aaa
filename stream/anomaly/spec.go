package anomaly

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/detect"
)

// RateOf finds series whose events come more or less often than they did, by
// [detect.Rate]. Patterns are as in [Rule]. Options that are zero have the
// values of [detect.DefaultRateOptions].
type RateOf struct {
	Name               string `yaml:"name"`
	Entity             string `yaml:"entity"`       // pattern
	Signal             string `yaml:"signal"`       // pattern
	MinSeverity        Level  `yaml:"min_severity"` // events below it do not count
	detect.RateOptions `yaml:",inline"`
	Class              Class `yaml:"class"`
	Severity           Level `yaml:"severity"` // of the finding
}

// RatioOf finds entities of whose requests another share fails than did, by
// [detect.Ratio]. Options that are zero have the values of
// [detect.DefaultRatioOptions].
type RatioOf struct {
	Name                string `yaml:"name"`
	Entity              string `yaml:"entity"` // pattern
	Of                  string `yaml:"of"`     // pattern of the signals of requests
	Failed              string `yaml:"failed"` // pattern, among these, of those that failed
	detect.RatioOptions `yaml:",inline"`
	Class               Class `yaml:"class"`
	Severity            Level `yaml:"severity"` // of the finding
}

// LevelOf finds series whose values are higher, lower, wider or narrower than
// they were, by [detect.Level]. Options that are zero have the values of
// [detect.DefaultLevelOptions].
type LevelOf struct {
	Name                string `yaml:"name"`
	Entity              string `yaml:"entity"` // pattern
	Signal              string `yaml:"signal"` // pattern
	detect.LevelOptions `yaml:",inline"`
	Class               Class `yaml:"class"`
	Severity            Level `yaml:"severity"` // of the finding
}

// kind is one of the sequential tests.
type kind uint8

const (
	rateTest kind = iota
	ratioTest
	levelTest
	kindEnd
)

var kindDetectors = [kindEnd]string{DetectorRate, DetectorRatio, DetectorLevel}

// spec is one configured test, whatever its kind.
type spec struct {
	kind     kind
	name     string
	entity   string // pattern
	signal   string // pattern; of a ratio, that of requests
	failed   string // pattern, of a ratio only
	floor    event.Severity
	class    Class
	severity event.Severity

	// One of them, complete.
	rate  detect.RateOptions
	ratio detect.RatioOptions
	level detect.LevelOptions

	counts  uint64 // tells apart what is counted: what was learnt of one thing is not of another
	options uint64 // tells apart everything: running evidence holds under equal options only
}

func (r *RateOf) spec() spec {
	o, d := r.RateOptions, detect.DefaultRateOptions()
	for _, v := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&o.ARL, d.ARL}, {&o.Learn, d.Learn}, {&o.Memory, d.Memory}, {&o.Hold, d.Hold}, {&o.Rearm, d.Rearm}, {&o.Adopt, d.Adopt}} {
		*v.to = cmp.Or(*v.to, v.from)
	}
	return spec{kind: rateTest, name: r.Name, entity: r.Entity, signal: r.Signal, floor: event.Severity(r.MinSeverity),
		class: r.Class, severity: event.Severity(r.Severity), rate: o}.summed()
}

func (r *RatioOf) spec() spec {
	o, d := r.RatioOptions, detect.DefaultRatioOptions()
	for _, v := range []struct {
		to   *int64
		from int64
	}{{&o.ARL, d.ARL}, {&o.Learn, d.Learn}, {&o.Memory, d.Memory}, {&o.MinVolume, d.MinVolume},
		{&o.Hold, d.Hold}, {&o.Rearm, d.Rearm}, {&o.Adopt, d.Adopt}} {
		*v.to = cmp.Or(*v.to, v.from)
	}
	return spec{kind: ratioTest, name: r.Name, entity: r.Entity, signal: r.Of, failed: r.Failed,
		class: r.Class, severity: event.Severity(r.Severity), ratio: o}.summed()
}

func (l *LevelOf) spec() spec {
	o, d := l.LevelOptions, detect.DefaultLevelOptions()
	for _, v := range []struct {
		to   *int64
		from int64
	}{{&o.ARL, d.ARL}, {&o.Learn, d.Learn}, {&o.Memory, d.Memory}, {&o.Hold, d.Hold}, {&o.Rearm, d.Rearm}, {&o.Adopt, d.Adopt}} {
		*v.to = cmp.Or(*v.to, v.from)
	}
	return spec{kind: levelTest, name: l.Name, entity: l.Entity, signal: l.Signal,
		class: l.Class, severity: event.Severity(l.Severity), level: o}.summed()
}

// summed fills in the sums.
func (s spec) summed() spec {
	w := pack.NewWriter()
	w.Uint(uint64(s.floor))
	if s.kind == ratioTest {
		w.String(s.signal)
		w.String(s.failed)
	}
	s.counts = sumOf(w)
	for _, v := range []int64{
		int64(s.rate.Direction), int64(s.rate.ARL), int64(s.rate.Learn), int64(s.rate.Memory),
		int64(s.rate.Hold), int64(s.rate.Rearm), int64(s.rate.Adopt),
		s.ratio.ARL, s.ratio.Learn, s.ratio.Memory, s.ratio.MinVolume, s.ratio.Hold, s.ratio.Rearm, s.ratio.Adopt,
		s.level.ARL, s.level.Learn, s.level.Memory, s.level.Hold, s.level.Rearm, s.level.Adopt,
	} {
		w.Int(v)
	}
	s.options = sumOf(w)
	return s
}

func sumOf(w *pack.Writer) uint64 {
	sum := sha256.Sum256(w.Bytes())
	return binary.BigEndian.Uint64(sum[:])
}

// specs are all tests of the configuration.
func (c *Config) specs() []spec {
	var all []spec
	for i := range c.Rates {
		all = append(all, c.Rates[i].spec())
	}
	for i := range c.Ratios {
		all = append(all, c.Ratios[i].spec())
	}
	for i := range c.Levels {
		all = append(all, c.Levels[i].spec())
	}
	return all
}

// matches reports whether the test looks at a series.
func (s *spec) matches(series stream.Series) bool {
	return stream.Match(s.entity, series.Entity) && stream.Match(s.signal, series.Signal)
}

// subject is what a test is of that looks at a series: a ratio's is the entity
// with what fails.
func (s *spec) subject(series stream.Series) stream.Series {
	if s.kind == ratioTest {
		series.Signal = s.failed
	}
	return series
}

// validateTests reports the faults of rates, ratios and levels.
func (c *Config) validateTests() error {
	var faults []error
	for kind, n := range [kindEnd]int{len(c.Rates), len(c.Ratios), len(c.Levels)} {
		if n > MaxRules {
			faults = append(faults, fmt.Errorf("%ss: %d of them: want at most %d", kindDetectors[kind], n, MaxRules))
		}
	}
	names := map[string]bool{}
	at := [kindEnd]int{}
	for _, s := range c.specs() {
		where := fmt.Sprintf("%ss[%d] %q", kindDetectors[s.kind], at[s.kind], s.name)
		at[s.kind]++
		fault := func(ok bool, format string, args ...any) {
			if !ok {
				faults = append(faults, fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...)))
			}
		}
		fault(s.name != "" && len(s.name) <= MaxRuleName, "name: want 1 to %d bytes", MaxRuleName)
		key := joinKey(kindDetectors[s.kind], s.name)
		fault(!names[key], "name: another one has it")
		names[key] = true
		fault(s.class < classEnd, "class is %v", s.class)
		level(fault, "min_severity", Level(s.floor))
		level(fault, "severity", Level(s.severity))
		if s.kind == ratioTest {
			fault(s.failed != "" && len(s.failed) <= event.MaxName, "failed: want a pattern of 1 to %d bytes", event.MaxName)
		}
		if _, err := newTest(&s, testKey{}); err != nil {
			fault(false, "%w", err)
		}
	}
	return errors.Join(faults...)
}
