package anomaly

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"pando/event"
	"pando/stream"
	"pando/stream/detect"
)

func TestConfigFromYAML(t *testing.T) {
	const text = `
rules:
  - name: timeouts
    entity: payments/*
    signal: SWIFT.TIMEOUT
    min_severity: warn
    count: 3
    within: 2s
    class: latency
    severity: error
rates: [{name: logins, signal: login, direction: falls, arl: 24h, class: load, severity: warn}]
ratios: []
levels: [{name: heap, signal: jvm.heap, memory: 4000, class: load, severity: warn}]
silence: {enabled: true, learn_for: 8s, min_events: 16, grain: 250ms, factor: 3, floor: 2s, ceiling: 1m, max_beat: 5s, severity: fatal}
hold: 5s
`
	c := DefaultConfig()
	if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	want := Rule{Name: "timeouts", Entity: "payments/*", Signal: "SWIFT.TIMEOUT", MinSeverity: Level(event.SeverityWarn),
		Count: 3, Within: 2 * time.Second, Class: Latency, Severity: Level(event.SeverityError)}
	if !reflect.DeepEqual(c.Rules, []Rule{want}) || c.Silence.Severity != Level(event.SeverityFatal) || c.Hold != 5*time.Second {
		t.Errorf("got %+v", c)
	}
	logins := RateOf{Name: "logins", Signal: "login", Class: Load, Severity: Level(event.SeverityWarn),
		RateOptions: detect.RateOptions{Direction: detect.Falls, ARL: 24 * time.Hour}}
	if !reflect.DeepEqual(c.Rates, []RateOf{logins}) || len(c.Ratios) != 0 || len(c.Levels) != 1 || c.Levels[0].Memory != 4000 {
		t.Errorf("got %+v", c)
	}
	if s := c.specs(); s[0].rate.Learn != detect.DefaultRateOptions().Learn || s[1].level.Learn != detect.DefaultLevelOptions().Learn {
		t.Errorf("what is left out has no default: %+v", s)
	}
	if !c.FirstSeen.Enabled || c.FirstSeen.LearnFor != time.Hour {
		t.Errorf("what the file leaves out lost its default: %+v", c.FirstSeen)
	}
	for _, typo := range []string{"hodl: 5s", "rules: [{name: a, class: eror}]", "rates: [{name: a, direction: up}]", "hold: fast"} {
		if err := yaml.UnmarshalWithOptions([]byte(typo), &c, yaml.Strict()); err == nil {
			t.Errorf("%q is accepted", typo)
		}
	}
	back, err := yaml.Marshal(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var again Config
	if err := yaml.UnmarshalWithOptions(back, &again, yaml.Strict()); err != nil || !reflect.DeepEqual(again, DefaultConfig()) {
		t.Errorf("the written configuration reads as %+v, %v:\n%s", again, err, back)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	c := quick()
	c.Rules = append(c.Rules, c.Rules[0], Rule{Name: "x", Count: 0, Within: time.Hour * 1e5, Class: 9, Severity: 25})
	c.Silence.Factor, c.Silence.Ceiling, c.Hold, c.MaxSeries = 1, time.Millisecond, 0, 0
	c.Rates = []RateOf{{}, {Name: "r%d", RateOptions: detect.RateOptions{ARL: -1, Learn: time.Millisecond}}, {Name: "r%d"}}
	c.Ratios[0].Failed, c.Ratios[0].MinVolume, c.Levels[0].Severity, c.MaxTests = "", -1, 99, 0
	err := c.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, fault := range []string{`rules[1] "errors": name`, "count is 0", "within is", "class is class(9)", "severity is 25",
		"silence.factor is 1", "silence.ceiling", "hold is 0s", "max_series is 0",
		`rates[0] "": name: want`, `rates[1] "r%d": rate: intensity test: arl is -1ns: want 1s`, "learn is 1ms: want 5s", `rates[2] "r%d": name: another`,
		`ratios[0] "failures": failed: want`, "min_volume is -1", `levels[0] "latency": severity is 99`, "max_tests is 0"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not among:\n%v", fault, err)
		}
	}
	if _, err := NewEngine(c); err == nil {
		t.Error("an engine of a faulty configuration")
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "anything", true}, {"*", "", true}, {"http.5??", "http.503", true}, {"http.5??", "http.5031", false},
		{"payments/*", "payments/swift/a", true}, {"*/LPARA/*", "sysplex1/LPARA/CICS", true}, {"a*b*c", "aXbXbXc", true},
		{"a*b*c", "aXbXbX", false}, {"a*", "ba", false}, {"*a", "aaab", false}, {"?", "", false},
	} {
		if got := stream.Match(c.pattern, c.name); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}
