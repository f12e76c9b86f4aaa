package agent

import (
	"slices"

	"pando/event"
)

// places are the positions that go with one batch. They stay within what a
// batch may hold.
type places struct {
	list  []event.Position
	found map[string]int // by source, in list
	last  int            // the one that was put last
	bytes int            // of sources and files
}

func newPlaces() *places { return &places{found: map[string]int{}} }

// put adds or replaces a position, or reports that there is no room for it.
// The empty one, of an event that moves no source, always has room.
func (s *places) put(p *event.Position) bool {
	if p.Source == "" {
		return true
	}
	i, known := s.last, len(s.list) > 0 && s.list[s.last].Source == p.Source // nearly always
	if !known {
		i, known = s.found[p.Source]
	}
	bytes := s.bytes + len(p.Source) + len(p.File)
	if known {
		bytes -= len(s.list[i].Source) + len(s.list[i].File)
	}
	if bytes > event.MaxPositionBytes || !known && len(s.list) == event.MaxPositions {
		return false
	}
	if !known {
		i = len(s.list)
		s.list = append(s.list, event.Position{})
		s.found[p.Source] = i
	}
	s.list[i], s.last, s.bytes = *p, i, bytes
	return true
}

// sorted returns the positions, after which nothing may be put.
func (s *places) sorted() []event.Position {
	slices.SortFunc(s.list, comparePositions)
	return s.list
}
