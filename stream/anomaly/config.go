package anomaly

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"pando/event"
	"pando/stream/detect"
)

// Bounds of a configuration.
const (
	MaxRules     = 256     // each new series is matched with every rule once
	maxRuleCount = 1 << 30 // so that doubled counts fit the arithmetic
	maxDuration  = 366 * 24 * time.Hour
	maxTracked   = 1 << 20 // series or speakers in one engine, about 1 GB
	maxTests     = 1 << 18 // in one engine, about 1 GB of rates; a level takes 12 KB
)

// Level is a severity in configuration: one of the words debug, info, warn,
// error and fatal, or OpenTelemetry's number.
type Level event.Severity

var levels = []struct {
	name     string
	severity event.Severity
}{
	{"debug", event.SeverityDebug}, {"info", event.SeverityInfo}, {"warn", event.SeverityWarn},
	{"error", event.SeverityError}, {"fatal", event.SeverityFatal},
}

// MarshalText writes the word, or the number if there is none.
func (l Level) MarshalText() ([]byte, error) {
	for _, known := range levels {
		if known.severity == event.Severity(l) {
			return []byte(known.name), nil
		}
	}
	return strconv.AppendUint(nil, uint64(l), 10), nil
}

// UnmarshalText reads a word or a number.
func (l *Level) UnmarshalText(text []byte) error {
	for _, known := range levels {
		if known.name == string(text) {
			*l = Level(known.severity)
			return nil
		}
	}
	n, err := strconv.ParseUint(string(text), 10, 8)
	if err != nil || n > uint64(event.MaxSeverity) {
		return fmt.Errorf("severity %q: want debug, info, warn, error, fatal or a number from 0 to %d", text, event.MaxSeverity)
	}
	*l = Level(n)
	return nil
}

// Rule finds a series of which Count events fall within a span of event time.
// Patterns match whole names: * is any run of characters, slashes included,
// and ? one byte; an empty pattern matches every name.
type Rule struct {
	Name        string        `yaml:"name"`
	Entity      string        `yaml:"entity"`       // pattern
	Signal      string        `yaml:"signal"`       // pattern
	MinSeverity Level         `yaml:"min_severity"` // events below it do not count
	Count       int64         `yaml:"count"`        // events that suffice
	Within      time.Duration `yaml:"within"`       // event time; kept to 1/16 of it, never less
	Class       Class         `yaml:"class"`
	Severity    Level         `yaml:"severity"` // of the finding
}

// FirstSeen finds series that an origin never showed before.
type FirstSeen struct {
	Enabled     bool          `yaml:"enabled"`
	LearnFor    time.Duration `yaml:"learn_for"`    // after the first event of the origin ever
	MinSeverity Level         `yaml:"min_severity"` // events below it are neither learnt nor found
	Signals     string        `yaml:"signals"`      // pattern of signals that make findings; all are learnt
}

// SilenceOf configures the search for expected speakers that stop.
type SilenceOf struct {
	Enabled   bool          `yaml:"enabled"`
	LearnFor  time.Duration `yaml:"learn_for"`  // from a speaker's first event to when it may be expected
	MinEvents int64         `yaml:"min_events"` // events before it may be expected
	Grain     time.Duration `yaml:"grain"`      // pauses below it are all the same: lines of one message
	Factor    int64         `yaml:"factor"`     // deadline = factor × the longest usual pause
	Floor     time.Duration `yaml:"floor"`      // no deadline is shorter
	Ceiling   time.Duration `yaml:"ceiling"`    // speakers with a longer deadline are too slow to expect
	MaxBeat   time.Duration `yaml:"max_beat"`   // a longer step between heartbeats interrupts the observation, for all tests
	Severity  Level         `yaml:"severity"`   // of the finding
}

// Config says what to detect. The zero value detects nothing and is not
// valid; start from [DefaultConfig].
type Config struct {
	Rules       []Rule        `yaml:"rules"`
	Rates       []RateOf      `yaml:"rates"`
	Ratios      []RatioOf     `yaml:"ratios"`
	Levels      []LevelOf     `yaml:"levels"`
	FirstSeen   FirstSeen     `yaml:"first_seen"`
	Silence     SilenceOf     `yaml:"silence"`
	Hold        time.Duration `yaml:"hold"`         // calm before a finding ends
	Rearm       time.Duration `yaml:"rearm"`        // after its end, in which it comes back as itself
	Forget      time.Duration `yaml:"forget"`       // speakers and origins not heard for so long are dropped
	MaxSeries   int           `yaml:"max_series"`   // codes of all origins, and rule windows, each
	MaxSpeakers int           `yaml:"max_speakers"` // of all origins
	MaxTests    int           `yaml:"max_tests"`    // rates, ratios and levels of all origins
}

// DefaultConfig finds server errors, abends, errors that come more often than
// they did, requests of which more or less fail than did, new codes from warnings
// up, and speakers that stop after ten minutes of a steady rhythm.
func DefaultConfig() Config {
	return Config{
		Rules: []Rule{
			{Name: "server-errors", Signal: "http.5??", Count: 20, Within: 10 * time.Second,
				Class: Error, Severity: Level(event.SeverityError)},
			{Name: "abend", Signal: "abend.*", Count: 1, Within: time.Minute,
				Class: Error, Severity: Level(event.SeverityError)},
		},
		Rates: []RateOf{{Name: "error-rate", Signal: "*", MinSeverity: Level(event.SeverityError),
			RateOptions: detect.RateOptions{Direction: detect.Rises}, Class: Error, Severity: Level(event.SeverityError)}},
		Ratios: []RatioOf{{Name: "http-errors", Of: "http.*", Failed: "http.5??", Class: Error, Severity: Level(event.SeverityError)}},
		Levels: []LevelOf{},
		FirstSeen: FirstSeen{
			Enabled: true, LearnFor: time.Hour, MinSeverity: Level(event.SeverityWarn), Signals: "*",
		},
		Silence: SilenceOf{
			Enabled: true, LearnFor: 10 * time.Minute, MinEvents: 32,
			Grain: time.Second, Factor: 3, Floor: 5 * time.Second, Ceiling: time.Hour,
			MaxBeat: 10 * time.Second, Severity: Level(event.SeverityError),
		},
		Hold:        30 * time.Second,
		Rearm:       5 * time.Minute,
		Forget:      24 * time.Hour,
		MaxSeries:   1 << 17,
		MaxSpeakers: 1 << 16,
		MaxTests:    1 << 15,
	}
}

// Validate reports every fault of the configuration at once.
func (c *Config) Validate() error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	span := func(name string, d, least time.Duration) {
		fault(d >= least && d <= maxDuration, "%s is %v: want %v to %v", name, d, least, maxDuration)
	}
	fault(len(c.Rules) <= MaxRules, "rules: %d of them: want at most %d", len(c.Rules), MaxRules)
	names := make(map[string]bool, len(c.Rules))
	for i := range c.Rules {
		r := &c.Rules[i]
		at := fmt.Sprintf("rules[%d] %q", i, r.Name)
		fault(r.Name != "" && len(r.Name) <= MaxRuleName, "%s: name: want 1 to %d bytes", at, MaxRuleName)
		fault(!names[r.Name], "%s: name: another rule has it", at)
		names[r.Name] = true
		fault(r.Count >= 1 && r.Count <= maxRuleCount, "%s: count is %d: want 1 to %d", at, r.Count, maxRuleCount)
		span(at+": within", r.Within, time.Millisecond)
		fault(r.Class < classEnd, "%s: class is %v", at, r.Class)
		level(fault, at+": min_severity", r.MinSeverity)
		level(fault, at+": severity", r.Severity)
	}
	if c.FirstSeen.Enabled {
		span("first_seen.learn_for", c.FirstSeen.LearnFor, 0)
		level(fault, "first_seen.min_severity", c.FirstSeen.MinSeverity)
	}
	if s := &c.Silence; s.Enabled {
		span("silence.learn_for", s.LearnFor, 0)
		span("silence.grain", s.Grain, time.Millisecond)
		span("silence.floor", s.Floor, s.Grain)
		span("silence.ceiling", s.Ceiling, s.Floor)
		fault(s.MinEvents >= 1, "silence.min_events is %d: want at least 1", s.MinEvents)
		fault(s.Factor >= 2 && s.Factor <= 100, "silence.factor is %d: want 2 to 100; 1 would call every longer pause a silence", s.Factor)
		level(fault, "silence.severity", s.Severity)
	}
	if err := c.validateTests(); err != nil {
		faults = append(faults, err)
	}
	if c.observes() {
		span("silence.max_beat", c.Silence.MaxBeat, time.Millisecond)
	}
	span("hold", c.Hold, time.Millisecond)
	span("rearm", c.Rearm, 0)
	span("forget", c.Forget, time.Second)
	fault(c.MaxSeries >= 1 && c.MaxSeries <= maxTracked, "max_series is %d: want 1 to %d", c.MaxSeries, maxTracked)
	fault(c.MaxSpeakers >= 1 && c.MaxSpeakers <= maxTracked, "max_speakers is %d: want 1 to %d", c.MaxSpeakers, maxTracked)
	fault(c.MaxTests >= 1 && c.MaxTests <= maxTests, "max_tests is %d: want 1 to %d", c.MaxTests, maxTests)
	return errors.Join(faults...)
}

// observes reports whether heartbeats matter.
func (c *Config) observes() bool {
	return c.Silence.Enabled || len(c.Rates)+len(c.Ratios)+len(c.Levels) > 0
}

func level(fault func(bool, string, ...any), name string, l Level) {
	fault(l <= Level(event.MaxSeverity), "%s is %d: want 0 to %d", name, l, event.MaxSeverity)
}
