package cep

import (
	"cmp"
	"math"
	"slices"
	"unique"
)

// taking is an event taken by the runs of a group, or by a new run.
type taking struct {
	from *group // nil if a run begins
	to   state
	runs []run // that go on; see settle
}

// observe steps the event, which may meet some of the pattern's conditions.
func (e *Engine) observe(m *machine, x *occurrence) {
	x.scope.event = x.event
	if m.where != nil && !m.where(&x.scope) || !m.keyOf(x.event) {
		return
	}
	k := m.keys[string(m.keyBuf)]
	if k != nil {
		e.elapse(k, x.event.Time)
		if k.total == 0 {
			e.drop(k)
			k = nil
		}
	}
	m.takes, m.changed = m.takes[:0], m.changed[:0]
	if k != nil && x.wanted&k.wants != 0 {
		for _, g := range k.groups {
			if open := e.alternatives(m, k, g.group, x); open != g.open {
				g.open, g.moves = open, true
				m.changed = append(m.changed, g.group)
			}
		}
	}
	m.begin(x)
	if len(m.changed) > 0 || len(m.takes) > 0 {
		e.settle(m, k, x)
	}
}

// alternatives returns what is left open to a group after the event, and adds
// what takes it to the machine's takes.
func (e *Engine) alternatives(m *machine, k *keyed, g *group, x *occurrence) uint16 {
	open, step, before := g.open, int(g.step), len(m.takes)
	s := &m.Steps[step]
	if open&repeatBit != 0 {
		if x.holds(stepBit(step), m.steps[step].when, &g.state) {
			m.take(g, x, step, int(g.count)+1)
			if s.Repeat != Any {
				open &^= repeatBit
			}
			if s.Greedy {
				open &= repeatBit
			}
		} else if s.Repeat == Next {
			open &^= repeatBit
		}
	}
	for later := step + 1; later < len(m.Steps); later++ {
		if bit := laterBit(step, later); open&bit != 0 {
			open = m.enter(g, x, later, open, bit)
		}
	}
	if open&finishBit != 0 && x.holds(endBit, m.end, &g.state) {
		open &^= finishBit
	}
	if open == 0 && len(m.takes) == before {
		e.died(k, g, x, g.open)
	}
	return open
}

// enter tries the event as the first of a later step, whose alternative is
// open.
func (m *machine) enter(g *group, x *occurrence, later int, open, bit uint16) uint16 {
	s, linked := &m.Steps[later], &m.steps[later]
	if s.Absent != nil && x.event.Time < g.until {
		// The absence is not complete yet, so the step cannot begin.
		if x.holds(absentBit(later), linked.absent, &g.state) {
			open &^= bit
		}
		return open
	}
	switch {
	case x.holds(stepBit(later), linked.when, &g.state):
		m.take(g, x, later, 1)
		if s.Follow != Any {
			open &^= bit
		}
		if s.Optional && s.Greedy {
			open &= bit | (bit - 1) // those after it waited for it
		}
	case s.Follow == Next:
		open &^= bit
	}
	if s.Absent != nil && s.Absent.For == 0 && x.holds(absentBit(later), linked.absent, &g.state) {
		open &^= bit
	}
	return open
}

func (m *machine) take(g *group, x *occurrence, step, count int) {
	m.takes = append(m.takes, taking{from: g, to: m.taken(x, &g.state, step, count)})
}

// begin starts a run with the event, at each step at which one may start.
func (m *machine) begin(x *occurrence) {
	for step := range m.Steps {
		s := &m.Steps[step]
		if x.holds(stepBit(step), m.steps[step].when, &m.blank) {
			m.takes = append(m.takes, taking{to: m.taken(x, &m.blank, step, 1)})
			if s.Greedy && s.Optional {
				return
			}
		}
		if !s.Optional {
			return
		}
	}
}

// settle puts what took the event, and what it left fewer alternatives to, among
// the key's groups, and reports the matches. K is nil if the key has no runs
// yet.
func (e *Engine) settle(m *machine, k *keyed, x *occurrence) {
	fresh := k == nil
	if fresh {
		k = &keyed{machine: m, text: string(m.keyBuf), next: math.MaxInt64}
		k.timer.due = k
	}
	// All runs are taken before any group changes by what others come to.
	for i := range m.takes {
		t := &m.takes[i]
		last := i+1 == len(m.takes) || m.takes[i+1].from != t.from
		t.runs = m.took(t, x, last)
	}
	if len(m.changed) > 0 {
		k.tidy()
	}
	by := k.index(m.byState, len(m.changed)+len(m.takes))
	for _, g := range m.changed {
		if g.open != 0 {
			k.put(g, by)
		}
	}
	var done []completion
	for i := range m.takes {
		t := &m.takes[i]
		if m.End == nil && m.completes(int(t.to.step), int(t.to.count)) {
			done = append(done, completed(&t.to, t.runs)...)
			for i := range t.runs {
				t.runs[i].moved = true // whatever else it may become
			}
		}
		if t.to.open != 0 {
			g := &group{state: t.to, runs: t.runs}
			k.put(g, by)
			k.next, k.wants = min(k.next, m.nextOf(g)), k.wants|m.wants(&g.state)
		}
	}
	e.finish(k, x.event.Time, x, done)
	m.counts.DroppedRuns += uint64(k.trim(m.Limits.Runs, m.Limits.Overflow))
	clear(m.takes)
	clear(m.changed)
	switch {
	case k.total == 0 && !fresh:
		e.drop(k)
	case k.total > 0 && (!fresh || e.admits(m)):
		if fresh {
			m.keys[k.text] = k
			m.append(k)
		}
		m.touch(k)
		e.arm(k)
	}
}

// took returns the runs that go on with a taking: those of its group with the
// event as evidence, or a new one. After the group's last taking its own are
// used, if nothing is left open to it.
func (m *machine) took(t *taking, x *occurrence, last bool) []run {
	ref := Ref{Unit: unique.Make(x.event.Unit), Seq: x.event.Seq, Time: x.event.Time, Step: t.to.step}
	if t.from == nil {
		m.counts.Started++
		return []run{{start: x.order, time: x.event.Time, onset: x.event.Onset, ways: 1, evidence: []Ref{ref}}}
	}
	runs := t.from.runs
	if t.from.open != 0 || !last {
		runs = slices.Clone(runs)
	}
	for i := range runs {
		t.from.runs[i].moved = true
		runs[i].moved = false
		runs[i].evidence = m.withEvidence(runs[i].evidence, ref)
	}
	return runs
}

// withEvidence adds an event: if there is no room, in the place of the latest.
func (m *machine) withEvidence(have []Ref, ref Ref) []Ref {
	if len(have) >= m.Limits.Events {
		m.counts.Unkept++
		have = have[:m.Limits.Events-1]
	}
	out := make([]Ref, len(have)+1)
	copy(out, have)
	out[len(have)] = ref
	return out
}

// admits tells whether there is room for another key, and makes some if the
// pattern's policy says so.
func (e *Engine) admits(m *machine) bool {
	if len(m.keys) < m.Limits.Keys {
		return true
	}
	if m.Limits.Overflow == DropNewest {
		m.counts.RefusedKeys++
		return false
	}
	m.counts.DroppedKeys++
	m.counts.DroppedRuns += uint64(m.oldest.total)
	e.drop(m.oldest)
	return true
}

// drop forgets a key.
func (e *Engine) drop(k *keyed) {
	e.wheel.stop(&k.timer)
	delete(k.machine.keys, k.text)
	k.machine.unlink(k)
}

// touch makes a key the one that moved last.
func (m *machine) touch(k *keyed) {
	if m.newest != k {
		m.unlink(k)
		m.append(k)
	}
}

func (m *machine) append(k *keyed) {
	k.older, k.newer = m.newest, nil
	if m.newest != nil {
		m.newest.newer = k
	} else {
		m.oldest = k
	}
	m.newest = k
}

func (m *machine) unlink(k *keyed) {
	if k.older != nil {
		k.older.newer = k.newer
	} else {
		m.oldest = k.newer
	}
	if k.newer != nil {
		k.newer.older = k.older
	} else {
		m.newest = k.older
	}
}

// completion is a run that became a match.
type completion struct {
	state *state
	run   run
}

func completed(s *state, runs []run) []completion {
	out := make([]completion, len(runs))
	for i := range runs {
		out[i] = completion{s, runs[i]}
	}
	return out
}

// finish reports the matches of one moment, in the order in which they began,
// and lets each take away what after_match says. Those that began with the same
// event and bound the same values are one.
func (e *Engine) finish(k *keyed, at int64, x *occurrence, done []completion) {
	m := k.machine
	slices.SortStableFunc(done, func(a, b completion) int {
		return cmp.Or(cmp.Compare(a.run.start, b.run.start), a.state.compare(b.state))
	})
	var joined []completion
	for _, c := range done {
		if n := len(joined); n > 0 && joined[n-1].run.start == c.run.start && joined[n-1].state.sameResult(c.state) {
			joined[n-1].run = joined[n-1].run.join(&c.run)
			continue
		}
		joined = append(joined, c)
	}
	for len(joined) > 0 {
		c := joined[0]
		joined = joined[1:]
		e.report(k, at, x, &c)
		from, to, some := m.skips(&c)
		if !some {
			continue
		}
		before := len(joined)
		joined = slices.DeleteFunc(joined, func(c completion) bool { return from <= c.run.start && c.run.start <= to })
		m.counts.Skipped += uint64(k.prune(from, to) + before - len(joined))
	}
}

// skips returns which runs a match takes away, by the order of their first
// events.
func (m *machine) skips(c *completion) (from, to uint64, some bool) {
	start := c.run.start
	switch m.After {
	case SkipToNext:
		return start, start, true
	case SkipPast:
		return start, ^uint64(0), true
	case SkipToFirst, SkipToLast:
		return start, c.state.mark - 1, c.state.mark > start
	}
	return 0, 0, false
}
