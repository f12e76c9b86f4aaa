package aggregate

import (
	"errors"
	"math"

	"pando/event"
	"pando/internal/exact"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/sketch"
)

// WeightBytes is the unit in which memory is counted: a bucket of a sketch takes
// that much with what it has in reserve.
const WeightBytes = 64

// cell is what one group's events of one slice add up to. What is counted in it
// is a function of the events alone, but for [Top] beyond what it keeps.
type cell struct {
	count    uint64
	unsummed uint64 // whose value is no number within ±2^63: in nothing but count
	sum      exact.Sum
	min, max float64  // of the summed; without any, +Inf and -Inf
	details  *details // nil where the definition asks for none
	dirty    bool     // changed since the results that it is in were told
}

// details are the costly parts of a cell.
type details struct {
	sketched bool // quantiles are asked for
	sketch   sketch.Sketch
	distinct []Distinct // of the fields of the definition
	top      []*Top
	held     int // while the cell is spare: the weight that its memory could hold
}

// summable is the end of the values that have a sum; see [exact.FromFloat].
const summable = 1 << 63

func newCell(def *Window) *cell {
	var c *cell
	if def.detailed() {
		both := &struct { // side by side: who works on one soon does on the other
			cell    cell
			details details
		}{}
		c = &both.cell
		c.details = &both.details
		c.details.sketched, c.details.distinct = len(def.Quantiles) > 0, make([]Distinct, len(def.Distinct))
		for _, t := range def.Top {
			c.details.top = append(c.details.top, NewTop(t.K))
		}
	} else {
		c = &cell{}
	}
	c.reset()
	return c
}

// detailed reports whether there is more to a cell than counts, sums and extremes.
func (w *Window) detailed() bool { return len(w.Quantiles)+len(w.Distinct)+len(w.Top) > 0 }

// reset empties the cell for another slice and keeps its memory.
func (c *cell) reset() {
	*c = cell{min: math.Inf(1), max: math.Inf(-1), details: c.details}
	if d := c.details; d != nil {
		d.sketch.Reset()
		for i := range d.distinct {
			d.distinct[i].reset()
		}
		for _, t := range d.top {
			t.reset()
		}
	}
}

// add takes events in, but for their details.
func (c *cell) add(p *stream.Part) {
	c.count += uint64(len(p.Events))
	c.unsummed += uint64(p.Unsummed)
	c.sum = c.sum.Add(p.Sum)
	if p.Min < c.min {
		c.min = p.Min
	}
	if p.Max > c.max {
		c.max = p.Max
	}
}

// add takes some of a job's events in, and returns by how much heavier that made
// the details.
func (d *details) add(def *Window, b *event.Columns, j *job, from, to int) int {
	p, more := j.part, 0
	if j.sketched {
		more = d.addValues(p.Values[from:to], p.Unsummed > 0)
	}
	if len(def.Distinct)+len(def.Top) == 0 {
		return more
	}
	events, before := p.Events[from:to], d.fieldsWeight()
	for k, f := range def.Distinct {
		for _, i := range events {
			if v := f.value(b, int(i)); v != "" {
				d.distinct[k].Add(v)
			}
		}
	}
	for k, t := range def.Top {
		for _, i := range events {
			if v := t.Of.value(b, int(i)); v != "" {
				d.top[k].Add(v)
			}
		}
	}
	return more + d.fieldsWeight() - before
}

// addValues takes values into the sketch, and returns by how many buckets that made
// it larger. Some may be without a sum: those are left out.
func (d *details) addValues(values []float64, some bool) (more int) {
	if !some {
		return d.sketch.AddAll(values)
	}
	for i, v := range values {
		if -summable <= v && v < summable {
			more += d.sketch.AddAll(values[i : i+1])
		}
	}
	return more
}

// perEvent is by how much one event makes the details of a window heavier, at most.
func (w *Window) perEvent() int {
	return 1 + len(w.Distinct)*registers/WeightBytes + len(w.Top)*(topWeight/WeightBytes+1)
}

// weight is what the details take of memory, in units of WeightBytes. It
// follows from the state, not from how it came to be.
func (c *cell) weight() int {
	if c.details == nil {
		return 0
	}
	return c.details.weight()
}

func (d *details) weight() int { return d.sketch.Buckets() + d.fieldsWeight() }

// fieldsWeight is that of the distinct counts and the most frequent values.
func (d *details) fieldsWeight() (n int) {
	for i := range d.distinct {
		n += d.distinct[i].weight()
	}
	for _, t := range d.top {
		n += t.weight()
	}
	return n
}

// merge takes in a cell of the same definition, which stays as it is.
func (c *cell) merge(o *cell) {
	c.count += o.count
	c.unsummed += o.unsummed
	c.sum = c.sum.Add(o.sum)
	c.min, c.max = min(c.min, o.min), max(c.max, o.max)
	if c.details == nil {
		return
	}
	c.details.sketch.Merge(&o.details.sketch)
	for i := range c.details.distinct {
		c.details.distinct[i].Merge(&o.details.distinct[i])
	}
	for i, t := range c.details.top {
		t.Merge(o.details.top[i])
	}
}

func (c *cell) append(w *pack.Writer) {
	w.Bool(c.dirty)
	w.Uint(c.count)
	w.Uint(c.unsummed)
	if c.unsummed < c.count {
		stream.AppendSum(w, c.sum)
		w.Float(c.min)
		w.Float(c.max)
	}
	if c.details == nil {
		return
	}
	if c.details.sketched {
		c.details.sketch.Append(w)
	}
	for i := range c.details.distinct {
		c.details.distinct[i].Append(w)
	}
	for _, t := range c.details.top {
		t.Append(w)
	}
}

// read fills an empty cell with what append wrote.
func (c *cell) read(r *pack.Reader) {
	c.dirty = r.Bool("dirty")
	c.count = r.Uint("count", maxCount)
	c.unsummed = r.Uint("unsummed", c.count)
	if c.unsummed < c.count {
		c.sum = stream.ReadSum(r, "sum")
		c.min, c.max = r.Float("least value"), r.Float("greatest value")
		if r.Err() == nil && !(-1<<63 <= c.min && c.min <= c.max && c.max < 1<<63) {
			r.Fail("least value", errors.New("no number within ±2^63, or above the greatest"))
		}
	}
	if r.Err() == nil && c.count == 0 {
		r.Fail("count", errors.New("a cell without events"))
	}
	if c.details == nil {
		return
	}
	if c.details.sketched {
		c.details.sketch = sketch.Read(r)
	}
	for i := range c.details.distinct {
		c.details.distinct[i] = ReadDistinct(r)
	}
	for i, t := range c.details.top {
		c.details.top[i] = ReadTop(r)
		if r.Err() == nil && c.details.top[i].k != t.k {
			r.Fail("top", errors.New("asked for another number of entries"))
		}
	}
}
