package cep

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/anomaly"
)

// codeVersion is that of the encoding of a set, and of what its operations
// mean. A node that does not know it refuses the set.
const codeVersion = 1

// Append writes the set with all its conditions: what a log or a Raft entry
// carries, so that whoever reads it runs exactly this.
func (s *Set) Append(w *pack.Writer) {
	w.Uint(codeVersion)
	w.Array(len(s.patterns))
	for _, p := range s.patterns {
		p.appendMeaning(w)
		w.Uint(uint64(p.Report.Class))
		w.Uint(uint64(p.Report.Severity))
		w.String(p.Report.Summary)
	}
}

// ReadSet reads what [Set.Append] wrote, and checks all of it again.
func ReadSet(r *pack.Reader) (*Set, error) {
	if v := r.Uint("version of patterns", math.MaxUint64); r.Err() == nil && v != codeVersion {
		r.Fail("version of patterns", fmt.Errorf("%d is unknown, %d is understood", v, codeVersion))
	}
	var patterns []*Pattern
	for n := r.Array("patterns", MaxPatterns); n > 0 && r.Err() == nil; n-- {
		p := readMeaning(r)
		p.Report.Class = anomaly.Class(r.Uint("class", uint64(anomaly.Novelty)))
		p.Report.Severity = event.Severity(r.Uint("severity", uint64(event.MaxSeverity)))
		p.Report.Summary = readText(r, "summary", anomaly.MaxText)
		patterns = append(patterns, p)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read patterns: %w", err)
	}
	set, err := NewSet(patterns)
	if err != nil {
		return nil, fmt.Errorf("read patterns: %w: %w", pack.ErrMalformed, err)
	}
	return set, nil
}

// appendMeaning writes all that decides what the pattern matches and keeps.
func (p *Pattern) appendMeaning(w *pack.Writer) {
	w.String(p.Name)
	w.Uint(uint64(p.Scope))
	w.Array(len(p.Key))
	for _, part := range p.Key {
		w.Uint(uint64(part.Field))
		w.String(part.Attr)
	}
	w.Int(p.Within)
	w.Bool(p.Where != nil)
	if p.Where != nil {
		AppendNode(w, p.Where)
	}
	w.Array(len(p.Slots))
	for i := range p.Slots {
		s := &p.Slots[i]
		w.Uint(uint64(s.Step))
		w.String(s.Name)
		w.Uint(uint64(s.Op))
		if s.Op != Count {
			AppendNode(w, &s.Of)
		}
	}
	w.Array(len(p.Steps))
	for i := range p.Steps {
		appendStep(w, &p.Steps[i])
	}
	appendAbsence(w, p.End)
	w.Uint(uint64(p.After))
	w.Uint(uint64(p.AfterStep))
	w.Uint(uint64(p.AboutEntity))
	w.Uint(uint64(p.AboutSignal))
	w.Uint(uint64(p.Limits.Runs))
	w.Uint(uint64(p.Limits.Keys))
	w.Uint(uint64(p.Limits.Events))
	w.Uint(uint64(p.Limits.Text))
	w.Uint(uint64(p.Limits.Overflow))
}

func appendStep(w *pack.Writer, s *Step) {
	w.String(s.Name)
	AppendNode(w, &s.When)
	appendAbsence(w, s.Absent)
	w.Uint(uint64(s.Follow))
	w.Uint(uint64(s.Repeat))
	w.Uint(uint64(s.Min))
	w.Uint(uint64(s.Max))
	w.Bool(s.Greedy)
	w.Bool(s.Optional)
}

func appendAbsence(w *pack.Writer, a *Absence) {
	w.Bool(a != nil)
	if a != nil {
		w.String(a.Name)
		AppendNode(w, &a.When)
		w.Int(a.For)
	}
}

func readMeaning(r *pack.Reader) *Pattern {
	small := func(field string) int { return int(r.Uint(field, math.MaxInt32)) }
	p := &Pattern{Name: readText(r, "name", MaxName), Scope: Scope(r.Uint("scope", uint64(scopeEnd)-1))}
	for n := r.Array("key", MaxKeyParts); n > 0; n-- {
		p.Key = append(p.Key, Operand{Field(r.Uint("field", uint64(fieldEnd)-1)), readText(r, "attribute", event.MaxName)})
	}
	p.Within = r.Int("within")
	if r.Bool("where") {
		where := ReadNode(r)
		p.Where = &where
	}
	for n := r.Array("slots", MaxSlots); n > 0 && r.Err() == nil; n-- {
		s := Slot{Step: small("step"), Name: readText(r, "fold", 2*MaxName+1+event.MaxName), Op: FoldOp(r.Uint("fold", uint64(foldEnd)-1))}
		if s.Op != Count {
			s.Of = ReadNode(r)
		}
		p.Slots = append(p.Slots, s)
	}
	for n := r.Array("steps", MaxSteps); n > 0 && r.Err() == nil; n-- {
		p.Steps = append(p.Steps, readStep(r))
	}
	p.End = readAbsence(r)
	p.After = Strategy(r.Uint("after match", uint64(strategyEnd)-1))
	p.AfterStep = small("after match")
	p.AboutEntity, p.AboutSignal = small("about"), small("about")
	p.Limits = Limits{
		Runs: small("runs"), Keys: small("keys"), Events: small("events"), Text: small("text"),
		Overflow: Overflow(r.Uint("overflow", uint64(overflowEnd)-1)),
	}
	return p
}

func readStep(r *pack.Reader) Step {
	return Step{
		Name: readText(r, "step", MaxName), When: ReadNode(r), Absent: readAbsence(r),
		Follow: Contiguity(r.Uint("follow", uint64(contiguityEnd)-1)),
		Repeat: Contiguity(r.Uint("repeat", uint64(contiguityEnd)-1)),
		Min:    int(r.Uint("least", MaxTimes)), Max: int(r.Uint("most", MaxTimes)),
		Greedy: r.Bool("greedy"), Optional: r.Bool("optional"),
	}
}

func readAbsence(r *pack.Reader) *Absence {
	if !r.Bool("absent") {
		return nil
	}
	return &Absence{Name: readText(r, "absent step", MaxName), When: ReadNode(r), For: r.Int("for")}
}

// readText reads a string that may go to a terminal, so it must be UTF-8.
func readText(r *pack.Reader, field string, limit int) string {
	s := r.String(field, limit)
	if r.Err() == nil && !utf8.ValidString(s) {
		r.Fail(field, errors.New("not valid UTF-8"))
	}
	return s
}
