package aggregate

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
)

const snapshotVersion = 1

// maxShape bounds the written form of a definition: its patterns and fields
// with every byte quoted.
const maxShape = 64 << 10

// Snapshot writes the whole state, sorted: equal states have equal bytes. An
// engine of the same configuration that restores it goes on identically.
func (e *Engine) Snapshot(w *pack.Writer) {
	w.Uint(snapshotVersion)
	w.Bool(e.started)
	w.Int(e.began)
	w.Int(e.latest)
	w.Array(len(e.windows))
	for _, win := range e.windows {
		win.snapshot(w)
	}
}

func (win *window) snapshot(w *pack.Writer) {
	w.String(win.def.Name)
	w.String(win.def.shape())
	w.Bool(len(win.def.Quantiles) > 0)
	w.Uint(uint64(len(win.def.Distinct)))
	w.Array(len(win.def.Top))
	for _, t := range win.def.Top {
		w.Uint(uint64(t.K))
	}
	for _, t := range win.times() {
		w.Int(*t)
	}
	w.Uint(uint64(win.active))
	w.Uint(uint64(win.total))
	for _, n := range win.stats.counters() {
		w.Uint(*n)
	}
	told := slices.Sorted(maps.Keys(win.revisions))
	w.Array(len(told))
	for _, j := range told {
		w.Int(j)
		w.Uint(uint64(win.revisions[j]))
	}
	groups := win.sorted()
	w.Array(len(groups))
	for _, g := range groups {
		w.String(g.key.Entity)
		w.String(g.key.Signal)
		w.Array(len(g.cells))
		for _, p := range g.cells {
			w.Int(p.index)
			p.cell.append(w)
		}
	}
}

// times lists fields in the order of the format.
func (win *window) times() []*int64 {
	return []*int64{&win.slide, &win.span, &win.since, &win.mark, &win.done, &win.final}
}

// counters lists the fields in the order of the format.
func (s *Stats) counters() []*uint64 {
	return []*uint64{&s.Late, &s.Expired, &s.Folded, &s.Refused, &s.Undetailed}
}

// Restore replaces the state by what [Engine.Snapshot] wrote, of the windows
// whose shape is the same; the others begin anew, with a partial window. After
// an error the engine is as before.
func (e *Engine) Restore(r *pack.Reader) error {
	fresh := &Engine{limits: e.limits}
	for _, w := range e.windows {
		fresh.windows = append(fresh.windows, newWindow(w.def))
	}
	readVersion(r, "snapshot version", snapshotVersion)
	fresh.started, fresh.began, fresh.latest = r.Bool("started"), readTime(r, "began"), r.Int("latest")
	if r.Err() == nil && fresh.latest > maxTime {
		r.Fail("latest", errors.New("out of range"))
	}
	var old []*window
	for range r.Array("windows", MaxWindows) {
		if w := e.readWindow(r); r.Err() == nil && w != nil {
			old = append(old, w)
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("restore windows: %w", err)
	}
	fresh.adopt(old)
	*e = *fresh
	return nil
}

func readTime(r *pack.Reader, field string) int64 {
	t := r.Int(field)
	if r.Err() == nil && (t > maxTime || t < -maxTime) {
		r.Fail(field, errors.New("out of range"))
	}
	return t
}

// readWindow reads the state of a window; nil if it is none of this engine's.
func (e *Engine) readWindow(r *pack.Reader) *window {
	name, shape := readText(r, "window", MaxWindowName), readText(r, "shape", maxShape)
	def := Window{}
	if r.Bool("sketched") {
		def.Quantiles = []float64{0}
	}
	def.Distinct = make([]Field, r.Uint("distinct", MaxFields))
	for range r.Array("top", MaxFields) {
		def.Top = append(def.Top, TopOf{K: int(r.Uint("k", MaxTop))})
	}
	def.Length, def.Slide = paneLength, paneLength // replaced by what is read
	known := false
	for _, w := range e.windows {
		if w.def.Name == name && w.def.shape() == shape && sameDetails(&w.def, &def) {
			def, known = w.def, true
		}
	}
	win := newWindow(def)
	slide, span := win.slide, win.span
	for _, t := range win.times() {
		*t = r.Int("time")
	}
	win.active, win.total = int(r.Uint("active", stream.MaxUnits)), int(r.Uint("units", stream.MaxUnits))
	for _, n := range win.stats.counters() {
		*n = r.Uint("counter", math.MaxUint64)
	}
	if r.Err() == nil && known && (win.slide != slide || win.span != span) {
		r.Fail("time", errors.New("other lengths than those of the definition"))
	}
	if win.check(r); r.Err() != nil {
		return nil
	}
	win.readRevisions(r)
	win.readGroups(r)
	if r.Err() != nil || !known {
		return nil
	}
	return win
}

// sameDetails reports whether cells of two definitions have the same parts.
func sameDetails(a, b *Window) bool {
	return (len(a.Quantiles) > 0) == (len(b.Quantiles) > 0) && len(a.Distinct) == len(b.Distinct) &&
		slices.EqualFunc(a.Top, b.Top, func(s, t TopOf) bool { return s.K == t.K })
}

// check refuses numbers that no window can have, so that nothing that is
// computed from them leaves its range.
func (win *window) check(r *pack.Reader) {
	ok := win.slide > 0 && win.slide <= int64(maxLength) && win.span > 0 && win.span <= MaxSpan &&
		win.active <= win.total && win.final <= win.done
	unset := win.mark == math.MinInt64
	if unset {
		ok = ok && win.done == before && win.final == before
	} else if ok {
		ok = win.mark <= maxTime && win.mark >= -maxTime && win.done == floorDiv(win.mark, win.slide)-1
		win.closed = (win.done + 1) * win.slide
	}
	if r.Err() == nil && !ok {
		r.Fail("time", errors.New("lengths or watermark out of range, or of other windows"))
	}
}

func (win *window) readRevisions(r *pack.Reader) {
	last := win.final
	for range r.Array("revisions", MaxSlices) {
		j, n := r.Int("revised window"), r.Uint("revision", math.MaxUint32)
		if r.Err() == nil && (j <= last || j > win.done || n < 2) {
			r.Fail("revised window", errors.New("not in order, not told or final, or not revised"))
		}
		if r.Err() != nil {
			return
		}
		win.revisions[j], last = uint32(n), j
	}
}

func (win *window) readGroups(r *pack.Reader) {
	var last stream.Series
	for i := range r.Array("groups", MaxGroups+1) {
		g := &group{key: stream.Series{Entity: readText(r, "entity", event.MaxName), Signal: readText(r, "signal", event.MaxName)}}
		if r.Err() == nil && i > 0 && last.Compare(g.key) >= 0 {
			r.Fail("groups", errors.New("not in order"))
		}
		if win.readCells(r, g); r.Err() != nil {
			return
		}
		if g.key == win.otherKey() {
			win.rest = g
		}
		last = g.key
	}
}

func (win *window) readCells(r *pack.Reader, g *group) {
	n := r.Array("cells", MaxSlices)
	if n == 0 && r.Err() == nil {
		r.Fail("cells", errors.New("a group without any"))
	}
	for i := range n {
		index := r.Int("slice")
		if r.Err() == nil && (i > 0 && index <= g.cells[i-1].index || index+win.span-1 <= win.final ||
			index > maxTime/win.slide || index < -maxTime/win.slide-1) {
			r.Fail("slice", errors.New("not in order, final, or out of range"))
		}
		if r.Err() != nil {
			return
		}
		c := win.open(g, i, index)
		c.read(r)
		s := win.slice(index)
		if s == nil || c.dirty && index > win.done {
			r.Fail("slice", errors.New("too many of them, or late before anything was told"))
			return
		}
		if c.dirty {
			win.changed(s, g, c)
		}
	}
}
