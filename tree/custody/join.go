package custody

// Join makes one section of two adjacent ones, as a relay may that passes on
// those of others. They must be of one unit, relay and term: the root judges
// the whole by what it says once. One that resumes joins nothing before it: its
// relay holds nothing of that any more, so the other is a copy of what was
// settled, and the root would skip both.
func Join(a, b Head) (Head, bool) {
	switch {
	case a.Unit != b.Unit || a.Term != b.Term || a.Relay != b.Relay || a.Rest != b.Rest:
		return a, false
	case b.From != a.To+1 || b.Before != a.After || b.Resumes:
		return a, false
	}
	a.To, a.After = b.To, b.After
	return a, true
}

// Joined is a section on its way through a relay that did not cut it. The relay
// keeps it until the answer comes, and forgets it with the session to its
// parent or to its child: whoever cut it then cuts it again. It keeps no
// position of the unit.
type Joined struct {
	Head Head     // as it is passed on
	Ends []uint64 // last sequence of each section in it, as cut
}

// Add joins a further section, or reports that it must travel on its own.
func (j *Joined) Add(h Head) bool {
	if len(j.Ends) > 0 {
		var ok bool
		if j.Head, ok = Join(j.Head, h); !ok {
			return false
		}
	} else {
		j.Head = h
	}
	j.Ends = append(j.Ends, h.To)
	return true
}
