package incident

import (
	"slices"

	"pando/stream/anomaly"
)

// Alias makes an id that was given to an incident elsewhere lead to the one
// that holds the finding it was named after, here, or to the one that the
// finding gets into while it takes part in correlation. An id that leads
// somewhere already, or a finding that is not here, changes nothing. Nothing is
// announced: who knew the incident by that id goes on knowing it.
func (s *Set) Alias(id string, anchor anomaly.ID) {
	if id == "" || len(id) > maxID || s.Get(id) != nil || s.taken(id) {
		return
	}
	is := func(f *anomaly.Finding) bool { return f.ID == anchor }
	for _, i := range s.Incidents() {
		if slices.ContainsFunc(i.Findings, is) {
			s.putRetired(retired{id: id, into: i.ID, anchor: anchor})
			return
		}
	}
	if slices.ContainsFunc(s.open, is) {
		s.putRetired(retired{id: id, anchor: anchor})
	}
}
