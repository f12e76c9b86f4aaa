package pattern

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pando/event"
	"pando/stream/cep"
)

// Compile translates a file, or reports everything that is wrong with it.
func Compile(f *File) (*cep.Set, error) {
	var patterns []*cep.Pattern
	var faults []error
	for i := range f.Patterns {
		p, err := compile(&f.Patterns[i])
		if err != nil {
			faults = append(faults, named(f.Patterns[i].Name, i, err))
			continue
		}
		patterns = append(patterns, p)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return cep.NewSet(patterns)
}

// named adds the pattern's name to each of the errors, one a line.
func named(name string, i int, err error) error {
	if name == "" {
		name = fmt.Sprintf("patterns[%d]", i)
	}
	var out []error
	for _, line := range strings.Split(err.Error(), "\n") {
		out = append(out, fmt.Errorf("pattern %s: %s", name, line))
	}
	return errors.Join(out...)
}

// compiler translates one pattern.
type compiler struct {
	from   *Pattern
	to     *cep.Pattern
	steps  map[string]int // positive ones, by name
	types  []cep.Type     // of the slots
	slots  map[string]int // by name: STEP.NAME or STEP.FIELD
	faults []error
	// visible is the last step that a condition may refer to: itself, for what
	// it took before, or the one before an absence.
	visible int
}

func (c *compiler) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

func compile(from *Pattern) (*cep.Pattern, error) {
	c := &compiler{from: from, steps: map[string]int{}, slots: map[string]int{}, to: &cep.Pattern{
		Name: from.Name, Scope: cep.Scope(from.Scope), Within: int64(from.Within),
		After: from.AfterMatch.Strategy,
		Limits: cep.Limits{
			Runs: cmp.Or(from.Limits.MaxRuns, DefaultRuns), Keys: cmp.Or(from.Limits.MaxKeys, DefaultKeys),
			Events: cmp.Or(from.Limits.MaxEvents, DefaultEvents), Text: cmp.Or(from.Limits.MaxText, DefaultText),
			Overflow: cep.Overflow(from.Limits.Overflow),
		},
		Report: cep.Report{
			Class: from.Finding.Class, Severity: cmp.Or(event.Severity(from.Finding.Severity), defaultSeverity),
			Summary: from.Finding.Summary,
		},
	}}
	c.key()
	c.outline()
	if len(c.faults) == 0 {
		c.folds()
	}
	if len(c.faults) == 0 { // what a wrong fold is not would be reported where it is referred to
		c.conditions()
		c.after()
	}
	if len(c.faults) == 0 {
		return c.to, c.to.Validate()
	}
	return nil, errors.Join(c.faults...)
}

// key translates the key's fields.
func (c *compiler) key() {
	if c.from.Within == 0 {
		c.fault("within: it is mandatory: a pattern without a limit of time would never forget; such as 5m")
	}
	if len(c.from.Key) == 0 {
		c.fault("key: it is mandatory: name the fields that the events of one match share, such as [entity]")
	}
	for _, name := range c.from.Key {
		o := cep.Operand{Field: cep.FieldAttr}
		if attr, ok := strings.CutPrefix(name, "attr."); ok {
			o.Attr = attr
		} else if o.Field, ok = cep.FieldNamed(name); !ok || o.Field.Type() != cep.Text || o.Field == cep.FieldAttr {
			c.fault("key: %q is no text of an event: want kind, entity, signal, peer, source, trace or attr.NAME", name)
			continue
		}
		c.to.Key = append(c.to.Key, o)
	}
}

// outline makes the steps, without their conditions.
func (c *compiler) outline() {
	var absent *cep.Absence
	for i := range c.from.Steps {
		s := &c.from.Steps[i]
		at := cmp.Or(s.Name, fmt.Sprintf("steps[%d]", i))
		switch {
		case !identifier(s.Name):
			c.fault("steps[%d]: name %q: want a letter, then letters, digits and _, so that conditions can refer to it", i, s.Name)
		case reserved(s.Name):
			c.fault("step %s: this word has a meaning in conditions; choose another name", at)
		case (s.When == "") == (s.Absent == ""):
			c.fault("step %s: want either when, for events that must come, or absent, for events that must not", at)
		case s.Absent != "" && absent != nil:
			c.fault("step %s: two absent steps in a row; join their conditions by or", at)
		case s.Absent != "" && (s.Times != Times{} || s.Optional || s.Greedy || s.Follow != 0 || s.Repeat != 0 || len(s.Fold) > 0):
			c.fault("step %s: an absent step has nothing but a name, absent and for", at)
		case s.Absent == "" && s.For != 0:
			c.fault("step %s: for belongs to absent", at)
		}
		if s.Absent != "" {
			absent = &cep.Absence{Name: s.Name, For: int64(s.For)}
			continue
		}
		if _, double := c.steps[s.Name]; double {
			c.fault("step %s: another step has this name", at)
		}
		if s.Repeat != 0 && (s.Times == Times{} || s.Times.Max == 1) {
			c.fault("step %s: repeat says how the events of a step with times follow each other; here there is one", at)
		}
		times := s.Times
		if times == (Times{}) {
			times = Times{1, 1}
		}
		c.steps[s.Name] = len(c.to.Steps)
		c.to.Steps = append(c.to.Steps, cep.Step{
			Name: s.Name, Absent: absent, Follow: cep.Contiguity(s.Follow), Repeat: cep.Contiguity(s.Repeat),
			Min: times.Min, Max: times.Max, Greedy: s.Greedy, Optional: s.Optional,
		})
		absent = nil
	}
	c.to.End = absent
	if len(c.to.Steps) == 0 {
		c.fault("steps: want at least one with when")
	}
}

// folds translates the folds, in the order in which they stand: each may
// refer to those before it.
func (c *compiler) folds() {
	for i := range c.from.Steps {
		s := &c.from.Steps[i]
		for _, f := range s.Fold {
			name := s.Name + "." + f.Name
			_, field := cep.FieldNamed(f.Name)
			_, double := c.slots[name]
			switch {
			case !identifier(f.Name) || field || double:
				c.fault("step %s: fold %q: want a name of letters, digits and _ that is no field and not given twice", s.Name, f.Name)
				continue
			case (f.Of == "") != (cep.FoldOp(f.Op) == cep.Count):
				c.fault("step %s: fold %s: every operation but count wants an expression as of", s.Name, f.Name)
				continue
			}
			slot := cep.Slot{Step: c.steps[s.Name], Name: name, Op: cep.FoldOp(f.Op)}
			kind := cep.Number
			if slot.Op != cep.Count {
				var err error
				c.visible = slot.Step
				want := []cep.Type{cep.Number}
				if slot.Op == cep.First || slot.Op == cep.Last {
					want = append(want, cep.Text)
				}
				if slot.Of, kind, err = c.expression(f.Of, want...); err != nil {
					c.fault("step %s: fold %s: %w", s.Name, f.Name, err)
					continue
				}
			}
			c.add(slot, kind)
		}
	}
}

// add gives a slot its number.
func (c *compiler) add(s cep.Slot, t cep.Type) int {
	c.slots[s.Name] = len(c.to.Slots)
	c.to.Slots = append(c.to.Slots, s)
	c.types = append(c.types, t)
	return len(c.to.Slots) - 1
}

// reference returns the slot that holds a field of a step's last event.
func (c *compiler) reference(step string, o cep.Operand) int {
	name := step + "." + o.String()
	if at, ok := c.slots[name]; ok {
		return at
	}
	of := cep.Node{Op: cep.OpField, Number: int64(o.Field), Text: o.Attr}
	return c.add(cep.Slot{Step: c.steps[step], Name: name, Op: cep.Last, Of: of}, o.Field.Type())
}

// conditions translates where, when and absent.
func (c *compiler) conditions() {
	if c.from.Where != "" {
		// It is asked before there is any run, so there are no steps yet.
		outer := &compiler{from: c.from, to: &cep.Pattern{}}
		where, _, err := outer.expression(c.from.Where, cep.Bool)
		if err != nil {
			c.fault("where: %w", err)
		}
		c.to.Where = &where
	}
	at := 0 // of the next positive step
	for i := range c.from.Steps {
		s := &c.from.Steps[i]
		if c.visible = at; s.Absent != "" {
			c.visible = at - 1
		}
		n, _, err := c.expression(cmp.Or(s.When, s.Absent), cep.Bool)
		if err != nil {
			c.fault("step %s: %w", s.Name, err)
		}
		switch {
		case s.Absent == "":
			c.to.Steps[at].When = n
			at++
		case at < len(c.to.Steps):
			c.to.Steps[at].Absent.When = n
		default:
			c.to.End.When = n
		}
	}
}

// after finds the steps that after_match and finding.about name.
func (c *compiler) after() {
	if name := c.from.AfterMatch.Step; name != "" {
		at, ok := c.steps[name]
		if !ok {
			c.fault("after_match: there is no step %q with when", name)
		}
		c.to.AfterStep = at
	}
	about := c.from.Finding.About
	if about == "" {
		i := slices.IndexFunc(c.to.Steps, func(s cep.Step) bool { return !s.Optional })
		about = c.to.Steps[max(i, 0)].Name
	}
	if _, ok := c.steps[about]; !ok {
		c.fault("finding.about: there is no step %q with when", about)
		return
	}
	c.to.AboutEntity = c.reference(about, cep.Operand{Field: cep.FieldEntity})
	c.to.AboutSignal = c.reference(about, cep.Operand{Field: cep.FieldSignal})
}

// identifier tells whether conditions can name it.
func identifier(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != "" && len(name) <= cep.MaxName
}
