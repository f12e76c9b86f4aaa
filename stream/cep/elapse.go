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

// arm computes when the key needs attention next, and tells the wheel. A timer
// that comes too early is harmless, so it is not moved for a later time.
func (e *Engine) arm(k *keyed) {
	k.next = math.MaxInt64
	for _, g := range k.groups {
		k.next = min(k.next, k.machine.nextOf(g))
	}
	if !k.timer.armed || k.next < k.timer.deadline {
		e.wheel.set(&k.timer, k.next)
	}
}

// elapse lets event time come to now for a key: moment by moment, what is
// complete then is reported, and what is over ends. The key may be left
// without groups.
func (e *Engine) elapse(k *keyed, now int64) {
	for len(k.groups) > 0 && k.next <= now {
		e.moment(k, k.next)
		e.arm(k)
	}
}

// moment is one instant of elapse.
func (e *Engine) moment(k *keyed, at int64) {
	m := k.machine
	m.pop.reset()
	var done []completion
	for _, g := range k.groups {
		finished := g.open&finishBit != 0
		if finished && m.End.For > 0 && g.until <= at {
			done = append(done, completed(&g.state, g.runs)...)
			g.open &^= finishBit
			for i := range g.runs {
				g.runs[i].moved = true
			}
		}
		over := 0
		for over < len(g.runs) && m.ends(&g.runs[over]) <= at {
			over++
		}
		ended := g.runs[:over]
		switch {
		case finished && m.End.For == 0:
			done = append(done, completed(&g.state, ended)...)
		default:
			m.counts.Expired += uint64(over)
			for i := range ended {
				e.expired(k, g, &ended[i])
			}
		}
		g.runs = slices.Clone(g.runs[over:])
		if g.open != 0 && len(g.runs) > 0 {
			m.pop.put(g)
		}
	}
	e.finish(m, k.text, at, nil, done)
	k.assign(slices.DeleteFunc(m.pop.groups, func(g *group) bool { return len(g.runs) == 0 }))
}

// due lets event time come to now for all keys whose timer has run out, in the
// order of their deadlines, and for the rest of that in a fixed order too.
func (e *Engine) due(now int64) {
	timers := e.wheel.advance(now, nil)
	slices.SortFunc(timers, compareTimers)
	for _, t := range timers {
		k := t.due
		e.elapse(k, now)
		if len(k.groups) == 0 {
			e.drop(k)
		} else if !k.timer.armed {
			e.arm(k)
		}
	}
}
