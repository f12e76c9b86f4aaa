package aggregate

import (
	"cmp"
	"math"
	"slices"

	"pando/event"
	"pando/stream"
)

// window is one definition at work. Slice i holds the events of root times
// [i*slide, (i+1)*slide); window j, told by its last slice, covers the slices
// j-span+1 to j.
type window struct {
	def   Window
	slide int64        // ns
	span  int64        // slices of a window
	lanes uint8        // a bit each
	reads []event.Lane // the same

	since     int64 // root time from which on everything was seen
	mark      int64 // watermark; never falls
	done      int64 // the last window that the watermark has passed; slices up to it are late
	final     int64 // the last window that changes no more; at most done
	slices    []*slice
	groups    map[stream.Series]*group
	revisions map[int64]uint32 // of windows told more than once
	stats     Stats            // only its counts

	rest          *group // of Other, while it has cells
	active, total int    // units at the last Advance

	// Accelerators.
	closed  int64    // the root time at which done ends; math.MinInt64 before the first
	late    bool     // some slice has late events that were not told
	order   []*group // by key; nil when it must be made anew
	spare   []*cell
	held    int // weight of what spare cells held, whose memory they keep
	scratch *cell
}

// before is the number of a window before all others.
const before = math.MinInt64 / 2

// Bounds of the cells that are kept for slices to come, and of the memory that
// these keep: 64 MB. A group keeps its last cell, whose sketch has the form that it
// will need again; for any other group only what was light is kept, or in time all
// cells would have the memory of the heaviest.
const (
	maxSpare       = 1 << 16
	maxSpareWeight = 1 << 20
	lightWeight    = 16
)

// group is a key that results are told for. It exists while it has a cell.
type group struct {
	key   stream.Series
	cells []placed // by slice
	spare *cell    // an accelerator
}

// placed is a group's cell of a slice.
type placed struct {
	index int64
	cell  *cell
}

// at is the position of the group's cell of a slice, or where it belongs.
func (g *group) at(index int64) (int, bool) {
	n := len(g.cells)
	if n == 0 || g.cells[n-1].index < index {
		return n, false
	}
	return slices.BinarySearchFunc(g.cells, index, func(p placed, i int64) int { return cmp.Compare(p.index, i) })
}

// slice is a slide that some group has a cell of.
type slice struct {
	index int64
	late  []*group // whose cells are dirty
}

func newWindow(def Window) *window {
	w := &window{
		def: def, slide: int64(def.Slide), span: int64(def.Length / def.Slide),
		mark: math.MinInt64, closed: math.MinInt64, done: before, final: before,
		groups: make(map[stream.Series]*group), revisions: make(map[int64]uint32),
		scratch: newCell(&def),
	}
	for lane := range event.Lane(event.Lanes) {
		if def.Lanes == BothLanes || def.Lanes == CriticalLane && lane == event.Critical || def.Lanes == BulkLane && lane == event.Bulk {
			w.lanes |= 1 << lane
			w.reads = append(w.reads, lane)
		}
	}
	return w
}

// at is the position of a slice, or where it belongs.
func (w *window) at(index int64) (int, bool) {
	return slices.BinarySearchFunc(w.slices, index, func(s *slice, i int64) int { return cmp.Compare(s.index, i) })
}

// slice finds or makes a slice; nil if there are too many.
func (w *window) slice(index int64) *slice {
	at, found := w.at(index)
	if found {
		return w.slices[at]
	}
	if len(w.slices) >= MaxSlices {
		return nil
	}
	s := &slice{index: index}
	w.slices = slices.Insert(w.slices, at, s)
	return s
}

// changed notes that a late event has changed a group's cell of a slice.
func (w *window) changed(s *slice, g *group, c *cell) {
	c.dirty, w.late = true, true
	s.late = append(s.late, g)
}

// otherKey is the key of what is folded.
func (w *window) otherKey() stream.Series {
	return w.def.key(stream.Series{Entity: stream.Other, Signal: stream.Other})
}

// group finds or makes a group; nil if there are too many. One that is made
// counts only when it is given a cell.
func (w *window) group(key stream.Series) *group {
	if g := w.groups[key]; g != nil {
		return g
	}
	if key == w.otherKey() {
		return w.other()
	}
	n := len(w.groups)
	if w.rest != nil {
		n-- // a place of its own
	}
	if n >= w.def.MaxGroups {
		return nil
	}
	return &group{key: key}
}

// other is the group of what is folded. The caller gives it a cell.
func (w *window) other() *group {
	if w.rest == nil {
		w.rest = &group{key: w.otherKey()}
	}
	return w.rest
}

// open gives a group its cell of a slice, at that position of its cells.
func (w *window) open(g *group, at int, index int64) *cell {
	if len(g.cells) == 0 {
		w.groups[g.key] = g
		w.order = nil
	}
	c := w.take(g)
	g.cells = slices.Insert(g.cells, at, placed{index, c})
	return c
}

// take returns an empty cell for a group.
func (w *window) take(g *group) *cell {
	c := g.spare
	switch n := len(w.spare); {
	case c != nil:
		g.spare = nil
	case n > 0:
		c, w.spare = w.spare[n-1], w.spare[:n-1]
	default:
		return newCell(&w.def)
	}
	if c.details != nil {
		w.held -= c.details.held
		c.details.held = 0
	}
	return c
}

// sorted are the groups in the order of their keys.
func (w *window) sorted() []*group {
	if w.order == nil {
		w.order = make([]*group, 0, len(w.groups))
		for _, g := range w.groups {
			w.order = append(w.order, g)
		}
		slices.SortFunc(w.order, compareGroups)
	}
	return w.order
}

func compareGroups(g, h *group) int { return g.key.Compare(h.key) }

// revise tells again what late events have changed.
func (w *window) revise(out []Result) []Result {
	if !w.late {
		return out
	}
	w.late = false
	var dirty []*slice
	for _, s := range w.slices {
		if s.index > w.done {
			break
		}
		if len(s.late) > 0 {
			dirty = append(dirty, s)
		}
	}
	last := min(dirty[len(dirty)-1].index+w.span-1, w.done)
	for j := max(dirty[0].index, w.final+1); j <= last; j++ {
		var changed []*group
		for _, s := range dirty {
			if s.index > j-w.span && s.index <= j {
				changed = append(changed, s.late...)
			}
		}
		if len(changed) == 0 {
			continue
		}
		slices.SortFunc(changed, compareGroups)
		w.revisions[j] = max(w.revisions[j], 1) + 1
		for _, g := range slices.Compact(changed) {
			out = w.result(out, j, g)
		}
	}
	for _, s := range dirty {
		for _, g := range s.late {
			at, _ := g.at(s.index)
			g.cells[at].cell.dirty = false
		}
		s.late = nil
	}
	return out
}

// tell tells the windows that the watermark has passed.
func (w *window) tell(out []Result) []Result {
	done := floorDiv(w.mark, w.slide) - 1
	if done <= w.done {
		return out
	}
	told := w.done
	w.done, w.closed = done, (done+1)*w.slide
	for j := told + 1; ; j++ {
		at, _ := w.at(j - w.span + 1) // the first slice that j or a later window covers
		if at == len(w.slices) {
			return out
		}
		if j = max(j, w.slices[at].index); j > done {
			return out
		}
		out = slices.Grow(out, len(w.groups))
		for _, g := range w.sorted() {
			out = w.result(out, j, g)
		}
	}
}

// forget lets go of what changes no more, and returns how many cells, without
// those of Other, and how much weight that is.
func (w *window) forget() (cells, weight int) {
	if w.mark == math.MinInt64 {
		return 0, 0
	}
	final := floorDiv(w.mark-int64(w.def.Lateness), w.slide) - 1
	if final <= w.final {
		return 0, 0
	}
	w.final = final
	for j := range w.revisions {
		if j <= final {
			delete(w.revisions, j)
		}
	}
	n, _ := w.at(final - w.span + 2)
	if n == 0 {
		return 0, 0
	}
	w.slices = slices.Delete(w.slices, 0, n)
	for _, g := range w.groups {
		n, _ := g.at(final - w.span + 2)
		for _, p := range g.cells[:n] {
			weight += w.retire(g, p.cell)
		}
		if g != w.rest {
			cells += n
		}
		if g.cells = slices.Delete(g.cells, 0, n); len(g.cells) == 0 {
			w.drop(g)
		}
	}
	return cells, weight
}

// retire keeps a group's cell for slices to come, and returns its weight.
func (w *window) retire(g *group, c *cell) int {
	weight, held := c.weight(), 0
	c.reset()
	if c.details != nil {
		held = c.details.sketch.Held() / WeightBytes
		c.details.held = held
	}
	switch {
	case w.held+held > maxSpareWeight:
		return weight
	case g.spare == nil:
		g.spare = c
	case held <= lightWeight && len(w.spare) < maxSpare:
		w.spare = append(w.spare, c)
	default:
		return weight
	}
	w.held += held
	return weight
}

// drop lets go of a group without cells.
func (w *window) drop(g *group) {
	delete(w.groups, g.key)
	w.order = nil
	if g == w.rest {
		w.rest = nil
	}
	c := g.spare
	if g.spare = nil; c == nil {
		return
	}
	if c.details == nil || c.details.held <= lightWeight {
		if len(w.spare) < maxSpare {
			w.spare = append(w.spare, c)
			return
		}
	}
	if c.details != nil {
		w.held -= c.details.held
	}
}

// size is the number of cells, without those of Other, and their weight.
func (w *window) size() (cells, weight int) {
	for _, g := range w.groups {
		for _, p := range g.cells {
			weight += p.cell.weight()
		}
		if g != w.rest {
			cells += len(g.cells)
		}
	}
	return cells, weight
}
