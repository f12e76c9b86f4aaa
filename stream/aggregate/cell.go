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

// weightBytes is the unit in which memory is counted: a bucket of a sketch takes
// that much with what it has in reserve.
const weightBytes = 64

// cell is what one group's events of one slice add up to. What is counted in it
// is a function of the events alone, but for [Top] beyond what it keeps.
type cell struct {
	count    uint64
	unsummed uint64 // whose value is no number within ±2^63: in nothing but count
	sum      exact.Sum
	min, max float64 // of the summed; without any, +Inf and -Inf
	dirty    bool    // changed since the results that it is in were told
	held     int     // while it is spare: the weight that its memory is for

	sketch   *sketch.Sketch // nil where no quantiles are asked for
	distinct []Distinct     // of the fields of the definition
	top      []*Top
}

func newCell(def *Window) *cell {
	c := &cell{}
	if len(def.Quantiles) > 0 {
		c.sketch = new(sketch.Sketch)
	}
	c.distinct = make([]Distinct, len(def.Distinct))
	for _, t := range def.Top {
		c.top = append(c.top, NewTop(t.K))
	}
	c.reset()
	return c
}

// reset empties the cell for another slice and keeps its memory.
func (c *cell) reset() {
	c.count, c.unsummed, c.sum, c.dirty = 0, 0, exact.Sum{}, false
	c.min, c.max = math.Inf(1), math.Inf(-1)
	if c.sketch != nil {
		c.sketch.Reset()
	}
	for i := range c.distinct {
		c.distinct[i].reset()
	}
	for _, t := range c.top {
		t.reset()
	}
}

// add takes an event in, but for its details.
func (c *cell) add(e *event.Event) {
	c.count++
	v, ok := exact.FromFloat(e.Value)
	if !ok {
		c.unsummed++
		return
	}
	c.sum = c.sum.Add(v)
	value := e.Value + 0 // of the two zeros the positive one
	if value < c.min {
		c.min = value
	}
	if value > c.max {
		c.max = value
	}
}

// detailed reports whether there is more to a cell than add counts.
func (w *Window) detailed() bool { return len(w.Quantiles)+len(w.Distinct)+len(w.Top) > 0 }

// detail takes in what add does not, and returns by how much heavier it made
// the cell.
func (c *cell) detail(def *Window, e *event.Event) int {
	grown := 0
	if c.sketch != nil {
		if _, ok := exact.FromFloat(e.Value); ok {
			before := c.sketch.Buckets()
			c.sketch.Add(e.Value)
			grown += c.sketch.Buckets() - before
		}
	}
	for i, f := range def.Distinct {
		if v := f.value(e); v != "" {
			before := c.distinct[i].weight()
			c.distinct[i].Add(v)
			grown += c.distinct[i].weight() - before
		}
	}
	for i, t := range def.Top {
		if v := t.Of.value(e); v != "" {
			before := c.top[i].weight()
			c.top[i].Add(v)
			grown += c.top[i].weight() - before
		}
	}
	return grown
}

// weight is what the details take of memory, in units of weightBytes. It
// follows from the state, not from how it came to be.
func (c *cell) weight() int {
	n := 0
	if c.sketch != nil {
		n += c.sketch.Buckets()
	}
	for i := range c.distinct {
		n += c.distinct[i].weight()
	}
	for _, t := range c.top {
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
	if c.sketch != nil {
		c.sketch.Merge(o.sketch)
	}
	for i := range c.distinct {
		c.distinct[i].Merge(&o.distinct[i])
	}
	for i, t := range c.top {
		t.Merge(o.top[i])
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
	if c.sketch != nil {
		c.sketch.Append(w)
	}
	for i := range c.distinct {
		c.distinct[i].Append(w)
	}
	for _, t := range c.top {
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
	if c.sketch != nil {
		*c.sketch = sketch.Read(r)
	}
	for i := range c.distinct {
		c.distinct[i] = ReadDistinct(r)
	}
	for i, t := range c.top {
		c.top[i] = ReadTop(r)
		if r.Err() == nil && c.top[i].k != t.k {
			r.Fail("top", errors.New("asked for another number of entries"))
		}
	}
}
