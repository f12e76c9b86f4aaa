// Package pattern is the language that patterns are written in: plain structs
// for the YAML of a file (see [File]), and its translation into what
// [pando/stream/cep] runs. Conditions are parsed and type-checked by
// expr-lang/expr; its virtual machine is never used. docs/PATTERNS.md describes
// the language by example.
package pattern

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pando/event"
	"pando/stream/anomaly"
	"pando/stream/cep"
)

// File is a file of patterns.
type File struct {
	Patterns []Pattern `yaml:"patterns"`
}

// Pattern is one pattern as it is written.
type Pattern struct {
	Name       string        `yaml:"name"`
	Scope      Scope         `yaml:"scope"`       // relay or root
	Key        []string      `yaml:"key"`         // fields, attr.NAME for attributes
	Within     time.Duration `yaml:"within"`      // from the first event to the last
	Where      string        `yaml:"where"`       // condition for an event to be seen at all
	Steps      []Step        `yaml:"steps"`       // in order
	AfterMatch AfterMatch    `yaml:"after_match"` // no_skip, skip_to_next, skip_past_last, skip_to_first STEP, skip_to_last STEP
	Limits     Limits        `yaml:"limits"`
	Finding    Finding       `yaml:"finding"`
}

// Step is one step: When, and what goes with it, for events that must come;
// Absent for events that must not.
type Step struct {
	Name     string        `yaml:"name"`
	When     string        `yaml:"when"`
	Follow   Contiguity    `yaml:"follow"` // from the event before: skip (the default), next, any
	Times    Times         `yaml:"times"`  // 3, 2..4, 2+; default 1
	Repeat   Contiguity    `yaml:"repeat"` // from one event of the step to the next
	Greedy   bool          `yaml:"greedy"`
	Optional bool          `yaml:"optional"`
	Fold     []Fold        `yaml:"fold"`
	Absent   string        `yaml:"absent"` // condition
	For      time.Duration `yaml:"for"`    // of an absent step; 0: until the next step, or until within is over
}

// Fold is a value over the events that a step took, which conditions may refer
// to as STEP.NAME.
type Fold struct {
	Name string `yaml:"name"`
	Op   FoldOp `yaml:"op"` // count, sum, min, max, first, last
	Of   string `yaml:"of"` // expression; not for count
}

// Limits bound what a pattern keeps; 0 is the default.
type Limits struct {
	MaxRuns   int      `yaml:"max_runs"`   // of one key
	MaxKeys   int      `yaml:"max_keys"`   //
	MaxEvents int      `yaml:"max_events"` // of evidence, of one run
	MaxText   int      `yaml:"max_text"`   // bytes of a key, and of a text that a run keeps
	Overflow  Overflow `yaml:"overflow"`   // drop_oldest (the default), drop_newest
}

// Defaults of the limits: an incident rarely has more branches, and one pattern
// stays near 60 MB in the worst case.
const (
	DefaultRuns   = 32
	DefaultKeys   = 4096
	DefaultEvents = 8
	DefaultText   = 256
)

// Finding is what a match says.
type Finding struct {
	Class    anomaly.Class `yaml:"class"`
	Severity anomaly.Level `yaml:"severity"` // default: error
	Summary  string        `yaml:"summary"`
	About    string        `yaml:"about"` // the step whose last event names entity and signal; default: the first that is not optional
}

// words turns a word of the language into its value.
func words[T ~uint8](into *T, text []byte, names ...string) error {
	for i, name := range names {
		if name == string(text) {
			*into = T(i)
			return nil
		}
	}
	return fmt.Errorf("%q: want %s", text, strings.Join(names, ", "))
}

// Scope is the tier that a pattern runs on.
type Scope cep.Scope

// UnmarshalText reads relay or root.
func (s *Scope) UnmarshalText(text []byte) error { return words(s, text, "relay", "root") }

// Contiguity says which events may lie between two of a match.
type Contiguity cep.Contiguity

// UnmarshalText reads skip, next or any.
func (c *Contiguity) UnmarshalText(text []byte) error { return words(c, text, "skip", "next", "any") }

// Overflow says what is given up when a limit is reached.
type Overflow cep.Overflow

// UnmarshalText reads drop_oldest or drop_newest.
func (o *Overflow) UnmarshalText(text []byte) error {
	return words(o, text, "drop_oldest", "drop_newest")
}

// FoldOp is how values become one.
type FoldOp cep.FoldOp

// UnmarshalText reads the name of an operation.
func (o *FoldOp) UnmarshalText(text []byte) error {
	return words(o, text, "count", "sum", "min", "max", "first", "last")
}

// AfterMatch is a strategy, and the step that it names.
type AfterMatch struct {
	Strategy cep.Strategy
	Step     string
}

// UnmarshalText reads a strategy, and its step behind a space.
func (a *AfterMatch) UnmarshalText(text []byte) error {
	name, step, _ := strings.Cut(string(text), " ")
	if err := words(&a.Strategy, []byte(name), "no_skip", "skip_to_next", "skip_past_last", "skip_to_first", "skip_to_last"); err != nil {
		return err
	}
	a.Step = strings.TrimSpace(step)
	if named := a.Strategy >= cep.SkipToFirst; named != (a.Step != "") {
		return fmt.Errorf("%q: skip_to_first and skip_to_last want the name of a step, such as \"skip_to_last retry\"; the others want none", text)
	}
	return nil
}

// Times is how many events a step takes. Zero is one.
type Times struct {
	Min, Max int // Max 0 is without end
}

// UnmarshalText reads 3, 2..4 or 2+.
func (t *Times) UnmarshalText(text []byte) error {
	low, high, ranged := strings.Cut(string(text), "..")
	low, open := strings.CutSuffix(low, "+")
	least, err := strconv.ParseUint(low, 10, 16)
	most := least
	if err == nil && ranged {
		most, err = strconv.ParseUint(high, 10, 16)
	}
	if err != nil || open && ranged || least < 1 || most < least {
		return fmt.Errorf("times %q: want a number from 1, a range such as 2..4, or 2+ for two or more; for none at all use optional", text)
	}
	*t = Times{int(least), int(most)}
	if open {
		t.Max = 0
	}
	return nil
}

// defaultSeverity is that of a finding that says none.
const defaultSeverity = event.SeverityError
