package stream

import (
	"pando/event"
	"pando/internal/exact"
)

// Line is what the lines of one kind have in common.
type Line struct{ Source, Entity, Signal, Peer string }

// Series is what the line is counted for.
func (l *Line) Series() Series { return Series{l.Entity, l.Signal} }

// Combined is what one batch adds up to before it is folded, as the combiner
// of MapReduce (Dean and Ghemawat, OSDI 2004): one part for each line and run
// of panes, however many events it is of. It is a function of the batch and of
// its place in root time, so any goroutine may work it out ahead of the one
// that folds. The zero value is ready for [Combined.Combine], which reuses its
// memory; strings last. Not safe for concurrent use.
type Combined struct {
	Lines  []Line
	LineOf []uint32 // the line of each event
	// order has the events by their line, and within it in their order; each
	// line's begin where starts says.
	order, starts []uint32
	// Rest are the events that are no observations: heartbeats and losses, by
	// their number in the batch. They have a line, and are in no part.
	Rest []uint32

	parts []part
	last  []uint32 // the newest part of each line, from 1; 0 for none

	// Lines by the numbers that their strings have in the batch, from 1; 0 for
	// none: in a grid where that is small, else in a map.
	grid   []uint32
	sparse map[lineKey]uint32
}

// part is a run of events of one line in one pane.
type part struct {
	line     uint32
	pane     Pane
	severity event.Severity
	count    uint64
	backlog  uint64
	errors   uint64 // of severity error or worse
	unsummed uint64
	sum      exact.Sum
}

// lineKey names a line by the numbers that its strings have in the batch.
type lineKey struct{ source, entity, signal, peer uint32 }

// gridPerEvent bounds the grid's size by that of the batch: to clear four bytes
// costs a small part of what is done for an event.
const gridPerEvent = 32

// Combine adds the events of a batch up. Points are their best single times in
// root time.
func (c *Combined) Combine(b *event.Columns, points []int64) {
	c.reset(b.Count)
	c.number(b)
	c.group()
	for i, n := range c.LineOf {
		if kind := b.Kind[i]; kind == event.Heartbeat || kind == event.Loss {
			c.Rest = append(c.Rest, uint32(i))
			continue
		}
		p := c.part(n, PaneOf(points[i]))
		p.count++
		p.severity = max(p.severity, b.Severity[i])
		if b.Severity[i] >= event.SeverityError {
			p.errors++
		}
		if b.Flags[i]&event.Backlog != 0 {
			p.backlog++
		}
		if v, ok := exact.FromFloat(b.Value[i]); ok {
			p.sum = p.sum.Add(v)
		} else {
			p.unsummed++
		}
	}
}

func (c *Combined) reset(events int) {
	c.Lines, c.Rest, c.parts, c.last = c.Lines[:0], c.Rest[:0], c.parts[:0], c.last[:0]
	if cap(c.LineOf) < events {
		c.LineOf = make([]uint32, events)
	}
	c.LineOf = c.LineOf[:events]
}

// number gives each event its line.
func (c *Combined) number(b *event.Columns) {
	entities, signals, peers := len(b.Entity.Texts), len(b.Signal.Texts), len(b.Peer.Texts)
	size := len(b.Source.Texts)
	for _, n := range []int{entities, signals, peers} {
		if size *= n; size > gridPerEvent*b.Count {
			c.numberSparse(b)
			return
		}
	}
	if cap(c.grid) < size {
		c.grid = make([]uint32, size)
	}
	c.grid = c.grid[:size]
	clear(c.grid)
	for i := range c.LineOf {
		at := ((int(b.Source.Number(i))*entities+int(b.Entity.Number(i)))*signals+int(b.Signal.Number(i)))*peers + int(b.Peer.Number(i))
		n := c.grid[at]
		if n == 0 {
			n = c.newLine(b, i)
			c.grid[at] = n
		}
		c.LineOf[i] = n - 1
	}
}

// numberSparse is number for batches of which few combinations occur.
func (c *Combined) numberSparse(b *event.Columns) {
	if c.sparse == nil {
		c.sparse = make(map[lineKey]uint32)
	}
	clear(c.sparse)
	for i := range c.LineOf {
		key := lineKey{b.Source.Number(i), b.Entity.Number(i), b.Signal.Number(i), b.Peer.Number(i)}
		n := c.sparse[key]
		if n == 0 {
			n = c.newLine(b, i)
			c.sparse[key] = n
		}
		c.LineOf[i] = n - 1
	}
}

// group puts the events in the order of their lines, by counting.
func (c *Combined) group() {
	c.starts = append(c.starts[:0], make([]uint32, len(c.Lines)+1)...)
	for _, n := range c.LineOf {
		c.starts[n+1]++
	}
	for n := range c.Lines {
		c.starts[n+1] += c.starts[n]
	}
	if cap(c.order) < len(c.LineOf) {
		c.order = make([]uint32, len(c.LineOf))
	}
	c.order = c.order[:len(c.LineOf)]
	next := append(c.last[:0], c.starts[:len(c.Lines)]...)
	for i, n := range c.LineOf {
		c.order[next[n]] = uint32(i)
		next[n]++
	}
	clear(next)
	c.last = next
}

// Events are those of a line, by their numbers in the batch.
func (c *Combined) Events(line int) []uint32 { return c.order[c.starts[line]:c.starts[line+1]] }

// newLine takes in the line of event i and returns its number, from 1.
func (c *Combined) newLine(b *event.Columns, i int) uint32 {
	c.Lines = append(c.Lines, Line{Source: b.Source.At(i), Entity: b.Entity.At(i), Signal: b.Signal.At(i), Peer: b.Peer.At(i)})
	c.last = append(c.last, 0)
	return uint32(len(c.Lines))
}

// part is the newest part of a line if it is of the pane, else a new one: a
// batch goes on in time, and if it does not, the fold adds the parts up.
func (c *Combined) part(line uint32, pane Pane) *part {
	if at := c.last[line]; at != 0 && c.parts[at-1].pane == pane {
		return &c.parts[at-1]
	}
	c.parts = append(c.parts, part{line: line, pane: pane})
	c.last[line] = uint32(len(c.parts))
	return &c.parts[len(c.parts)-1]
}
