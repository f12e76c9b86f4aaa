package stream

import (
	"cmp"
	"slices"

	"pando/event"
	"pando/event/clock"
	"pando/internal/exact"
)

// Limits bound a [Fold].
type Limits struct {
	Series int // distinct series; the rest is folded into Other
	Rows   int // rows, that is panes times series
	Edges  int // rows of the call graph
}

// DefaultLimits fit a section of a unit that is cut every second: 4,096 busy
// series in each of its ten panes.
func DefaultLimits() Limits { return Limits{Series: 4096, Rows: 40960, Edges: 8192} }

// clamp keeps the limits within what [ReadRows] accepts. One place of each is
// for what is folded.
func (l Limits) clamp() Limits {
	return Limits{
		Series: min(max(l.Series, 1), MaxRows-1),
		Rows:   min(max(l.Rows, 1), MaxRows-1),
		Edges:  min(max(l.Edges, 1), MaxEdges-1),
	}
}

// Fold accumulates the events of one unit between two cuts. When a limit is
// reached, new series go to the row of Other in their own pane; when there
// is no room for that row either, to one last row of Other whose pane is
// that of the first event that found no room. Counts and sums stay exact,
// and what was folded is counted. Not safe for concurrent use.
type Fold struct {
	limits Limits
	series map[Series]uint32 // the number of its cell
	names  []Series          // of the cells
	cells  []cell
	rows   []tally
	edges  []Edge
	rowAt  map[rowKey]int32 // of rows that their cell had no place for
	edgeAt map[edgeKey]int32
	last   Rows  // the totals and Lost; its other lists stay empty
	spill  int32 // the last row of Other, or -1
	spillE int32 // the same of edges

	// Accelerator: where lines were counted last, by their numbers.
	lines []spot
	by    *Numbering
	found []found // of the lines of a batch
}

// spot is the cell of a line, and its row that was used last; both from 1, 0 for
// none.
type spot struct {
	cell uint32
	row  int32
}

// found is where a line of a batch is counted, not from 1.
type found struct {
	cell   uint32
	row    int32 // of its first part, if it was counted there last; or -1
	folded bool  // the cell is that of Other in the place of another
}

// tally is a [Row] at work.
type tally struct {
	pane     Pane
	count    uint64
	backlog  uint64
	sum      exact.Sum
	cell     uint32
	severity event.Severity
}

// cell is where the rows of a series are: those of the panes that are worked
// on are found by their pane's remainder, so that a map is asked only for what
// comes seconds late.
type cell struct {
	rows [recentPanes]int32 // from 1; 0 for none
}

// recentPanes is a power of two, and more than the panes between two cuts.
const recentPanes = 16

type rowKey struct {
	cell uint32
	pane Pane
}

type edgeKey struct {
	from, to string
	pane     Pane
}

// keptRows bounds the rows whose memory an empty fold keeps, 50 KB beside what
// their series take: a relay has one for each of its units.
const keptRows = 1024

// keptLines likewise bounds what is kept of lines, 80 KB.
const keptLines = 4096

// NewFold returns an empty fold. Limits below 1 count as 1; limits above what
// [ReadRows] accepts count as that.
func NewFold(limits Limits) *Fold {
	f := &Fold{limits: limits.clamp()}
	f.reset()
	return f
}

func (f *Fold) reset() {
	clear(f.series)
	clear(f.rowAt)
	clear(f.edgeAt)
	if cap(f.rows) > keptRows {
		f.rows, f.cells, f.names, f.series = nil, nil, nil, nil
	}
	if f.series == nil {
		f.series, f.rowAt, f.edgeAt = map[Series]uint32{}, map[rowKey]int32{}, map[edgeKey]int32{}
	}
	if clear(f.lines); cap(f.lines) > keptLines || cap(f.found) > keptLines {
		f.lines, f.found = nil, nil
	}
	f.by = nil
	f.rows, f.cells, f.names, f.edges, f.last = f.rows[:0], f.cells[:0], f.names[:0], nil, Rows{}
	f.spill, f.spillE = -1, -1
}

// Len is the number of rows and edges held, for callers that cut by size.
func (f *Fold) Len() int { return len(f.rows) + len(f.edges) }

// Add folds the observations of a batch in, all but those of sources that skip
// names; a nil skip names none. Its lines must have numbers. The batch's Rest goes
// to [Fold.Beat] and [Fold.Lose]. The fold keeps the lines' strings but nothing
// else of it.
func (f *Fold) Add(c *Combined, skip func(source string) bool) {
	f.find(c, skip)
	for n := range c.lines {
		at := f.found[n]
		if at.cell == noNumber {
			continue
		}
		parts := c.Parts(n)
		for i := range parts {
			p := &parts[i]
			row, spilled := at.row, at.folded
			if row < 0 || i > 0 && f.rows[row].pane != p.Pane {
				if row, spilled = f.row(at.cell, p.Pane, at.folded); !spilled {
					f.lines[c.Numbers[n]].row = row + 1
				}
			}
			r := &f.rows[row]
			count := uint64(len(p.Events))
			r.count += count
			r.severity = max(r.severity, p.Severity)
			r.backlog += uint64(p.Backlog)
			r.sum = r.sum.Add(p.Sum)
			if c.lines[n].peer != 0 {
				l := c.Line(n)
				e, foldedEdge := f.edge(l.Entity, l.Peer, p.Pane)
				spilled = spilled || foldedEdge
				e.Count += count
				e.Errors += uint64(p.Errors)
			}
			f.last.Events += count
			f.last.Sum = f.last.Sum.Add(p.Sum)
			f.last.Unsummed += uint64(p.Unsummed)
			if spilled {
				f.last.Folded += count
			}
		}
	}
}

// find finds or makes the cells of the lines of a batch: all at once, so that the
// processor waits for the memory of many of them at a time.
func (f *Fold) find(c *Combined, skip func(source string) bool) {
	if f.by != c.by {
		clear(f.lines)
		f.by = c.by
	}
	if n := c.numbers - len(f.lines); n > 0 {
		f.lines = append(f.lines, make([]spot, n)...)
	}
	f.found = f.found[:0]
	for n, number := range c.Numbers {
		at := found{cell: f.lines[number].cell - 1, row: f.lines[number].row - 1}
		parts := c.Parts(n)
		if at.row >= 0 && (len(parts) == 0 || f.rows[at.row].pane != parts[0].Pane) {
			at.row = -1
		}
		switch {
		case len(parts) == 0, skip != nil && skip(c.Line(n).Source):
			at.cell = noNumber
		case at.cell == noNumber:
			l := c.Line(n)
			if at.cell, at.folded = f.cell(l.Series()); !at.folded {
				f.lines[number].cell = at.cell + 1
			}
		}
		f.found = append(f.found, at)
	}
}

// Beat counts a heartbeat.
func (f *Fold) Beat() { f.last.Heartbeats++ }

// Lose takes an event of kind [event.Loss] whose time is the interval when.
func (f *Fold) Lose(e *event.Event, when clock.Interval) {
	n, reason := e.Lost()
	f.last.Losses++
	f.lose(Lost{Reason: reason, Count: n, First: when.Lo, Last: when.Hi})
}

func (f *Fold) lose(l Lost) {
	at, found := slices.BinarySearchFunc(f.last.Lost, l, func(a, b Lost) int { return a.Compare(&b) })
	if !found {
		f.last.Lost = slices.Insert(f.last.Lost, at, l)
		return
	}
	f.last.Lost[at].Add(&l)
}

// Merge adds rows that were folded elsewhere, under this fold's limits. While
// no limit is reached the order of merges does not matter.
func (f *Fold) Merge(rows Rows) {
	var folded uint64
	for i := range rows.Rows {
		s := &rows.Rows[i]
		at, foldedSeries := f.cell(s.Series)
		row, spilled := f.row(at, s.Pane, foldedSeries)
		r := &f.rows[row]
		r.count += s.Count
		r.severity = max(r.severity, s.Severity)
		r.backlog += s.Backlog
		r.sum = r.sum.Add(s.Sum)
		if spilled && s.Series != (Series{Other, Other}) {
			folded += s.Count
		}
	}
	for i := range rows.Edges {
		s := &rows.Edges[i]
		e, _ := f.edge(s.From, s.To, s.Pane)
		e.add(s)
	}
	f.last.Events += rows.Events
	f.last.Heartbeats += rows.Heartbeats
	f.last.Losses += rows.Losses
	for _, l := range rows.Lost {
		f.lose(l)
	}
	// An event already counted as folded may be folded again here; the
	// number stays one of events.
	f.last.Folded = min(f.last.Folded+rows.Folded+folded, f.last.Events)
	f.last.Unsummed += rows.Unsummed
	f.last.Sum = f.last.Sum.Add(rows.Sum)
}

// Take returns what was folded since the last Take, sorted, and empties the
// fold.
func (f *Fold) Take() Rows { return f.TakeJoined(1, nil) }

// TakeJoined is [Fold.Take] with panes joined into panes of so many panes'
// length, at least 1, named by their first, but for the series that keep says
// must stay as they are; a nil keep says none. Counts and sums stay exact; only
// when they were becomes coarser.
func (f *Fold) TakeJoined(panes Pane, keep func(Series) bool) Rows {
	out := f.last
	out.Rows = f.joined(panes, keep)
	for i := range f.edges {
		f.edges[i].Pane = f.edges[i].Pane.start(panes)
	}
	out.Edges = addEqual(f.edges, (*Edge).Compare, (*Edge).add)
	f.reset()
	return out
}

// place is where a row belongs.
type place struct {
	pane Pane
	rank uint32 // of its series among those of the fold
	row  uint32
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.pane, q.pane), cmp.Compare(p.rank, q.rank), cmp.Compare(p.row, q.row))
}

// joined are the rows, sorted and joined. Names are compared once for each
// series, not for each of its rows.
func (f *Fold) joined(panes Pane, keep func(Series) bool) []Row {
	if len(f.rows) == 0 {
		return nil
	}
	rank, whole := f.ranks(panes, keep)
	places := make([]place, len(f.rows))
	for i := range f.rows {
		c := f.rows[i].cell
		places[i] = place{pane: f.rows[i].pane, rank: rank[c], row: uint32(i)}
		if whole[c] {
			places[i].pane = places[i].pane.start(panes)
		}
	}
	slices.SortFunc(places, place.compare)
	out := make([]Row, 0, len(f.rows))
	for i, p := range places {
		t := &f.rows[p.row]
		r := Row{Pane: p.pane, Series: f.names[t.cell], Severity: t.severity, Count: t.count, Sum: t.sum, Backlog: t.backlog}
		if i > 0 && places[i-1].pane == p.pane && places[i-1].rank == p.rank {
			out[len(out)-1].add(&r)
			continue
		}
		out = append(out, r)
	}
	return out
}

// ranks are the places of the series in their order, and whether their panes are
// to be joined, by the number of their cell.
func (f *Fold) ranks(panes Pane, keep func(Series) bool) (rank []uint32, whole []bool) {
	sorted := make([]Series, 0, len(f.series))
	for s := range f.series {
		sorted = append(sorted, s)
	}
	slices.SortFunc(sorted, Series.Compare)
	rank, whole = make([]uint32, len(f.cells)), make([]bool, len(f.cells))
	for i, s := range sorted {
		c := f.series[s]
		rank[c], whole[c] = uint32(i), panes > 1 && (keep == nil || !keep(s))
	}
	return rank, whole
}

// start is the first pane of the aligned run of panes that p is in.
func (p Pane) start(panes Pane) Pane { return p - ((p%panes)+panes)%panes }

// addEqual sorts a list and adds up what has one key.
func addEqual[T any](list []T, compare func(*T, *T) int, add func(*T, *T)) []T {
	slices.SortFunc(list, func(a, b T) int { return compare(&a, &b) })
	n := 0
	for i := range list {
		if n > 0 && compare(&list[n-1], &list[i]) == 0 {
			add(&list[n-1], &list[i])
			continue
		}
		list[n] = list[i]
		n++
	}
	return list[:n]
}

// row finds or makes the row of a cell and pane, and reports whether it is one of
// Other instead for want of room: folded says that the cell is that of Other in
// the place of another.
func (f *Fold) row(at uint32, pane Pane, folded bool) (int32, bool) {
	place := f.cells[at].rows[uint64(pane)%recentPanes]
	if place != 0 {
		if f.rows[place-1].pane == pane {
			return place - 1, folded
		}
		if row, ok := f.rowAt[rowKey{at, pane}]; ok {
			return row, folded
		}
	}
	switch {
	case len(f.rows) < f.limits.Rows:
		return f.newRow(at, pane), folded
	case f.names[at] != (Series{Other, Other}):
		other, _ := f.cell(Series{Other, Other})
		row, _ := f.row(other, pane, true)
		return row, true
	}
	return f.spillRow(pane), true
}

// cell finds or makes the cell of a series, or that of Other when the series
// are too many.
func (f *Fold) cell(s Series) (at uint32, folded bool) {
	if at, ok := f.series[s]; ok {
		return at, false
	}
	if len(f.series) >= f.limits.Series && s != (Series{Other, Other}) {
		at, _ := f.cell(Series{Other, Other})
		return at, true
	}
	at = uint32(len(f.cells))
	f.cells, f.names = append(f.cells, cell{}), append(f.names, s)
	f.series[s] = at
	return at, false
}

func (f *Fold) newRow(at uint32, pane Pane) int32 {
	c := &f.cells[at]
	f.rows = append(f.rows, tally{pane: pane, cell: at})
	place := &c.rows[uint64(pane)%recentPanes]
	if *place != 0 {
		f.rowAt[rowKey{at, f.rows[*place-1].pane}] = *place - 1
	}
	*place = int32(len(f.rows))
	return *place - 1
}

// spillRow is the one row above the limit. An Other row of its pane cannot
// exist beside it: it is made only when that pane has none, and from then on
// no row is made at all.
func (f *Fold) spillRow(pane Pane) int32 {
	if f.spill < 0 {
		at, _ := f.cell(Series{Other, Other})
		f.spill = f.newRow(at, pane)
	}
	return f.spill
}

// edge is [Fold.row] for the call graph.
func (f *Fold) edge(from, to string, pane Pane) (*Edge, bool) {
	if at, ok := f.edgeAt[edgeKey{from, to, pane}]; ok {
		return &f.edges[at], false
	}
	if len(f.edges) >= f.limits.Edges {
		if f.spillE < 0 {
			at, ok := f.edgeAt[edgeKey{Other, Other, pane}]
			if !ok {
				at = f.newEdge(Other, Other, pane)
			}
			f.spillE = at
		}
		return &f.edges[f.spillE], true
	}
	return &f.edges[f.newEdge(from, to, pane)], false
}

func (f *Fold) newEdge(from, to string, pane Pane) int32 {
	at := int32(len(f.edges))
	f.edges = append(f.edges, Edge{From: from, To: to, Pane: pane})
	f.edgeAt[edgeKey{from, to, pane}] = at
	return at
}
