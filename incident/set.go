package incident

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/anomaly"
)

// retired is the id of an incident that is none of its own any more.
type retired struct {
	id     string
	into   string // the incident it is an alias of; empty if it was withdrawn
	anchor anomaly.ID
	number uint64 // 0 for an id that was given elsewhere and never was an incident of its own here
	opened int64
}

// state is what a snapshot holds. Its slices are replaced, never changed in
// place, so a frozen copy costs as much as their headers.
type state struct {
	now       int64              // the latest root time that findings and ticks have told
	opened    uint64             // incidents so far
	dropped   uint64             // findings that left early because too many were open
	late      uint64             // revisions that came after their incident was settled
	open      []*anomaly.Finding // those that take part in correlation, sorted by point and id
	incidents []*Incident        // open and resolved ones, by number
	settled   []*Incident        // by the time they settled
	retired   []retired          // by id
}

// Set holds the findings and the incidents they make. Not safe for concurrent
// use, except for its frozen views.
type Set struct {
	opts Options
	state
	reach reach                  // a cache
	seen  uint64                 // version of the graph that the division was made with; a cache
	sums  map[*Incident][32]byte // of the incidents; a cache
}

// NewSet returns an empty set.
func NewSet(opts Options) (*Set, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return &Set{opts: opts}, nil
}

// Add takes a committed finding, or a newer revision of one, and returns what
// that changes, ordered by incident. A finding that names a peer teaches g
// that edge. A revision that is not newer than the known one changes nothing.
//
// Every call on a set must pass the same graph; the caller goes on teaching it
// edges in between.
func (s *Set) Add(f anomaly.Finding, g *Graph) []Change {
	return s.AddAll([]anomaly.Finding{f}, g)
}

// AddAll takes findings that were committed together. It divides once for all
// of them, which is what costs time.
func (s *Set) AddAll(fs []anomaly.Finding, g *Graph) []Change {
	var changes []Change
	added := false
	for i := range fs {
		f := fs[i]
		s.now = max(s.now, f.Detected)
		if f.Peer != "" {
			g.AddEdge(f.Series.Entity, f.Peer, f.Point)
		}
		made, ok := s.put(&f)
		changes = append(changes, made...)
		added = added || ok
	}
	if added {
		changes = append(changes, s.regroup(g)...)
	}
	return changes
}

// put takes a finding into the open ones and reports whether that changed
// them.
func (s *Set) put(f *anomaly.Finding) (changes []Change, changed bool) {
	at := slices.IndexFunc(s.open, func(o *anomaly.Finding) bool { return o.ID == f.ID })
	switch {
	case at >= 0 && !newer(f, s.open[at]):
		return nil, false
	case at < 0 && s.isSettled(f.ID):
		s.late++
		return nil, false
	case at >= 0:
		s.open = slices.Delete(slices.Clone(s.open), at, at+1)
	case len(s.open) >= s.opts.MaxOpen:
		changes = s.makeRoom()
	}
	slot, _ := slices.BinarySearchFunc(s.open, f, earlier)
	s.open = slices.Insert(slices.Clone(s.open), slot, f)
	return changes, true
}

// newer reports whether a replaces b: by its revision, or, between two that
// claim the same one, by its bytes, so that the order of arrival decides
// nothing.
func newer(a, b *anomaly.Finding) bool {
	if a.Revision != b.Revision {
		return a.Revision > b.Revision
	}
	return bytes.Compare(encoded(a), encoded(b)) > 0
}

func encoded(f *anomaly.Finding) []byte {
	w := pack.NewWriter()
	anomaly.AppendFinding(w, *f)
	return w.Bytes()
}

func (s *Set) isSettled(id anomaly.ID) bool {
	return slices.ContainsFunc(s.settled, func(i *Incident) bool {
		return slices.ContainsFunc(i.Findings, func(f *anomaly.Finding) bool { return f.ID == id })
	})
}

// Tick tells the set that root time is now at least now, which resolves and
// settles incidents, and takes up what g has learnt since.
func (s *Set) Tick(now int64, g *Graph) []Change {
	s.now = max(s.now, now)
	var changes []Change
	left := false
	for _, i := range slices.Clone(s.incidents) {
		switch quiet := s.now - i.Changed; {
		case i.Status == StatusResolved && s.now-i.Resolved >= int64(s.opts.ReopenWithin):
			s.settle(i)
			left = true
		case i.Status == StatusOpen && (quiet >= int64(s.opts.ResolveAfter) || quiet >= int64(s.opts.QuietAfter) && allOver(i.Findings)):
			changes = append(changes, s.resolve(i))
		}
	}
	if s.forgetUnattached() || left || s.seen != g.version {
		changes = append(changes, s.regroup(g)...)
	}
	return changes
}

// over reports whether a finding asks for no more attention: it was said to
// have ended, or is of a kind that is over at once.
func over(f *anomaly.Finding) bool { return f.Ended || f.Class == anomaly.Novelty }

func allOver(fs []*anomaly.Finding) bool {
	return !slices.ContainsFunc(fs, func(f *anomaly.Finding) bool { return !over(f) })
}

func (s *Set) resolve(i *Incident) Change {
	next := *i
	next.Status, next.Resolved = StatusResolved, s.now
	next.Revision++
	s.replace(&next)
	return Change{Kind: Resolved, ID: i.ID, Incident: &next}
}

// replace puts an incident in its place by number.
func (s *Set) replace(i *Incident) {
	at, found := slices.BinarySearchFunc(s.incidents, i.Number, func(o *Incident, n uint64) int { return cmp.Compare(o.Number, n) })
	s.incidents = slices.Clone(s.incidents)
	if found {
		s.incidents[at] = i
		return
	}
	s.incidents = slices.Insert(s.incidents, at, i)
}

func (s *Set) remove(i *Incident) {
	s.incidents = slices.DeleteFunc(slices.Clone(s.incidents), func(o *Incident) bool { return o.Number == i.Number })
}

// settle takes an incident and its findings out of correlation.
func (s *Set) settle(i *Incident) {
	next := *i
	next.Status = StatusSettled
	next.Revision++
	s.remove(i)
	s.settled = append(slices.Clone(s.settled), &next)
	members := map[anomaly.ID]bool{}
	for _, f := range i.Findings {
		members[f.ID] = true
	}
	s.open = slices.DeleteFunc(slices.Clone(s.open), func(f *anomaly.Finding) bool { return members[f.ID] })
	if extra := len(s.settled) - s.opts.MaxKept; extra > 0 {
		s.settled = slices.Clone(s.settled[extra:])
	}
	s.dropRetired()
}

// forgetUnattached lets findings go that joined no incident while they could.
func (s *Set) forgetUnattached() bool {
	before := len(s.open)
	attached := s.attached()
	keep := slices.DeleteFunc(slices.Clone(s.open), func(f *anomaly.Finding) bool {
		age := s.now - max(f.Detected, f.Point)
		return !attached[f.ID] && age >= int64(max(s.opts.Span, s.opts.ReopenWithin))
	})
	if len(keep) == before {
		return false
	}
	s.open = keep
	s.dropRetired()
	return true
}

// dropRetired forgets the ids that lead to no incident and can become none,
// since their anchor has left.
func (s *Set) dropRetired() {
	here := map[anomaly.ID]bool{}
	for _, f := range s.open {
		here[f.ID] = true
	}
	s.retired = slices.DeleteFunc(slices.Clone(s.retired), func(r retired) bool {
		return !here[r.anchor] && s.Get(r.into) == nil
	})
}

// makeRoom lets findings go before their time: the earliest unattached one,
// or else all of the incident that has been unchanged for the longest.
func (s *Set) makeRoom() []Change {
	attached := s.attached()
	for at, f := range s.open {
		if !attached[f.ID] {
			s.open = slices.Delete(slices.Clone(s.open), at, at+1)
			s.dropped++
			s.dropRetired()
			return nil
		}
	}
	oldest := slices.MinFunc(s.incidents, func(a, b *Incident) int {
		return cmp.Or(cmp.Compare(a.Changed, b.Changed), cmp.Compare(a.Number, b.Number))
	})
	s.dropped += uint64(len(oldest.Findings))
	var changes []Change
	if oldest.Status == StatusOpen {
		changes = append(changes, s.resolve(oldest))
		oldest = changes[0].Incident
	}
	s.settle(oldest)
	return changes
}

// Freeze returns a view of the set as it is now, which never changes.
func (s *Set) Freeze() *View { return &View{s.state} }

// View is what can be read of a set. A frozen one is safe for concurrent use.
type View struct{ state }

// Incidents returns the open and resolved incidents in the order of their
// opening, and the settled ones before them.
func (s *state) Incidents() []*Incident { return slices.Concat(s.settled, s.incidents) }

// Get returns the incident of an id or of an alias, or nil.
func (s *state) Get(id string) *Incident {
	for range len(s.retired) + 1 { // an alias may lead to another
		for _, list := range [][]*Incident{s.incidents, s.settled} {
			if at := slices.IndexFunc(list, func(i *Incident) bool { return i.ID == id }); at >= 0 {
				return list[at]
			}
		}
		at, ok := slices.BinarySearchFunc(s.retired, id, func(r retired, id string) int { return strings.Compare(r.id, id) })
		if !ok {
			return nil
		}
		id = s.retired[at].into
	}
	return nil
}

// Aliases returns the ids that were merged into an incident.
func (s *state) Aliases(id string) []string {
	var out []string
	for _, r := range s.retired {
		if r.into == id && id != "" {
			out = append(out, r.id)
		}
	}
	return out
}

// attached is the set of findings that are in an incident.
func (s *state) attached() map[anomaly.ID]bool {
	in := map[anomaly.ID]bool{}
	for _, i := range s.incidents {
		for _, f := range i.Findings {
			in[f.ID] = true
		}
	}
	return in
}

// Unattached returns the findings that are in no incident, by point and id.
func (s *state) Unattached() []*anomaly.Finding {
	in := s.attached()
	return slices.DeleteFunc(slices.Clone(s.open), func(f *anomaly.Finding) bool { return in[f.ID] })
}

// Counts are figures for the operator.
type Counts struct {
	Findings  int    // taking part in correlation
	Incidents int    // open or resolved
	Settled   int    // kept to be shown
	Opened    uint64 // ever
	Dropped   uint64 // findings that left early because too many were open
	Late      uint64 // revisions of findings whose incident was settled
}

// Counts returns the set's figures.
func (s *state) Counts() Counts {
	return Counts{len(s.open), len(s.incidents), len(s.settled), s.opened, s.dropped, s.late}
}

// severest is the highest severity of findings.
func severest(fs []*anomaly.Finding) event.Severity {
	top := event.SeverityUnknown
	for _, f := range fs {
		top = max(top, f.Severity)
	}
	return top
}
