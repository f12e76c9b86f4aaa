package cep

import "time"

// Miss is a run that began and did not become a match: what came, what should
// have come, and by when. The engine tells of them if its options ask for it.
type Miss struct {
	Pattern  *Pattern
	Key      []string
	Start    int64  // root time of the first event
	Evidence []Ref  // what came
	At       int64  // root time at which it was decided
	Due      int64  // root time before which the next event had to come
	Reason   string // why it did not become a match, for people
}

// expired tells of a run whose time is over.
func (e *Engine) expired(k *keyed, g *group, r *run) {
	e.miss(k, g, r, k.machine.ends(r), "within "+time.Duration(k.machine.Within).String()+" there was no "+k.machine.expected(g, g.open))
}

// died tells of the runs of a group to which an event left no way to go on.
// Open is what had been left before.
func (e *Engine) died(k *keyed, g *group, x *occurrence, open uint16) {
	if !e.opts.Misses {
		return
	}
	reason := "the next event was no " + k.machine.expected(g, open)
	if name := k.machine.disturbed(g, x, open); name != "" {
		reason = "there came " + name
	}
	for i := range g.runs {
		e.miss(k, g, &g.runs[i], x.event.Time, reason)
	}
}

// disturbed is the name of the absence that the event is contrary to, or "".
func (m *machine) disturbed(g *group, x *occurrence, open uint16) string {
	if open&finishBit != 0 && x.holds(endBit, m.end, &g.state) {
		return m.End.Name
	}
	next := int(g.step) + 1
	if next < len(m.Steps) && m.Steps[next].Absent != nil && open&laterBit(int(g.step), next) != 0 &&
		x.holds(absentBit(next), m.steps[next].absent, &g.state) {
		return m.Steps[next].Absent.Name
	}
	return ""
}

func (e *Engine) miss(k *keyed, g *group, r *run, at int64, reason string) {
	if !e.opts.Misses || r.moved {
		return
	}
	e.misses = append(e.misses, Miss{
		Pattern: k.machine.Pattern, Key: keyParts(k.text), Start: r.time, Evidence: r.evidence,
		At: at, Due: k.machine.ends(r), Reason: reason,
	})
}

// expected names the steps of the alternatives.
func (m *machine) expected(g *group, open uint16) string {
	step, text := int(g.step), ""
	add := func(name string) {
		if text != "" {
			text += " or "
		}
		text += name
	}
	if open&repeatBit != 0 {
		add(m.Steps[step].Name)
	}
	for later := step + 1; later < len(m.Steps); later++ {
		if open&laterBit(step, later) != 0 {
			add(m.Steps[later].Name)
		}
	}
	if open&finishBit != 0 {
		add("end of " + m.End.Name)
	}
	return text
}
