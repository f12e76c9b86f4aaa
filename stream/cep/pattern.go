package cep

import (
	"time"

	"pando/event"
	"pando/stream/anomaly"
)

// Bounds of a set of patterns.
const (
	MaxPatterns = 256 // each is asked about each new series once
	MaxSteps    = 12  // alternatives of a run fit 16 bits
	MaxSlots    = 32
	MaxKeyParts = 4
	MaxTimes    = 1 << 16
	MaxName     = 64 // bytes of the name of a pattern, a step, a fold; as of a rule

	MinWithin = time.Millisecond
	MaxWithin = 366 * 24 * time.Hour
)

// Scope says on which tier a pattern runs.
type Scope uint8

const (
	Relay Scope = iota // sees the events of a region
	Root               // sees the findings of all regions
	scopeEnd
)

// Contiguity says which events may lie between two that belong to a match.
type Contiguity uint8

const (
	Skip Contiguity = iota // any that do not match; Flink's relaxed contiguity
	Next                   // none of the key; strict contiguity
	Any                    // any at all; non-deterministic relaxed contiguity
	contiguityEnd
)

// Strategy says what a match takes with it of the runs that are under way.
type Strategy uint8

const (
	NoSkip      Strategy = iota // nothing
	SkipToNext                  // the runs that began with the same event
	SkipPast                    // all that began since the match began
	SkipToFirst                 // those that began before the first event of a step
	SkipToLast                  // those that began before the last event of a step
	strategyEnd
)

// Overflow names what is given up when a limit is reached.
type Overflow uint8

const (
	DropOldest Overflow = iota // the runs that began first, the keys that moved least recently
	DropNewest                 // the runs that began last; new keys are not taken
	overflowEnd
)

// FoldOp is how the events of a step become one value.
type FoldOp uint8

const (
	Count FoldOp = iota
	Sum          // of numbers
	Min          // of numbers
	Max          // of numbers
	First        // number or text
	Last         // number or text
	foldEnd
)

// Slot is a value that a run binds: a fold over the events of a step, named or
// made for a condition that refers to the step's last event. Before the
// step's first event it is 0 or "".
type Slot struct {
	Step int    // index of the step
	Name string // as the pattern calls it, such as login.entity
	Op   FoldOp
	Of   Node // reads the event, and slots as they were before it; unused for Count
}

// Absence demands that no event matches for a while.
type Absence struct {
	Name string
	When Node
	// For is how long, in nanoseconds from the event before. 0 is until the
	// next step's event comes; at the end of a pattern, until its time is over.
	For int64
}

// Step is one or more events that match a condition.
type Step struct {
	Name     string
	When     Node
	Absent   *Absence   // between the event before and this step's first, or nil
	Follow   Contiguity // from the event before to this step's first
	Repeat   Contiguity // from one event of this step to the next
	Min, Max int        // events; Max 0 is without end
	Greedy   bool       // later steps wait while an event can still be one of this step
	Optional bool       // or no event at all
}

// Limits bound what a pattern keeps.
type Limits struct {
	Runs     int // begun and not over, of one key
	Keys     int
	Events   int // kept as evidence, of one run: the first ones, and the latest
	Text     int // bytes of a text that a slot binds; longer ones are cut. Longer keys are refused
	Overflow Overflow
}

// Report is what the finding of a match says.
type Report struct {
	Class    anomaly.Class
	Severity event.Severity
	Summary  string // for people
}

// Pattern is a compiled pattern. It is immutable once it is in a [Set].
type Pattern struct {
	Name      string
	Scope     Scope
	Key       []Operand // texts; an event without one of them is not seen
	Within    int64     // nanoseconds from the first event to the last, and less than that
	Where     *Node     // which events the pattern sees at all; nil is every one
	Slots     []Slot
	Steps     []Step
	End       *Absence // after the last step, or nil
	After     Strategy
	AfterStep int // index of the step, for SkipToFirst and SkipToLast
	Limits    Limits
	Report    Report
	// AboutEntity and AboutSignal are the slots that name the finding's series.
	AboutEntity, AboutSignal int
}

// strict tells whether events that match nothing matter to the pattern.
func (p *Pattern) strict() bool {
	for i := range p.Steps {
		if i > 0 && p.Steps[i].Follow == Next || p.Steps[i].Max != 1 && p.Steps[i].Repeat == Next {
			return true
		}
	}
	return false
}

// completes tells whether a run that took its count-th event of a step may be
// a match.
func (p *Pattern) completes(step, count int) bool {
	if count < p.Steps[step].Min {
		return false
	}
	for _, later := range p.Steps[step+1:] {
		if !later.Optional {
			return false
		}
	}
	return true
}

// types are those of the slots, and places their indices among those of the
// same type.
func (p *Pattern) types() (types []Type, places []int) {
	var count [Text + 1]int
	for i := range p.Slots {
		t := Number
		if op := p.Slots[i].Op; op == First || op == Last {
			// Slots read earlier ones only, so their types are known here.
			t, _ = p.Slots[i].Of.check(types)
		}
		types = append(types, t)
		places = append(places, count[t])
		count[t]++
	}
	return types, places
}

// conditions visits every node that reads an event.
func (p *Pattern) conditions(visit func(*Node)) {
	if p.Where != nil {
		visit(p.Where)
	}
	for i := range p.Slots {
		if p.Slots[i].Op != Count {
			visit(&p.Slots[i].Of)
		}
	}
	for i := range p.Steps {
		visit(&p.Steps[i].When)
		if a := p.Steps[i].Absent; a != nil {
			visit(&a.When)
		}
	}
	if p.End != nil {
		visit(&p.End.When)
	}
}

// attributes adds the names of those that the pattern reads.
func (p *Pattern) attributes(into map[string]bool) {
	for _, part := range p.Key {
		if part.Field == FieldAttr {
			into[part.Attr] = true
		}
	}
	p.conditions(func(n *Node) {
		n.walk(func(n *Node) {
			if n.Op == OpField && Field(n.Number) == FieldAttr {
				into[n.Text] = true
			}
		})
	})
}
