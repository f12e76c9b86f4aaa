package incident

import (
	"slices"

	"pando/stream/anomaly"
)

// Alias makes an id that was given to an incident elsewhere lead to the one
// that holds the finding it was named after, here. An id that leads somewhere
// already, or a finding that is in no incident, changes nothing. Nothing is
// announced: who knew the incident by that id goes on knowing it.
func (s *Set) Alias(id string, anchor anomaly.ID) {
	if id == "" || len(id) > maxID || s.Get(id) != nil || s.taken(id) {
		return
	}
	for _, i := range s.incidents {
		if slices.ContainsFunc(i.Findings, func(f *anomaly.Finding) bool { return f.ID == anchor }) {
			s.putRetired(retired{id: id, into: i.ID, anchor: anchor})
			return
		}
	}
}
