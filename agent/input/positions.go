package input

import (
	"maps"
	"slices"
	"strings"

	"pando/event"
)

// Positions are what the holder of one lane's positions keeps. Whoever makes
// items durable has one per lane, begins it with what is durable of that lane,
// and applies every item of either lane to it, in order; what it lists when a
// batch of the lane is cut, which must hold the lane's items up to there,
// belongs to that batch. Not safe for concurrent use.
type Positions struct{ bySource map[string]event.Position }

// NewPositions begins with durable positions.
func NewPositions(durable []event.Position) *Positions {
	p := &Positions{bySource: make(map[string]event.Position, len(durable))}
	for _, at := range durable {
		p.bySource[at.Source] = at
	}
	return p
}

// Apply enters an item. A lane that was ahead of the other before a restart
// stays ahead, as the lines between are read again for the other lane only.
func (p *Positions) Apply(it *Item) {
	for _, source := range it.Retires {
		delete(p.bySource, source)
	}
	p.enter(it.Position)
}

// Add enters the positions of a [Status]: those of files that were opened and
// have given no line yet.
func (p *Positions) Add(s *Status) {
	for _, at := range s.Positions {
		p.enter(at)
	}
}

func (p *Positions) enter(at event.Position) {
	if before, ok := p.bySource[at.Source]; ok && before.Offset > at.Offset {
		at.Offset = before.Offset
	}
	p.bySource[at.Source] = at
}

// List returns the positions, sorted by source.
func (p *Positions) List() []event.Position {
	return slices.SortedFunc(maps.Values(p.bySource), func(a, b event.Position) int {
		return strings.Compare(a.Source, b.Source)
	})
}
