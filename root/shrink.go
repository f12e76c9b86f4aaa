//go:build !zos

package root

import (
	"fmt"

	"pando/stream"
	"pando/tree/wire"
)

// sectionOverhead is what a section costs in a message beside its bytes.
const sectionOverhead = 5

// coarser are the lengths, in panes, to which the panes of a section that is
// too large are joined: a second, ten, a minute, all of them.
var coarser = [...]stream.Pane{10, 100, 600, 1 << 62}

// shrink makes a section fit a command by giving up detail: first time, then
// names. Counts, sums and what was folded stay exact. Sections are cut far
// below the limit; this is for one that is not.
func shrink(b []byte, limit int) ([]byte, error) {
	s, err := wire.DecodeSection(b)
	if err != nil {
		return nil, fmt.Errorf("%w: section: %w", errMalformed, err)
	}
	rows := s.Rows
	for _, panes := range coarser {
		s.Rows = join(rows, panes, stream.Limits{Series: stream.MaxRows, Rows: stream.MaxRows, Edges: stream.MaxEdges})
		if b = wire.EncodeSection(&s); len(b) <= limit {
			return b, nil
		}
	}
	joined := s.Rows
	for series := len(joined.Rows) / 2; series > 0; series /= 2 {
		s.Rows = join(joined, 1, stream.Limits{Series: series, Rows: series, Edges: series})
		if b = wire.EncodeSection(&s); len(b) <= limit {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: section of %d bytes cannot be made to fit %d", errMalformed, len(b), limit)
}

// join puts rows into panes of so many panes' length, named by their first.
func join(rows stream.Rows, panes stream.Pane, limits stream.Limits) stream.Rows {
	start := func(p stream.Pane) stream.Pane {
		if panes >= 1<<62 {
			return rows.Rows[0].Pane
		}
		return p - ((p%panes)+panes)%panes
	}
	in := rows
	in.Rows, in.Edges = make([]stream.Row, len(rows.Rows)), make([]stream.Edge, len(rows.Edges))
	copy(in.Rows, rows.Rows)
	copy(in.Edges, rows.Edges)
	if len(rows.Rows) > 0 {
		for i := range in.Rows {
			in.Rows[i].Pane = start(in.Rows[i].Pane)
		}
		for i := range in.Edges {
			in.Edges[i].Pane = start(in.Edges[i].Pane)
		}
	}
	fold := stream.NewFold(limits)
	fold.Merge(in)
	return fold.Take()
}
