package cep

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"pando/event"
	"pando/stream/anomaly"
)

// faults gathers everything that is wrong with a pattern.
type faults struct{ list []error }

func (f *faults) check(ok bool, format string, args ...any) {
	if !ok {
		f.list = append(f.list, fmt.Errorf(format, args...))
	}
}

func (f *faults) between(what string, v, least, most int) {
	f.check(v >= least && v <= most, "%s is %d: want %d to %d", what, v, least, most)
}

func (f *faults) name(what, name string) {
	f.check(name != "" && len(name) <= MaxName && utf8.ValidString(name), "%s %q: want 1 to %d bytes of text", what, name, MaxName)
}

// Validate reports every fault of the pattern at once.
func (p *Pattern) Validate() error {
	var f faults
	f.name("name", p.Name)
	f.check(p.Scope < scopeEnd, "scope %d is unknown", p.Scope)
	f.between("key: fields", len(p.Key), 1, MaxKeyParts)
	for _, part := range p.Key {
		f.check(part.Field < fieldEnd && part.Field.Type() == Text, "key: %v is no text", part)
		f.check((part.Field == FieldAttr) == (part.Attr != "") && len(part.Attr) <= event.MaxName, "key: %v: want the name of an attribute", part)
	}
	f.check(p.Within >= int64(MinWithin) && p.Within <= int64(MaxWithin), "within: want %v to %v", MinWithin, MaxWithin)
	f.between("steps", len(p.Steps), 1, MaxSteps)
	f.between("folds and references to earlier steps", len(p.Slots), 0, MaxSlots)
	if len(f.list) > 0 {
		return errors.Join(f.list...) // the rest relies on it
	}
	p.validateSteps(&f)
	p.validateConditions(&f)
	f.check(p.After < strategyEnd, "after_match %d is unknown", p.After)
	if p.After == SkipToFirst || p.After == SkipToLast {
		f.check(p.AfterStep >= 0 && p.AfterStep < len(p.Steps), "after_match: no step %d", p.AfterStep)
	}
	l := p.Limits
	f.between("limits.max_runs", l.Runs, 1, 1<<12)
	f.between("limits.max_keys", l.Keys, 1, 1<<20)
	f.between("limits.max_events", l.Events, 2, 64)
	f.between("limits.max_text", l.Text, 16, event.MaxName)
	f.check(l.Overflow < overflowEnd, "limits.overflow %d is unknown", l.Overflow)
	f.check(p.Report.Severity <= event.MaxSeverity, "severity is %d: want 0 to %d", p.Report.Severity, event.MaxSeverity)
	f.check(p.Report.Class <= anomaly.Novelty, "class %v is unknown", p.Report.Class)
	f.check(len(p.Report.Summary) <= anomaly.MaxText && utf8.ValidString(p.Report.Summary), "summary: want at most %d bytes of text", anomaly.MaxText)
	return errors.Join(f.list...)
}

func (p *Pattern) validateSteps(f *faults) {
	optional := true
	for i := range p.Steps {
		s := &p.Steps[i]
		at := fmt.Sprintf("step %q", s.Name)
		f.name("step: name", s.Name)
		f.check(s.Follow < contiguityEnd && s.Repeat < contiguityEnd, "%s: contiguity is unknown", at)
		f.between(at+": least times", s.Min, 1, MaxTimes)
		f.check(s.Max == 0 || s.Max >= s.Min && s.Max <= MaxTimes, "%s: most times is %d: want %d to %d, or no end", at, s.Max, s.Min, MaxTimes)
		f.check(!s.Greedy || i < len(p.Steps)-1 || p.End != nil, "%s: greedy has no effect on the last step, where nothing waits for it to end; "+
			"to report a repetition once it has stopped, add an absent step after it", at)
		f.check(!s.Greedy || s.Max != 1 || s.Optional, "%s: greedy has no effect on a step that takes exactly one event", at)
		optional = optional && s.Optional
		if s.Absent != nil {
			f.check(i > 0, "%s: a pattern cannot begin with an absent step", at)
			f.check(!s.Optional && (i == 0 || !p.Steps[i-1].Optional), "%s: the steps around an absent one cannot be optional", at)
			p.validateAbsence(f, s.Absent)
		}
	}
	f.check(!optional, "steps: all are optional, so nothing at all would match")
	if p.End != nil {
		f.check(!p.Steps[len(p.Steps)-1].Optional, "step %q: the step before an absent one cannot be optional", p.Steps[len(p.Steps)-1].Name)
		p.validateAbsence(f, p.End)
	}
}

func (p *Pattern) validateAbsence(f *faults, a *Absence) {
	f.name("absent step: name", a.Name)
	f.check(a.For >= 0 && a.For <= p.Within, "absent step %q: for: want at most what within says", a.Name)
}

func (p *Pattern) validateConditions(f *faults) {
	types, _ := p.types()
	check := func(what string, n *Node, slots []Type, want ...Type) {
		t, err := n.check(slots)
		if err == nil && want != nil && t != want[0] {
			err = fmt.Errorf("a %v, not a %v", t, want[0])
		}
		f.check(err == nil, "%s: %w", what, err)
	}
	for i := range p.Slots {
		s := &p.Slots[i]
		f.check(s.Step >= 0 && s.Step < len(p.Steps), "fold %q: no step %d", s.Name, s.Step)
		f.check(s.Op < foldEnd, "fold %q: operation %d is unknown", s.Name, s.Op)
		f.check(s.Name != "" && len(s.Name) <= 2*MaxName+1+event.MaxName && utf8.ValidString(s.Name), "fold %d: want a name", i)
		switch {
		case s.Op == Count:
		case s.Op == First || s.Op == Last:
			check("fold "+s.Name, &s.Of, types[:i])
			f.check(types[i] != Bool, "fold %q: %v of a truth value", s.Name, s.Op)
		default:
			check("fold "+s.Name, &s.Of, types[:i], Number)
		}
	}
	if p.Where != nil {
		check("where", p.Where, nil, Bool)
	}
	for i := range p.Steps {
		check("step "+p.Steps[i].Name, &p.Steps[i].When, types, Bool)
		if a := p.Steps[i].Absent; a != nil {
			check("absent step "+a.Name, &a.When, types, Bool)
		}
	}
	if p.End != nil {
		check("absent step "+p.End.Name, &p.End.When, types, Bool)
	}
	for _, about := range []int{p.AboutEntity, p.AboutSignal} {
		f.check(about >= 0 && about < len(types) && types[about] == Text, "about: slot %d is no text", about)
	}
}
