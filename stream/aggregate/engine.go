// Package aggregate computes windows over event time: counts, sums, extremes,
// quantiles, distinct counts and most frequent values, for each series, entity
// or signal, tumbling or sliding, as a configuration says. It is what a stream
// processor's windows are, as one deterministic value that a relay steps.
//
// Events go into slices, aligned runs of panes as long as a window's slide.
// When the watermark has passed the end of a window, the slices that it covers
// are merged and its results are told. A late event changes its slice
// nevertheless, and the results that it belongs to are told again with a higher
// revision, as long as the window's lateness permits; what comes even later is
// counted. Everything but [Top] beyond what it keeps is a function of the
// events, whatever their order.
//
// Telling a sliding window costs a merge for each of its slides and group: at
// most [MaxSpan]. Keeping partial merges (two stacks) would make it two, but each
// late event would undo them, and a merge of small sketches takes a tenth of a
// microsecond.
//
// Windows live and end on the relay. The rows of a section, which the root adds
// up, carry counts and sums only: what goes up is budgeted, and nothing at the
// root would read the rest.
package aggregate

import (
	"fmt"
	"math"
	"slices"

	"pando/event"
	"pando/stream"
)

// MaxSlices bounds the slices that a window has open or keeps. It keeps at most
// half as many by its length and lateness, so its watermark may stay behind by
// as many slides before events are refused.
const MaxSlices = 4096

// Limits bound the state of an [Engine]. What no longer fits goes to the group
// of [stream.Other], and is counted.
type Limits struct {
	// Cells are those of all slices and groups, beside one for Other in each
	// slice: some 110 bytes each, 500 with details.
	Cells int
	// Weight is how many units of 64 bytes the sketches, distinct counts and
	// frequent values may take together. Beyond, they take nothing in, while
	// counts, sums and extremes go on.
	Weight int
}

// DefaultLimits allow 110 to 500 MB of cells and 256 MB of what is in them.
func DefaultLimits() Limits { return Limits{Cells: 1 << 20, Weight: 1 << 22} }

func (l Limits) validate() error {
	if l.Cells < 1 || l.Cells > 1<<26 || l.Weight < 0 || l.Weight > 1<<28 {
		return fmt.Errorf("limits of %d cells and weight %d: want 1 to %d, and 0 to %d", l.Cells, l.Weight, 1<<26, 1<<28)
	}
	return nil
}

// Engine is the state of all windows. It is a pure state machine: no method
// reads a clock, and the order of calls decides everything. Not safe for
// concurrent use.
type Engine struct {
	limits  Limits
	windows []*window
	started bool  // an event was observed or a watermark came,
	began   int64 // of this root time
	latest  int64 // root time of the latest event; math.MinInt64 before the first
	cells   int   // of all windows, without those of Other
	weight  int   // of all cells

	lines stream.Memory[line] // an accelerator

	// Of the batch that is observed: by line, and what is to be done.
	targets [][]target
	jobs    []job
}

// job is to add a part of a batch where a target is.
type job struct {
	target   *target
	part     *stream.Part
	line     int32 // of the batch
	sketched bool  // the details of the cell are
	cell     *cell // nil until it is found, and if there is none to be
}

// line is what is known of a line of events.
type line struct {
	matched bool
	targets []target
}

// target is a window that reads a line. It remembers where the last event went, so
// that the usual one, in the same open slice, finds its cell at once.
type target struct {
	window *window
	group  *group // of the series; nil before the first event, and while it is Other
	cell   *cell  // of group, nil before the first
	from   int64  // the root time at which the cell's slice begins
}

// New returns an engine without any events.
func New(cfg Config, limits Limits) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure windows: %w", err)
	}
	if err := limits.validate(); err != nil {
		return nil, fmt.Errorf("configure windows: %w", err)
	}
	e := &Engine{limits: limits, latest: math.MinInt64}
	for _, def := range cfg.Windows {
		e.windows = append(e.windows, newWindow(def.filled()))
	}
	return e, nil
}

// maxTime keeps times so far from the ends of their range that they can be
// added to.
const maxTime = math.MaxInt64 / 2

// Observe takes in the events of a batch, whose lines must have numbers, at the
// root time that has come by now: an event does not happen after it arrives, and
// one of the far future would keep a slice open until then. Heartbeats and losses
// are nothing to aggregate. The engine keeps nothing of the batch but names.
func (e *Engine) Observe(a *stream.Arrival, now int64) {
	if len(e.windows) == 0 || !a.Sums.Observed() {
		return
	}
	if !e.started {
		e.start(clamp(a.Points[slices.IndexFunc(a.Kind, observed)], now))
	}
	e.latest = max(e.latest, clamp(a.Sums.Latest, now))
	plain := clamp(a.Sums.Earliest, now) == a.Sums.Earliest && clamp(a.Sums.Latest, now) == a.Sums.Latest
	e.look(a)
	for n, targets := range e.targets {
		parts := a.Sums.Parts(n)
		for j := range targets {
			t := &targets[j]
			if t.window.lanes>>a.Unit.Lane&1 == 0 {
				continue
			}
			for k := range parts {
				j := job{target: t, part: &parts[k], line: int32(n)}
				if !plain {
					e.addEach(a, &j, now)
				} else if e.jobs = append(e.jobs, j); len(e.jobs) == maxJobs {
					e.work(a)
				}
			}
		}
	}
	e.work(a)
	clear(e.targets)
}

// look finds the targets of the lines of a batch: all at once, so that the processor
// waits for the memory of many of them at a time.
func (e *Engine) look(a *stream.Arrival) {
	lines := e.lines.Of(&a.Sums)
	e.targets = e.targets[:0]
	for n, number := range a.Sums.Numbers {
		ln := &lines[number]
		if !ln.matched {
			e.match(ln, series(a, n))
		}
		e.targets = append(e.targets, ln.targets)
	}
}

// maxJobs bounds the jobs that wait for each other, 128 KB.
const maxJobs = 1 << 12

// work does the jobs, one thing at a time for all, as look does.
func (e *Engine) work(a *stream.Arrival) {
	for i := range e.jobs {
		e.count(a, &e.jobs[i])
	}
	for i := range e.jobs {
		if j := &e.jobs[i]; j.cell != nil && j.cell.details != nil {
			e.detail(a, j)
		}
	}
	clear(e.jobs)
	e.jobs = e.jobs[:0]
}

func observed(kind event.Kind) bool { return kind != event.Heartbeat && kind != event.Loss }

// clamp is the root time for which an event counts.
func clamp(point, now int64) int64 { return min(max(min(point, now), -maxTime), maxTime) }

// addEach adds events of which some do not count for their own time.
func (e *Engine) addEach(a *stream.Arrival, j *job, now int64) {
	for k, i := range j.part.Events {
		var one stream.Part
		one.One(a, j.part, k, clamp(a.Points[i], now))
		single := job{target: j.target, part: &one, line: j.line}
		if e.count(a, &single); single.cell != nil && single.cell.details != nil {
			e.detail(a, &single)
		}
	}
}

// series is that of the line at a place of a batch.
func series(a *stream.Arrival, place int) stream.Series { return a.Sums.Line(place).Series() }

// count finds the cell of a job and adds its events, but for their details. A pane
// lies within one slice, whatever its length.
func (e *Engine) count(a *stream.Arrival, j *job) {
	t, p := j.target, j.part
	c := t.cell
	if c == nil || uint64(p.Latest-t.from) >= uint64(t.window.slide) || t.from < t.window.closed {
		c = e.place(t, series(a, int(j.line)), p.Latest, uint64(len(p.Events)))
	}
	if j.cell = c; c != nil {
		c.add(p)
		j.sketched = c.details != nil && c.details.sketched
	}
}

// detail adds the details of a job's events, while there is room.
func (e *Engine) detail(a *stream.Arrival, j *job) {
	w, d, p := j.target.window, j.cell.details, j.part
	for from := 0; from < len(p.Events); {
		if e.weight >= e.limits.Weight {
			w.stats.Undetailed += uint64(len(p.Events) - from)
			return
		}
		// An event makes the details heavier by no more than perEvent.
		to := min(len(p.Events), from+max((e.limits.Weight-e.weight)/w.def.perEvent(), 1))
		e.weight += d.add(&w.def, &a.Columns, j, from, to)
		from = to
	}
}

// start says from when on everything is seen.
func (e *Engine) start(at int64) {
	e.started, e.began = true, at
	for _, w := range e.windows {
		w.since = at
	}
}

// match finds the windows that read a line.
func (e *Engine) match(ln *line, s stream.Series) {
	ln.matched = true
	for _, w := range e.windows {
		if stream.Match(w.def.Entity, s.Entity) && stream.Match(w.def.Signal, s.Signal) {
			ln.targets = append(ln.targets, target{window: w})
		}
	}
}

// place finds or makes the cell for so many events of a series at a time, and
// counts what is irregular about them; nil if there is none to be.
func (e *Engine) place(t *target, s stream.Series, point int64, events uint64) *cell {
	w := t.window
	index := floorDiv(point, w.slide)
	if index <= w.final {
		w.stats.Expired += events
		if index+w.span-1 <= w.final {
			return nil
		}
	}
	sl := w.slice(index)
	if sl == nil {
		w.stats.Refused += events
		return nil
	}
	g := t.group
	if g == nil || len(g.cells) == 0 { // none, or one that was let go of
		g = w.group(w.def.key(s))
		t.group = g
	}
	c := e.cell(w, g, index)
	if c == nil {
		t.group = nil
		w.stats.Folded += events
		g = w.other()
		c = e.cell(w, g, index)
	}
	if index > w.done {
		t.cell, t.from = nil, index*w.slide
		if g == t.group {
			t.cell = c
		}
		return c
	}
	w.stats.Late += events
	if !c.dirty {
		w.changed(sl, g, c)
	}
	return c
}

// cell finds or makes the cell of a group in a slice; nil if there is no room,
// or no group. There is always room for Other.
func (e *Engine) cell(w *window, g *group, index int64) *cell {
	if g == nil {
		return nil
	}
	at, found := g.at(index)
	if found {
		return g.cells[at].cell
	}
	if g != w.rest {
		if e.cells >= e.limits.Cells {
			return nil
		}
		e.cells++
	}
	return w.open(g, at, index)
}

// Advance says how far event time has come, and returns what windows add up to
// that ended by it, and what they were told to add up to and no longer do: in
// the order of the configuration, then of their ends, then of the groups. A
// window goes by the least watermark of the lanes that it reads; units that are
// idle or excluded hold nothing back. The results share memory with nothing.
func (e *Engine) Advance(marks *stream.Watermarks) []Result {
	var out []Result
	for _, w := range e.windows {
		mark, active, total := marks.Min(w.reads...)
		if total == 0 || mark == math.MinInt64 {
			continue
		}
		mark = min(max(mark, -maxTime), maxTime)
		if !e.started {
			e.start(mark)
		}
		w.mark, w.active, w.total = max(w.mark, mark), active, total
		out = w.revise(out)
		out = w.tell(out)
		cells, weight := w.forget()
		e.cells -= cells
		e.weight -= weight
	}
	return out
}

// Reconfigure puts other windows in force. Those whose definition has the shape
// that one of the same name had, go on from its state; new ones begin with a
// partial window. After an error the engine is as before.
func (e *Engine) Reconfigure(cfg Config) error {
	fresh, err := New(cfg, e.limits)
	if err != nil {
		return err
	}
	fresh.started, fresh.began, fresh.latest = e.started, e.began, e.latest
	fresh.adopt(e.windows)
	*e = *fresh
	return nil
}

// adopt takes over the state of windows of the same name and shape.
func (e *Engine) adopt(old []*window) {
	for i, w := range e.windows {
		w.since = max(e.began, e.latest+1) // what came before was not seen
		for _, o := range old {
			if o.def.Name == w.def.Name && o.def.shape() == w.def.shape() {
				o.def = w.def
				e.windows[i] = o
				cells, weight := o.size()
				e.cells += cells
				e.weight += weight
				break
			}
		}
	}
}

// Stats count what was irregular in a window since it was first configured, and
// tell its present extent. The counts only rise.
type Stats struct {
	Window  string
	Groups  int    // with events in a slice that is kept
	Slices  int    // open or kept
	Cells   int    // of groups in slices
	Weight  int    // of their sketches and counts, in units of [WeightBytes]
	Mark    int64  // the watermark, root time; math.MinInt64 before the first
	Late    uint64 // events that changed a result already told
	Expired uint64 // events that came too late for at least one result
	Folded  uint64 // events that went to Other for want of room
	Refused uint64 // events that found too many slices open

	// Undetailed are events that are in no sketch, distinct count or top, for
	// want of room.
	Undetailed uint64
}

// Marked reports whether there is a watermark.
func (s *Stats) Marked() bool { return s.Mark != math.MinInt64 }

// Stats lists the windows in the order of the configuration.
func (e *Engine) Stats() []Stats {
	var list []Stats
	for _, w := range e.windows {
		s := w.stats
		s.Window, s.Groups, s.Slices, s.Mark = w.def.Name, len(w.groups), len(w.slices), w.mark
		s.Cells, s.Weight = w.size()
		list = append(list, s)
	}
	return list
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
