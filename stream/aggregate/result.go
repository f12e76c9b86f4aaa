package aggregate

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"pando/event"
	"pando/internal/exact"
	"pando/internal/pack"
	"pando/stream"
)

// Result is what a window adds up to for one group.
type Result struct {
	Window string        // name of the definition
	Group  stream.Series // what the definition's By leaves of a series

	// Start and End are root times in Unix nanoseconds: the events of
	// [Start, End).
	Start, End int64

	// Revision is 1 when the window ends, and rises when late events change the
	// result; the highest one replaces all others.
	Revision uint32

	// Partial: the window was defined, or this engine's first life began, after
	// Start, so that earlier events may be missing.
	Partial bool

	// Active of Units were waited for when the result was told; the others were
	// silent, and their events may be missing.
	Active, Units int

	Count    uint64
	Unsummed uint64    // of Count: their value is no number within ±2^63, and is in nothing that follows
	Sum      exact.Sum // of the others
	Min, Max float64   // of the others, exactly; 0 if there are none

	Quantiles []Quantile // empty if there are no values
	Distinct  []Different
	Top       []Ranking
}

// Quantile is one quantile of the values, see [sketch.Sketch.Quantile], within the
// relative error told.
type Quantile struct {
	Q, Value, RelativeError float64
}

// Different is how many different values a field had; see [Distinct].
type Different struct {
	Of    Field
	Count uint64
}

// Ranking is the most frequent values of a field; see [Top].
type Ranking struct {
	Of      Field
	Entries []Entry
}

// Mean is the sum divided by the number of the values; 0 if there are none.
func (r *Result) Mean() float64 {
	if r.Count == r.Unsummed {
		return 0
	}
	return r.Sum.Float() / float64(r.Count-r.Unsummed)
}

// result appends that of a group in a window, if it has events there.
func (w *window) result(out []Result, last int64, g *group) []Result {
	at, _ := g.at(last - w.span + 1)
	if at == len(g.cells) || g.cells[at].index > last {
		return out
	}
	c := g.cells[at].cell
	if at+1 < len(g.cells) && g.cells[at+1].index <= last {
		w.scratch.reset()
		for ; at < len(g.cells) && g.cells[at].index <= last; at++ {
			w.scratch.merge(g.cells[at].cell)
		}
		c = w.scratch
	}
	r := Result{
		Window: w.def.Name, Group: g.key, Start: (last - w.span + 1) * w.slide, End: (last + 1) * w.slide,
		Revision: max(w.revisions[last], 1), Active: w.active, Units: w.total,
		Count: c.count, Unsummed: c.unsummed, Sum: c.sum,
	}
	r.Partial = r.Start < w.since
	if c.unsummed < c.count {
		r.Min, r.Max = c.min, c.max
	}
	for _, q := range w.def.Quantiles {
		if v, ok := c.details.sketch.Quantile(q); ok {
			r.Quantiles = append(r.Quantiles, Quantile{Q: q, Value: v, RelativeError: c.details.sketch.RelativeError()})
		}
	}
	for i, f := range w.def.Distinct {
		r.Distinct = append(r.Distinct, Different{Of: f, Count: c.details.distinct[i].Count()})
	}
	for i, t := range w.def.Top {
		r.Top = append(r.Top, Ranking{Of: t.Of, Entries: c.details.top[i].Entries()})
	}
	return append(out, r)
}

const resultVersion = 1

// maxField is the length of a field's name.
const maxField = len(attrPrefix) + event.MaxName

// AppendResult writes a result in the order of its fields.
func AppendResult(w *pack.Writer, r *Result) {
	w.Uint(resultVersion)
	w.String(r.Window)
	w.String(r.Group.Entity)
	w.String(r.Group.Signal)
	w.Int(r.Start)
	w.Int(r.End)
	w.Uint(uint64(r.Revision))
	w.Bool(r.Partial)
	w.Uint(uint64(r.Active))
	w.Uint(uint64(r.Units))
	w.Uint(r.Count)
	w.Uint(r.Unsummed)
	stream.AppendSum(w, r.Sum)
	w.Float(r.Min)
	w.Float(r.Max)
	w.Array(len(r.Quantiles))
	for _, q := range r.Quantiles {
		w.Float(q.Q)
		w.Float(q.Value)
		w.Float(q.RelativeError)
	}
	w.Array(len(r.Distinct))
	for _, d := range r.Distinct {
		w.String(string(d.Of))
		w.Uint(d.Count)
	}
	w.Array(len(r.Top))
	for _, t := range r.Top {
		w.String(string(t.Of))
		w.Array(len(t.Entries))
		for _, e := range t.Entries {
			w.String(e.Name)
			w.Uint(e.Count)
			w.Uint(e.Error)
		}
	}
}

// ReadResult reads what [AppendResult] wrote. Errors stay in r, and leave an
// empty result.
func ReadResult(r *pack.Reader) Result {
	readVersion(r, "result version", resultVersion)
	x := Result{
		Window: readText(r, "window", MaxWindowName),
		Group:  stream.Series{Entity: readText(r, "entity", event.MaxName), Signal: readText(r, "signal", event.MaxName)},
		Start:  r.Int("start"), End: r.Int("end"),
		Revision: uint32(r.Uint("revision", math.MaxUint32)), Partial: r.Bool("partial"),
	}
	x.Active = int(r.Uint("active units", stream.MaxUnits))
	x.Units = int(r.Uint("units", stream.MaxUnits))
	x.Count = r.Uint("count", math.MaxInt64)
	x.Unsummed = r.Uint("unsummed", x.Count)
	x.Sum = stream.ReadSum(r, "sum")
	x.Min, x.Max = r.Float("least value"), r.Float("greatest value")
	for range r.Array("quantiles", MaxQuantiles) {
		x.Quantiles = append(x.Quantiles, Quantile{r.Float("quantile"), r.Float("value"), r.Float("relative error")})
	}
	for range r.Array("distinct", MaxFields) {
		x.Distinct = append(x.Distinct, Different{readField(r), r.Uint("distinct count", math.MaxUint64)})
	}
	for range r.Array("top", MaxFields) {
		t := Ranking{Of: readField(r)}
		for range r.Array("entries", MaxTop) {
			e := Entry{r.String("name", maxTopName), r.Uint("count", math.MaxInt64), 0}
			e.Error = r.Uint("error", e.Count)
			t.Entries = append(t.Entries, e)
		}
		x.Top = append(x.Top, t)
	}
	if r.Err() == nil && (x.Start >= x.End || x.Revision == 0 || x.Count == 0 || x.Active > x.Units || !(x.Min <= x.Max)) {
		r.Fail("result", errors.New("it ends before it begins, was never told, counts nothing, waited for more units than there are, or its least value is above its greatest"))
	}
	if r.Err() != nil {
		return Result{}
	}
	return x
}

func readField(r *pack.Reader) Field {
	f := Field(readText(r, "field", maxField))
	if r.Err() == nil && !f.known() {
		r.Fail("field", fmt.Errorf("%q is unknown", f))
	}
	return f
}

func readText(r *pack.Reader, field string, limit int) string {
	s := r.String(field, limit)
	if r.Err() == nil && !utf8.ValidString(s) {
		r.Fail(field, errors.New("not valid UTF-8"))
	}
	return s
}

func readVersion(r *pack.Reader, field string, want uint64) {
	if v := r.Uint(field, math.MaxUint64); v != want && r.Err() == nil {
		r.Fail(field, fmt.Errorf("version %d is unknown, %d is understood", v, want))
	}
}
