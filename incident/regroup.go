package incident

import (
	"cmp"
	"slices"
	"strings"

	"pando/stream/anomaly"
)

// regroup divides the open findings anew and carries the incidents over to
// the groups. Doing it twice changes nothing the second time, so a replica
// that was restored, and divides at another moment, ends in the same state.
func (s *Set) regroup(g *Graph) []Change {
	rel := s.relate(g)
	s.seen = g.version
	groups := rel.divide()
	home := map[anomaly.ID]int{} // looked up only
	members := make([][]*anomaly.Finding, len(groups))
	for n, group := range groups {
		for _, i := range group {
			members[n] = append(members[n], s.open[i])
			home[s.open[i].ID] = n
		}
	}
	claims := s.claims(home, len(groups))
	var changes []Change
	for n, fs := range members {
		changes = append(changes, s.carryOver(fs, claims[n])...)
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return strings.Compare(a.ID, b.ID) })
	return changes
}

// claim is an incident, or the retired id of one, whose anchor is in a group.
type claim struct {
	number  uint64
	current *Incident // nil for a retired id
	retired retired
}

// claims lists, for each group, who may give it its id: incidents before
// retired ids, each by the order of opening.
func (s *Set) claims(home map[anomaly.ID]int, groups int) [][]claim {
	out := make([][]claim, groups)
	for _, i := range s.incidents {
		if n, ok := home[i.Anchor]; ok {
			out[n] = append(out[n], claim{number: i.Number, current: i})
		}
	}
	aliases := slices.SortedFunc(slices.Values(s.retired), func(a, b retired) int { return cmp.Compare(a.number, b.number) })
	for _, r := range aliases {
		if n, ok := home[r.anchor]; ok {
			out[n] = append(out[n], claim{number: r.number, retired: r})
		}
	}
	return out
}

// carryOver makes a group and those that claim it agree.
func (s *Set) carryOver(fs []*anomaly.Finding, claims []claim) []Change {
	if !s.qualifies(fs) {
		var changes []Change
		for _, c := range claims {
			if c.current != nil {
				s.retire(c.current, "")
				changes = append(changes, Change{Kind: Withdrawn, ID: c.current.ID})
			}
		}
		return changes
	}
	own := slices.IndexFunc(claims, func(c claim) bool { return c.number != 0 })
	if own < 0 {
		opened := s.openNew(fs)
		for _, c := range claims { // ids that were given elsewhere
			if c.retired.id != opened.ID {
				s.putRetired(retired{c.retired.id, opened.ID, c.retired.anchor, 0, 0})
			}
		}
		return []Change{opened}
	}
	keep := claims[own]
	rest := slices.Delete(claims, own, own+1)
	var changes []Change
	if keep.current != nil {
		if c, changed := s.update(keep.current, fs); changed {
			changes = append(changes, c)
		}
	} else {
		changes = append(changes, s.revive(keep.retired, fs))
	}
	id := keep.retired.id
	if keep.current != nil {
		id = keep.current.ID
	}
	for _, c := range rest {
		switch {
		case c.current != nil:
			s.retire(c.current, id)
			changes = append(changes, Change{Kind: Merged, ID: c.current.ID, Into: id})
		case c.retired.into != id:
			s.putRetired(retired{c.retired.id, id, c.retired.anchor, c.retired.number, c.retired.opened})
		}
	}
	return changes
}

// qualifies reports whether a group is worth an incident.
func (s *Set) qualifies(fs []*anomaly.Finding) bool {
	if severest(fs) >= s.opts.MinSeverity {
		return true
	}
	return slices.ContainsFunc(fs, func(f *anomaly.Finding) bool {
		return f.Series.Entity != fs[0].Series.Entity
	})
}

func (s *Set) openNew(fs []*anomaly.Finding) Change {
	s.opened++
	i := &Incident{Number: s.opened, Anchor: fs[0].ID, Opened: s.now}
	s.retired = slices.DeleteFunc(slices.Clone(s.retired), func(r retired) bool { // it is the name that this one gets
		return r.number == 0 && r.anchor == fs[0].ID && strings.HasPrefix(makeID(fs[0].ID, maxIDChars), r.id)
	})
	for chars := idChars; ; chars++ {
		i.ID = makeID(fs[0].ID, chars)
		if chars == maxIDChars || !s.taken(i.ID) {
			break
		}
	}
	s.fill(i, fs)
	return Change{Kind: Opened, ID: i.ID, Incident: i}
}

// maxIDChars is the whole finding id.
const maxIDChars = 26

func (s *Set) taken(id string) bool {
	_, is := slices.BinarySearchFunc(s.retired, id, func(r retired, id string) int { return strings.Compare(r.id, id) })
	same := func(i *Incident) bool { return i.ID == id }
	return is || slices.ContainsFunc(s.incidents, same) || slices.ContainsFunc(s.settled, same)
}

// fill gives an incident its findings and puts it into the set.
func (s *Set) fill(i *Incident, fs []*anomaly.Finding) {
	i.Findings = fs
	i.First = fs[0].Series.Entity
	i.Severity = severest(fs)
	i.Changed = s.now
	i.Revision++
	s.replace(i)
}

// update carries an incident over to its new findings.
func (s *Set) update(old *Incident, fs []*anomaly.Finding) (Change, bool) {
	if slices.Equal(old.Findings, fs) {
		return Change{}, false
	}
	next := *old
	kind := Updated
	if old.Status == StatusResolved && goesOn(old.Findings, fs) {
		kind = Reopened
		next.Status, next.Resolved = StatusOpen, 0
	}
	s.fill(&next, fs)
	return Change{Kind: kind, ID: next.ID, Incident: &next}, true
}

// goesOn reports whether findings have something that was not there before:
// another finding, or one that is back.
func goesOn(before, now []*anomaly.Finding) bool {
	return slices.ContainsFunc(now, func(f *anomaly.Finding) bool {
		at := slices.IndexFunc(before, func(o *anomaly.Finding) bool { return o.ID == f.ID })
		return at < 0 || over(before[at]) && !over(f)
	})
}

// retire takes an incident's id out of use.
func (s *Set) retire(i *Incident, into string) {
	s.remove(i)
	s.putRetired(retired{i.ID, into, i.Anchor, i.Number, i.Opened})
}

// maxRetired bounds the ids kept to be looked up. Beyond it the oldest is
// forgotten.
const maxRetired = 8192

func (s *Set) putRetired(r retired) {
	at, found := slices.BinarySearchFunc(s.retired, r.id, func(o retired, id string) int { return strings.Compare(o.id, id) })
	s.retired = slices.Clone(s.retired)
	if found {
		s.retired[at] = r
		return
	}
	s.retired = slices.Insert(s.retired, at, r)
	if len(s.retired) > maxRetired {
		oldest := slices.MinFunc(s.retired, func(a, b retired) int { return cmp.Compare(a.number, b.number) })
		s.retired = slices.DeleteFunc(s.retired, func(o retired) bool { return o.id == oldest.id })
	}
}

// revive makes a retired id an incident again.
func (s *Set) revive(r retired, fs []*anomaly.Finding) Change {
	s.retired = slices.DeleteFunc(slices.Clone(s.retired), func(o retired) bool { return o.id == r.id })
	i := &Incident{ID: r.id, Number: r.number, Anchor: r.anchor, Opened: r.opened}
	s.fill(i, fs)
	if r.into == "" {
		return Change{Kind: Reopened, ID: i.ID, Incident: i}
	}
	return Change{Kind: Split, ID: i.ID, Into: r.into, Incident: i}
}
