package stream

import (
	"math"

	"pando/event"
	"pando/internal/exact"
)

// Line is what the lines of one kind have in common.
type Line struct{ Source, Entity, Signal, Peer string }

// Series is what the line is counted for.
func (l Line) Series() Series { return Series{l.Entity, l.Signal} }

// Combined is what one batch adds up to before it is folded, as the combiner
// of MapReduce (Dean and Ghemawat, OSDI 2004): one part for each line and run
// of panes, however many events it is of. It is a function of the batch and of
// its place in root time, so any goroutine may work it out ahead of the one
// that folds. The zero value is ready for [Combined.Combine], which reuses its
// memory. It is good for as long as the batch stays as it is; strings last. Safe for
// concurrent use by those who only read.
type Combined struct {
	LineOf []uint32 // the line of each event
	// Numbers are those of the lines among all of their unit; see [Numbering].
	Numbers []uint32
	// Rest are the events that are no observations: heartbeats and losses, by
	// their number in the batch. They have a line, and are in no part.
	Rest []uint32
	// Latest and Earliest are the ends of the times of the observations.
	Earliest, Latest int64

	batch   *event.Columns
	lines   []lineKey  // by their places
	by      *Numbering // whose Numbers these are; nil for none
	numbers int        // above each of them

	parts   []Part
	partsTo []uint32 // where each line's end

	// order has the observations by their line, and within it in their order;
	// each line's begin where starts says. Values are theirs, in that order.
	order, starts, next []uint32
	values              []float64

	// Lines by the numbers that their strings have in the batch, from 1; 0 for
	// none: in a grid where that is small, else in a map.
	grid   []uint32
	sparse map[lineKey]uint32
}

// Part is a run of the events of one line in one pane.
type Part struct {
	Pane     Pane
	Events   []uint32       // by their number in the batch
	Values   []float64      // of the events
	Earliest int64          // of their times
	Latest   int64          // likewise
	Severity event.Severity // the highest
	Backlog  uint32         // how many were read far behind their source
	Errors   uint32         // how many have severity error or worse
	Unsummed uint32         // whose value is no number within ±2^63: neither in Sum nor in Min and Max
	Sum      exact.Sum      // of the values
	Min, Max float64        // of the values, never -0; without any, +Inf and -Inf
}

// lineKey names a line by the numbers that its strings have in the batch.
type lineKey struct{ source, entity, signal, peer uint32 }

// gridPerEvent bounds the grid's size by that of the batch: to clear four bytes
// costs a small part of what is done for an event.
const gridPerEvent = 32

// Combine adds the events of a batch up. Points are their best single times in
// root time. The lines have no numbers yet.
func (c *Combined) Combine(b *event.Columns, points []int64) {
	c.reset(b)
	c.line(b)
	c.group(b)
	for n := range c.lines {
		from, to := c.starts[n], c.starts[n+1]
		c.split(b, points, c.order[from:to], c.values[from:to])
		c.partsTo = append(c.partsTo, uint32(len(c.parts)))
	}
}

func (c *Combined) reset(b *event.Columns) {
	c.batch, c.lines, c.Rest = b, c.lines[:0], c.Rest[:0]
	c.parts, c.partsTo = c.parts[:0], c.partsTo[:0]
	c.Numbers, c.by, c.numbers = c.Numbers[:0], nil, 0
	c.Earliest, c.Latest = math.MaxInt64, math.MinInt64
	if events := b.Count; cap(c.LineOf) < events {
		c.LineOf, c.order, c.values = make([]uint32, events), make([]uint32, events), make([]float64, events)
	}
	c.LineOf, c.order, c.values = c.LineOf[:b.Count], c.order[:b.Count], c.values[:b.Count]
}

// Len is how many lines there are.
func (c *Combined) Len() int { return len(c.lines) }

// Line is the line at a place, from 0.
func (c *Combined) Line(place int) Line {
	b, l := c.batch, &c.lines[place]
	return Line{b.Source.Texts[l.source], b.Entity.Texts[l.entity], b.Signal.Texts[l.signal], b.Peer.Texts[l.peer]}
}

// size is about how many bytes it takes.
func (c *Combined) size() int {
	const line, part, event = 24, 152, 28 // with their numbers; a place in each list
	return len(c.lines)*line + len(c.parts)*part + len(c.LineOf)*event + len(c.grid)*4
}

// Number gives the lines their numbers.
func (c *Combined) Number(by *Numbering) { c.number(by, true) }

// LookUp gives the lines their numbers if all of them have one already.
func (c *Combined) LookUp(by *Numbering) { c.number(by, false) }

func (c *Combined) number(by *Numbering, give bool) {
	if c.by == by {
		return
	}
	all := false
	c.by, c.numbers = nil, 0
	if c.Numbers, all = by.number(c, c.Numbers[:0], give); !all {
		return
	}
	c.by = by
	for _, n := range c.Numbers {
		c.numbers = max(c.numbers, int(n)+1)
	}
}

// Parts are those of the line at a place.
func (c *Combined) Parts(line int) []Part {
	from := uint32(0)
	if line > 0 {
		from = c.partsTo[line-1]
	}
	return c.parts[from:c.partsTo[line]]
}

// Observed reports whether there is any part.
func (c *Combined) Observed() bool { return len(c.parts) > 0 }

// line gives each event its line.
func (c *Combined) line(b *event.Columns) {
	columns := [...]*event.Names{&b.Source, &b.Entity, &b.Signal, &b.Peer}
	size := 1
	for _, names := range columns {
		if size *= len(names.Texts); size > gridPerEvent*b.Count {
			c.lineSparse(b)
			return
		}
	}
	if cap(c.grid) < size {
		c.grid = make([]uint32, size)
	}
	c.grid = c.grid[:size]
	clear(c.grid)
	clear(c.LineOf)
	for _, names := range columns {
		wide := uint32(len(names.Texts)) // 1 without an index
		for i, number := range names.Index {
			c.LineOf[i] = c.LineOf[i]*wide + number
		}
	}
	for i, at := range c.LineOf {
		n := c.grid[at]
		if n == 0 {
			n = c.newLine(b, i)
			c.grid[at] = n
		}
		c.LineOf[i] = n - 1
	}
}

// lineSparse is line for batches of which few combinations occur.
func (c *Combined) lineSparse(b *event.Columns) {
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

// newLine takes in the line of event i and returns its number, from 1.
func (c *Combined) newLine(b *event.Columns, i int) uint32 {
	c.lines = append(c.lines, lineKey{b.Source.Number(i), b.Entity.Number(i), b.Signal.Number(i), b.Peer.Number(i)})
	return uint32(len(c.lines))
}

// group puts the observations in the order of their lines, by counting, and the
// others into Rest.
func (c *Combined) group(b *event.Columns) {
	c.starts = append(c.starts[:0], make([]uint32, len(c.lines)+1)...)
	for i, n := range c.LineOf {
		if kind := b.Kind[i]; kind == event.Heartbeat || kind == event.Loss {
			c.Rest = append(c.Rest, uint32(i))
			continue
		}
		c.starts[n+1]++
	}
	for n := range c.lines {
		c.starts[n+1] += c.starts[n]
	}
	c.next = append(c.next[:0], c.starts...)
	rest := c.Rest
	for i, n := range c.LineOf {
		if len(rest) > 0 && rest[0] == uint32(i) {
			rest = rest[1:]
			continue
		}
		at := c.next[n]
		c.order[at], c.values[at] = uint32(i), b.Value[i]
		c.next[n] = at + 1
	}
}

// split makes parts of the events of one line: a batch goes on in time, and if
// it does not, there are two of one pane, which whoever counts them adds up.
func (c *Combined) split(b *event.Columns, points []int64, events []uint32, values []float64) {
	for len(events) > 0 {
		c.parts = append(c.parts, Part{})
		p := &c.parts[len(c.parts)-1]
		n := p.take(b, points, events, values)
		c.Earliest, c.Latest = min(c.Earliest, p.Earliest), max(c.Latest, p.Latest)
		events, values = events[n:], values[n:]
	}
}

// take makes p the part that the first of the events are of, and returns how many
// these are: one at least.
func (p *Part) take(b *event.Columns, points []int64, events []uint32, values []float64) int {
	p.Pane = PaneOf(points[events[0]])
	begins, ends := p.Pane.Start(), (p.Pane + 1).Start() // at the ends of time they are the last there are
	earliest, latest := int64(math.MaxInt64), int64(math.MinInt64)
	least, most, sum := math.Inf(1), math.Inf(-1), exact.Sum{}
	severities, flags := b.Severity, b.Flags
	n := len(events)
	for k, i := range events {
		point := points[i]
		if point < begins || point >= ends && ends != math.MaxInt64 {
			n = k
			break
		}
		earliest, latest = min(earliest, point), max(latest, point)
		if severity := severities[i]; severity > p.Severity || severity >= event.SeverityError {
			p.Severity = max(p.Severity, severity)
			if severity >= event.SeverityError {
				p.Errors++
			}
		}
		if flags[i]&event.Backlog != 0 {
			p.Backlog++
		}
		value := values[k]
		v, ok := exact.FromFloat(value)
		if !ok {
			p.Unsummed++
			continue
		}
		sum = sum.Add(v)
		value += 0 // of the two zeros the positive one
		if value < least {
			least = value
		}
		if value > most {
			most = value
		}
	}
	p.Earliest, p.Latest, p.Sum, p.Min, p.Max = earliest, latest, sum, least, most
	p.Events, p.Values = events[:n], values[:n]
	return n
}

// One makes p a part of event k of another alone, at another time than its own.
func (p *Part) One(a *Arrival, of *Part, k int, at int64) {
	*p = Part{}
	p.take(&a.Columns, a.Points, of.Events[k:k+1], of.Values[k:k+1])
	p.Pane, p.Earliest, p.Latest = PaneOf(at), at, at
}
