package pattern

import (
	"strings"
	"testing"
	"time"

	"pando/stream/anomaly"
	"pando/stream/cep"
)

// storm is a pattern with everything in it.
func storm() Pattern {
	return Pattern{
		Name: "retry-storm", Key: []string{"entity"}, Within: 5 * time.Minute,
		Where: `kind in ["log", "span"]`,
		Steps: []Step{
			{Name: "down", When: `signal startsWith "http.5" and severity >= error`, Fold: []Fold{{Name: "latency", Op: FoldOp(cep.First), Of: "value"}}},
			{Name: "retry", When: `signal == "retry" and value > down.latency * 2 and peer == down.peer`,
				Times: Times{Min: 3}, Greedy: true, Repeat: Contiguity(cep.Any),
				Fold: []Fold{{Name: "n", Op: FoldOp(cep.Count)}, {Name: "worst", Op: FoldOp(cep.Max), Of: "value - down.latency"}}},
			{Name: "recovery", Absent: `signal == "ok" and attr["zone"] == down.attr["zone"] and retry.n > 2`, For: 30 * time.Second},
		},
		AfterMatch: AfterMatch{Strategy: cep.SkipToLast, Step: "retry"},
		Finding:    Finding{Class: anomaly.Load, Summary: "retries pile up"},
	}
}

func TestCompile(t *testing.T) {
	set, err := Compile(&File{Patterns: []Pattern{storm()}})
	if err != nil {
		t.Fatal(err)
	}
	p := set.Patterns()[0]
	var slots []string
	for _, s := range p.Slots {
		slots = append(slots, s.Name)
	}
	// Folds first, then what conditions refer to, then what the finding is about.
	want := `down.latency retry.n retry.worst down.peer down.attr["zone"] down.entity down.signal`
	if got := strings.Join(slots, " "); got != want {
		t.Errorf("slots %s, want %s", got, want)
	}
	if p.End == nil || p.End.For != int64(30*time.Second) || p.AfterStep != 1 || p.Steps[1].Max != 0 || p.Steps[1].Min != 3 {
		t.Errorf("compiled to %+v", p)
	}
	if p.Limits != (cep.Limits{Runs: DefaultRuns, Keys: DefaultKeys, Events: DefaultEvents, Text: DefaultText}) {
		t.Errorf("limits %+v", p.Limits)
	}
}

func TestFaultsSayWhatAndWhere(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Pattern)
		want   string
	}{
		"no key":          {func(p *Pattern) { p.Key = nil }, "key: it is mandatory"},
		"no within":       {func(p *Pattern) { p.Within = 0 }, "within: it is mandatory"},
		"number as key":   {func(p *Pattern) { p.Key = []string{"value"} }, `key: "value" is no text`},
		"syntax":          {func(p *Pattern) { p.Steps[0].When = "signal ==" }, "step down: 1:9: unexpected token EOF"},
		"unknown name":    {func(p *Pattern) { p.Steps[0].When = "signal == \"x\" and\n  hostname == \"y\"" }, "step down: 2:3: unknown name hostname"},
		"type":            {func(p *Pattern) { p.Steps[0].When = "value > signal" }, "step down: 1:7: invalid operation"},
		"no truth":        {func(p *Pattern) { p.Steps[0].When = "value + 1" }, "this is a number: want a truth value"},
		"function":        {func(p *Pattern) { p.Steps[0].When = `len(signal) > 3` }, "step down: 1:1: the function len is not supported"},
		"choice":          {func(p *Pattern) { p.Steps[0].When = `value > 1 ? true : false` }, "a choice (?:) is not supported"},
		"power":           {func(p *Pattern) { p.Steps[0].When = `value ** 2 > 1` }, "operator ** is not supported"},
		"range":           {func(p *Pattern) { p.Steps[0].When = `value in 1..3` }, "in wants a list"},
		"regexp":          {func(p *Pattern) { p.Steps[0].When = `signal matches "["` }, "error parsing regexp"},
		"mixed list":      {func(p *Pattern) { p.Steps[0].When = `signal in ["a", 1]` }, "a number in a list for a text"},
		"later step":      {func(p *Pattern) { p.Steps[0].When = `signal == retry.signal` }, "unknown name retry"},
		"absent's own":    {func(p *Pattern) { p.Steps[2].Absent = `signal == recovery.signal` }, "unknown name recovery"},
		"unknown fold":    {func(p *Pattern) { p.Steps[2].Absent = `retry.total > 3` }, "unknown field total"},
		"bare step":       {func(p *Pattern) { p.Steps[2].Absent = `retry == down` }, "no value by itself"},
		"too large":       {func(p *Pattern) { p.Steps[0].When = `value > 1e13` }, "out of range"},
		"step in where":   {func(p *Pattern) { p.Where = `entity == down.entity` }, "where: 1:11: unknown name down"},
		"fold of text":    {func(p *Pattern) { p.Steps[0].Fold[0] = Fold{Name: "s", Op: FoldOp(cep.Sum), Of: "signal"} }, "this is a text: want a number"},
		"fold named so":   {func(p *Pattern) { p.Steps[0].Fold[0].Name = "entity" }, "fold \"entity\""},
		"both":            {func(p *Pattern) { p.Steps[2].When = "true" }, "want either when"},
		"absent first":    {func(p *Pattern) { p.Steps = p.Steps[2:] }, "want at least one with when"},
		"absent twice":    {func(p *Pattern) { p.Steps = append(p.Steps, Step{Name: "x", Absent: "true"}) }, "two absent steps in a row"},
		"optional before": {func(p *Pattern) { p.Steps[1].Optional = true }, "the step before an absent one cannot be optional"},
		"long absence":    {func(p *Pattern) { p.Steps[2].For = time.Hour }, "for: want at most what within says"},
		"greedy at end":   {func(p *Pattern) { p.Steps = p.Steps[:2] }, "greedy has no effect on the last step"},
		"after match":     {func(p *Pattern) { p.AfterMatch.Step = "recovery" }, `after_match: there is no step "recovery" with when`},
		"about":           {func(p *Pattern) { p.Finding.About = "x" }, `finding.about: there is no step "x"`},
		"keyword":         {func(p *Pattern) { p.Steps[0].Name = "signal" }, "this word has a meaning"},
		"too many runs":   {func(p *Pattern) { p.Limits.MaxRuns = 1 << 20 }, "limits.max_runs is 1048576: want 1 to 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			p := storm()
			tc.change(&p)
			_, err := Compile(&File{Patterns: []Pattern{p}})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "pattern retry-storm: ") && !strings.Contains(err.Error(), `pattern "retry-storm": `) {
				t.Errorf("%v\nwant it to say %q", err, tc.want)
			}
		})
	}
}

func TestWordsOfTheLanguage(t *testing.T) {
	var times Times
	for text, want := range map[string]Times{"1": {1, 1}, "3": {3, 3}, "2..4": {2, 4}, "2+": {2, 0}} {
		if err := times.UnmarshalText([]byte(text)); err != nil || times != want {
			t.Errorf("times %s: %v, %v", text, times, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "4..2", "2..", "2+..3", "0+", "x", "99999"} {
		if err := times.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("times %q is taken as %v", text, times)
		}
	}
	var after AfterMatch
	for text, ok := range map[string]bool{"no_skip": true, "skip_to_last x": true, "skip_to_first": false, "no_skip x": false, "skip": false} {
		if err := after.UnmarshalText([]byte(text)); (err == nil) != ok {
			t.Errorf("after_match %q: %v", text, err)
		}
	}
}
