package cep

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// oracle finds matches by trying every way to assign events to steps, and
// judging each by the definitions of docs/PATTERNS.md. It knows no runs,
// groups or deadlines, takes exponential time, and forgets nothing.
type oracle struct {
	*machine          // for its conditions and folds
	events   []*Event // those that the pattern sees of one key, in order
	found    []result
}

// assignment is a way to assign events to steps.
type assignment struct {
	events []int
	steps  []int
	state  state // count, mark and what is bound; the rest is unused
}

// result is a match: at is its end, seen the last event that precedes it.
type result struct {
	assignment
	at    int64
	event bool // it ended with an event, and not with an absence
	seen  int
}

func (o *oracle) when(step, event int, s *state) bool {
	return o.steps[step].when(&scope{o.events[event], s.numbers, s.texts})
}

// between tells whether an event from first up to but not including last
// matches.
func (o *oracle) between(first, last int, c func(*scope) bool, s *state) bool {
	for i := first; i < last; i++ {
		if c(&scope{o.events[i], s.numbers, s.texts}) {
			return true
		}
	}
	return false
}

// all finds every match, as if after_match were no_skip.
func (o *oracle) all() {
	for event := range o.events {
		for step := range o.Steps {
			if o.reachable(-1, step) && o.when(step, event, &o.blank) && !o.greedyBetween(-1, step, event, event+1, &o.blank) {
				o.grow(o.assign(assignment{state: o.blank}, event, step))
			}
		}
	}
}

// reachable tells whether all steps in between may be left out.
func (o *oracle) reachable(from, to int) bool {
	for _, s := range o.Steps[from+1 : to] {
		if !s.Optional {
			return false
		}
	}
	return true
}

// greedyBetween tells whether a greedy step in between could have taken one of
// the events.
func (o *oracle) greedyBetween(from, to, first, last int, s *state) bool {
	for step := from + 1; step < to; step++ {
		if o.Steps[step].Greedy && o.between(first, reach(o.Steps[step].Follow, first, last), o.steps[step].when, s) {
			return true
		}
	}
	return false
}

// reach is where the events end that a step could take at all: with strict
// contiguity there is only the first.
func reach(c Contiguity, first, last int) int {
	if c == Next {
		return min(first+1, last)
	}
	return last
}

// assign adds an event.
func (o *oracle) assign(a assignment, event, step int) assignment {
	count := 1
	if n := len(a.steps); n > 0 && a.steps[n-1] == step {
		count = int(a.state.count) + 1
	}
	to := state{count: int32(count), mark: a.state.mark, numbers: slices.Clone(a.state.numbers), texts: slices.Clone(a.state.texts)}
	for i := range o.Slots {
		if o.Slots[i].Step == step {
			o.folds[i](&scope{o.events[event], a.state.numbers, a.state.texts}, &to)
		}
	}
	if o.AfterStep == step && (o.After == SkipToLast || o.After == SkipToFirst && to.mark == 0) {
		to.mark = uint64(event) + 1
	}
	return assignment{append(slices.Clone(a.events), event), append(slices.Clone(a.steps), step), to}
}

// grow reports the assignment if it is a match, and tries all longer ones.
func (o *oracle) grow(a assignment) {
	last, step := a.events[len(a.events)-1], a.steps[len(a.steps)-1]
	if o.End == nil && o.completes(step, int(a.state.count)) {
		o.found = append(o.found, result{a, o.events[last].Time, true, last})
	}
	o.awaitEnd(a, last, step)
	for event := last + 1; event < len(o.events); event++ {
		if o.events[event].Time-o.events[a.events[0]].Time >= o.Within {
			return
		}
		if o.repeats(a, last, event, step) {
			o.grow(o.assign(a, event, step))
		}
		for later := step + 1; later < len(o.Steps); later++ {
			if o.follows(a, last, event, step, later) {
				o.grow(o.assign(a, event, later))
			}
		}
	}
}

// more tells whether the step may take another event.
func (o *oracle) more(a *assignment, step int) bool {
	return o.Steps[step].Max == 0 || int(a.state.count) < o.Steps[step].Max
}

// repeats tells whether the event may be the next of the same step.
func (o *oracle) repeats(a assignment, last, event, step int) bool {
	s := &o.Steps[step]
	if !o.more(&a, step) || !o.when(step, event, &a.state) {
		return false
	}
	switch s.Repeat {
	case Next:
		return event == last+1
	case Skip:
		return !o.between(last+1, event, o.steps[step].when, &a.state)
	}
	return true
}

// follows tells whether the event may be the first of a later step.
func (o *oracle) follows(a assignment, last, event, step, later int) bool {
	s, to := &o.Steps[step], &o.Steps[later]
	if int(a.state.count) < s.Min || !o.reachable(step, later) || !o.when(later, event, &a.state) {
		return false
	}
	if s.Greedy && o.more(&a, step) && o.between(last+1, reach(s.Repeat, last+1, event+1), o.steps[step].when, &a.state) {
		return false
	}
	if o.greedyBetween(step, later, last+1, event+1, &a.state) {
		return false
	}
	first := last + 1
	if absent := to.Absent; absent != nil {
		until := event
		if absent.For > 0 {
			end := o.events[last].Time + absent.For
			if o.events[event].Time < end {
				return false
			}
			for first < len(o.events) && o.events[first].Time < end {
				first++
			}
			until = first
		}
		if o.between(last+1, until, o.steps[later].absent, &a.state) {
			return false
		}
	}
	switch to.Follow {
	case Next:
		return event == first
	case Skip:
		return !o.between(first, event, o.steps[later].when, &a.state)
	}
	return true
}

// awaitEnd reports a match that ends with an absence.
func (o *oracle) awaitEnd(a assignment, last, step int) {
	s := &o.Steps[step]
	if o.End == nil || step != len(o.Steps)-1 || int(a.state.count) < s.Min {
		return
	}
	limit := o.events[a.events[0]].Time + o.Within
	end := limit
	if o.End.For > 0 {
		end = o.events[last].Time + o.End.For
	}
	if end > limit {
		return
	}
	seen := last
	for seen+1 < len(o.events) && o.events[seen+1].Time < end {
		seen++
	}
	if o.between(last+1, seen+1, o.end, &a.state) {
		return
	}
	if s.Greedy && o.more(&a, step) && o.between(last+1, reach(s.Repeat, last+1, seen+1), o.steps[step].when, &a.state) {
		return
	}
	o.found = append(o.found, result{a, end, false, seen})
}

// matches are what is left of all by after_match, one line each, with the
// evidence that each may name.
func (o *oracle) matches() (lines []string, evidence map[string][]string) {
	o.all()
	slices.SortStableFunc(o.found, func(a, b result) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seen, b.seen), compareBool(a.event, b.event), cmp.Compare(a.events[0], b.events[0]),
			slices.Compare(a.state.numbers, b.state.numbers), slices.Compare(a.state.texts, b.state.texts), cmp.Compare(a.state.mark, b.state.mark))
	})
	evidence = map[string][]string{}
	for i := 0; i < len(o.found); {
		f, ways := &o.found[i], uint64(0)
		var proofs []string
		for i < len(o.found) && o.found[i].same(f) {
			proofs = append(proofs, o.evidence(&o.found[i]))
			ways++
			i++
		}
		line := describe(o.Key, keyParts(o.keyText(f)), o.events[f.events[0]].Time, f.at, ways, f.state.numbers, f.state.texts)
		line = fmt.Sprintf("%s from %d", line, o.events[f.events[0]].Seq)
		lines = append(lines, line)
		evidence[line] = append(evidence[line], proofs...)
		o.found = append(o.found[:i:i], o.survivors(f, o.found[i:])...)
	}
	return lines, evidence
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (f *result) same(g *result) bool {
	return f.at == g.at && f.seen == g.seen && f.event == g.event && f.events[0] == g.events[0] && f.state.sameResult(&g.state)
}

// survivors are the later matches whose run a match does not take away: it had
// begun by then, within what after_match says.
func (o *oracle) survivors(f *result, later []result) []result {
	first, last := f.events[0], f.events[0]
	switch o.After {
	case NoSkip:
		return later
	case SkipPast:
		last = f.seen
	case SkipToFirst, SkipToLast:
		if f.state.mark == 0 {
			return later
		}
		last = int(f.state.mark) - 2
	}
	return slices.DeleteFunc(slices.Clone(later), func(g result) bool { return first <= g.events[0] && g.events[0] <= last })
}

func (o *oracle) keyText(f *result) string {
	o.keyOf(o.events[f.events[0]])
	return string(o.keyBuf)
}

// evidence is the sequences of a match's events, as far as a run keeps them.
func (o *oracle) evidence(f *result) string {
	var seqs []uint64
	for i, at := range f.events {
		if i < o.Limits.Events-1 || i == len(f.events)-1 {
			seqs = append(seqs, o.events[at].Seq)
		}
	}
	return fmt.Sprint(seqs)
}

// describe writes a match in one line.
func describe(names []Operand, key []string, start, end int64, ways uint64, numbers []int64, texts []string) string {
	return fmt.Sprintf("%v=%s %d..%d ×%d %v %q", names, strings.Join(key, ","), start, end, ways, numbers, texts)
}
