package cep

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// machine runs one pattern.
type machine struct {
	*Pattern
	hash    Hash
	number  int // index in the engine's set
	types   []Type
	places  []int
	numbers int // slots that are numbers
	texts   int // slots that are texts
	where   condition
	steps   []linkedStep
	end     condition
	folds   []func(*scope, *state) // beside Slots: bind the event
	blank   state                  // before the first event

	keys           map[string]*keyed
	oldest, newest *keyed // in the order in which they moved last
	counts         Counts

	// Scratch, of the one event that is stepped.
	takes   []taking
	changed []*group // whose alternatives became fewer
	byState lookup
	keyBuf  []byte
}

type linkedStep struct {
	when   condition
	absent condition // nil if the step has none
}

// keyed is the state of one key of a pattern. It exists while it has runs.
type keyed struct {
	machine *machine
	text    string
	population
	wants        uint64 // conditions that matter to one of the groups, and maybe others
	next         int64  // nothing happens to a group without an event before
	timer        timer
	older, newer *keyed
}

// Counts tell what became of a pattern's events and runs. They only rise.
type Counts struct {
	Started     uint64 // runs
	Matched     uint64 // matches reported
	Expired     uint64 // runs whose time was over
	Skipped     uint64 // runs and matches that after_match took away
	DroppedRuns uint64 // above max_runs
	DroppedKeys uint64 // above max_keys, with their runs
	RefusedKeys uint64 // events that would have made one key too many
	LongKeys    uint64 // events whose key is longer than max_text
	Cut         uint64 // texts that were cut to max_text
	Unkept      uint64 // events that are no evidence, as there were max_events already
}

// fields lists the counts in the order of the snapshot.
func (c *Counts) fields() []*uint64 {
	return []*uint64{&c.Started, &c.Matched, &c.Expired, &c.Skipped, &c.DroppedRuns, &c.DroppedKeys,
		&c.RefusedKeys, &c.LongKeys, &c.Cut, &c.Unkept}
}

// occurrence is an event on its way through the patterns.
type occurrence struct {
	event  *Event
	order  uint64 // among all that the engine stepped, from 1
	wanted uint64 // conditions that might hold
	scope  scope
}

func newMachine(p *Pattern, hash Hash, number int) *machine {
	m := &machine{Pattern: p, hash: hash, number: number, keys: make(map[string]*keyed)}
	m.byState = make(lookup)
	m.types, m.places = p.types()
	for _, t := range m.types {
		if t == Number {
			m.numbers++
		} else {
			m.texts++
		}
	}
	m.blank = state{numbers: make([]int64, m.numbers), texts: make([]string, m.texts)}
	l := &linker{m.types, m.places}
	if p.Where != nil {
		m.where = l.condition(p.Where)
	}
	for i := range p.Steps {
		s := linkedStep{when: l.condition(&p.Steps[i].When)}
		if a := p.Steps[i].Absent; a != nil {
			s.absent = l.condition(&a.When)
		}
		m.steps = append(m.steps, s)
	}
	if p.End != nil {
		m.end = l.condition(&p.End.When)
	}
	for i := range p.Slots {
		m.folds = append(m.folds, m.fold(l, i))
	}
	return m
}

// fold returns how a slot takes in an event of its step: it reads the scope,
// which is as before the event, and writes the new state.
func (m *machine) fold(l *linker, slot int) func(*scope, *state) {
	s, at := &m.Slots[slot], m.places[slot]
	if s.Op == Count {
		return func(_ *scope, to *state) { to.numbers[at] = add(to.numbers[at], Scale) }
	}
	if m.types[slot] == Text {
		of := l.text(&s.Of)
		return func(from *scope, to *state) {
			if s.Op == Last || to.count == 1 {
				to.texts[at] = m.bind(of(from))
			}
		}
	}
	of := l.number(&s.Of)
	return func(from *scope, to *state) {
		v, old, first := of(from), to.numbers[at], to.count == 1
		switch {
		case s.Op == Sum:
			v = add(old, v)
		case first || s.Op == Last:
		case s.Op == First:
			v = old
		case s.Op == Min:
			v = min(old, v)
		case s.Op == Max:
			v = max(old, v)
		}
		to.numbers[at] = v
	}
}

// bind copies a text that a run keeps, as far as it may.
func (m *machine) bind(text string) string {
	if len(text) > m.Limits.Text {
		m.counts.Cut++
		text = clip(text, m.Limits.Text)
	}
	return strings.Clone(text)
}

// clip shortens s to at most limit bytes at a character's boundary.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// holds evaluates a condition, unless the index knows that it cannot hold.
func (x *occurrence) holds(bit uint64, c condition, of *state) bool {
	if x.wanted&bit == 0 {
		return false
	}
	x.scope.numbers, x.scope.texts = of.numbers, of.texts
	return c(&x.scope)
}

// keyOf writes the event's key into the machine's buffer; false if the event
// has none that is allowed.
func (m *machine) keyOf(e *Event) bool {
	m.keyBuf = m.keyBuf[:0]
	size := 0
	for _, part := range m.Key {
		text := e.text(part)
		if text == "" {
			return false
		}
		size += len(text)
		m.keyBuf = binary.AppendUvarint(m.keyBuf, uint64(len(text)))
		m.keyBuf = append(m.keyBuf, text...)
	}
	if size > m.Limits.Text {
		m.counts.LongKeys++
		return false
	}
	return true
}

// keyParts splits what [machine.keyOf] wrote.
func keyParts(key string) []string {
	var parts []string
	for b := []byte(key); len(b) > 0; {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil
		}
		parts = append(parts, string(b[size:size+int(n)]))
		b = b[size+int(n):]
	}
	return parts
}

// taken is the state after an event became the count-th of a step.
func (m *machine) taken(x *occurrence, from *state, step, count int) state {
	s := &m.Steps[step]
	to := state{step: uint8(step), count: int32(count), mark: from.mark}
	to.numbers = slices.Clone(from.numbers)
	to.texts = slices.Clone(from.texts)
	x.scope.numbers, x.scope.texts = from.numbers, from.texts
	for i := range m.Slots {
		if m.Slots[i].Step == step {
			m.folds[i](&x.scope, &to)
		}
	}
	if m.AfterStep == step && (m.After == SkipToLast || m.After == SkipToFirst && to.mark == 0) {
		to.mark = x.order
	}
	if s.Max == 0 {
		to.count = int32(min(count, s.Min))
	}
	to.open = m.openings(step, count)
	if to.open&laterBit(step, step+1) != 0 && step+1 < len(m.Steps) && m.Steps[step+1].Absent != nil {
		to.until = absenceEnd(m.Steps[step+1].Absent, x.event.Time)
	}
	if to.open&finishBit != 0 {
		to.until = absenceEnd(m.End, x.event.Time)
	}
	return to
}

func absenceEnd(a *Absence, from int64) int64 {
	if a.For == 0 {
		return 0
	}
	return satAdd(from, a.For)
}

// satAdd adds a duration to a root time; it stays at the end of time.
func satAdd(t, d int64) int64 {
	if t > math.MaxInt64-d {
		return math.MaxInt64
	}
	return t + d
}

// openings are the alternatives after the count-th event of a step.
func (p *Pattern) openings(step, count int) uint16 {
	var open uint16
	s := &p.Steps[step]
	if s.Max == 0 || count < s.Max {
		open |= repeatBit
	}
	if count < s.Min {
		return open
	}
	for later := step + 1; later < len(p.Steps); later++ {
		open |= laterBit(step, later)
		if !p.Steps[later].Optional {
			return open
		}
	}
	if p.End != nil {
		open |= finishBit
	}
	return open
}

// wants are the conditions that matter to a run in that state.
func (p *Pattern) wants(s *state) uint64 {
	step, bits := int(s.step), uint64(0)
	if s.open&repeatBit != 0 {
		bits |= stepBit(step)
	}
	for later := step + 1; later < len(p.Steps); later++ {
		if s.open&laterBit(step, later) != 0 {
			bits |= stepBit(later) | absentBit(later)
		}
	}
	if s.open&finishBit != 0 {
		bits |= endBit
	}
	return bits | seenBit
}
