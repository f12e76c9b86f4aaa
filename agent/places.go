package agent

import (
	"slices"

	"pando/event"
)

// places are the positions that go with one batch. They stay within what a
// batch may hold.
type places struct {
	list  map[string]event.Position
	bytes int // of sources and files
}

// put adds or replaces a position, or reports that there is no room for it.
// The empty one, of an event that moves no source, always has room.
func (s *places) put(p event.Position) bool {
	if p.Source == "" {
		return true
	}
	old, known := s.list[p.Source]
	bytes := s.bytes + len(p.Source) + len(p.File)
	if known {
		bytes -= len(old.Source) + len(old.File)
	}
	if bytes > event.MaxPositionBytes || !known && len(s.list) == event.MaxPositions {
		return false
	}
	s.list[p.Source], s.bytes = p, bytes
	return true
}

func (s *places) sorted() []event.Position {
	out := make([]event.Position, 0, len(s.list))
	for _, p := range s.list {
		out = append(out, p)
	}
	slices.SortFunc(out, comparePositions)
	return out
}
