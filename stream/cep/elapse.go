package cep

import (
	"math"
	"slices"
)

// The time of a run is over at its first event's time plus within: an event at
// that very moment does not belong to it any more (as in Flink). An absence
// that began with an event at t is complete at t + for, and an event at that
// moment does not disturb it; it may be complete in the last moment of a run's
// time.

// ends returns when the run's time is over.
func (p *Pattern) ends(r *run) int64 { return satAdd(r.time, p.Within) }

// nextOf is when something happens to a group without an event: its first run
// ends, or the absence at the end is complete.
func (m *machine) nextOf(g *group) int64 {
	next := m.ends(&g.runs[0])
	if g.open&finishBit != 0 && m.End.For > 0 {
		next = min(next, g.until)
	}
	return next
}

// arm tells the wheel when the key needs attention next. That may be too early,
// which is harmless: a timer is not moved for a later time.
func (e *Engine) arm(k *keyed) {
	if !k.timer.armed || k.next < k.timer.deadline {
		e.wheel.set(&k.timer, k.next)
	}
}

// survey computes anew what the key waits for.
func (k *keyed) survey() {
	k.next, k.wants = math.MaxInt64, 0
	for _, g := range k.groups {
		k.next = min(k.next, k.machine.nextOf(g.group))
		k.wants |= k.machine.wants(&g.state)
	}
}

// elapse lets event time come to now for a key: moment by moment, what is
// complete then is reported, and what is over ends. The key may be left
// without runs.
func (e *Engine) elapse(k *keyed, now int64) {
	for k.total > 0 && k.next <= now {
		k.survey()
		if k.next <= now {
			e.moment(k, k.next)
			k.survey()
		}
	}
}

// moment is one instant of elapse.
func (e *Engine) moment(k *keyed, at int64) {
	m := k.machine
	var done []completion
	var changed []*group
	for _, g := range k.groups {
		finished := g.open&finishBit != 0
		if finished && m.End.For > 0 && g.until <= at {
			done = append(done, completed(&g.state, g.runs)...)
			g.open, g.moves = g.open&^finishBit, true
			changed = append(changed, g.group)
			for i := range g.runs {
				g.runs[i].moved = true
			}
		}
		over := 0
		for over < len(g.runs) && m.ends(&g.runs[over]) <= at {
			over++
		}
		ended := g.runs[:over]
		if finished && m.End.For == 0 {
			done = append(done, completed(&g.state, ended)...)
		} else {
			m.counts.Expired += uint64(over)
			for i := range ended {
				e.expired(k, g.group, &ended[i])
			}
		}
		if over > 0 {
			g.runs = slices.Clone(g.runs[over:])
		}
	}
	k.tidy()
	by := k.index(m.byState, len(changed))
	for _, g := range changed {
		if g.open != 0 && len(g.runs) > 0 {
			k.put(g, by)
		}
	}
	e.finish(k, at, nil, done)
}

// due lets event time come to now for all keys whose timer has run out, in the
// order of their deadlines, and for the rest of that in a fixed order too.
func (e *Engine) due(now int64) {
	timers := e.wheel.advance(now, nil)
	slices.SortFunc(timers, compareTimers)
	for _, t := range timers {
		k := t.due
		e.elapse(k, now)
		if k.total == 0 {
			e.drop(k)
		} else {
			e.arm(k)
		}
	}
}
