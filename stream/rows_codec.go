package stream

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"

	"pando/event"
	"pando/internal/exact"
	"pando/internal/pack"
)

// Caps of the encoded form. A section of a unit is cut long before; these
// bound what a hostile peer can make a reader allocate.
const (
	MaxRows  = 1 << 16 // rows in one encoded Rows, about 1.5 MB
	MaxEdges = 1 << 14 // edges in one encoded Rows
	MaxNames = 1 << 16 // distinct names in its dictionary
)

const rowsVersion = 2

// AppendRows writes rows as: version, totals with what was lost, dictionary of names in order of
// first use, rows, edges. Panes are differences to the row before. Equal rows
// have equal bytes. The rows must be sorted and within the caps, as [Fold]
// makes them and [ReadRows] checks.
func AppendRows(w *pack.Writer, rows Rows) {
	d := dictionary{at: make(map[string]uint64)}
	for i := range rows.Rows {
		d.add(rows.Rows[i].Series.Entity)
		d.add(rows.Rows[i].Series.Signal)
	}
	for i := range rows.Edges {
		d.add(rows.Edges[i].From)
		d.add(rows.Edges[i].To)
	}
	w.Uint(rowsVersion)
	w.Uint(rows.Events)
	w.Uint(rows.Heartbeats)
	w.Uint(rows.Losses)
	w.Array(len(rows.Lost))
	for _, l := range rows.Lost {
		w.Uint(uint64(l.Reason))
		w.Uint(l.Count)
		w.Int(l.First)
		w.Int(l.Last)
	}
	w.Uint(rows.Folded)
	w.Uint(rows.Unsummed)
	AppendSum(w, rows.Sum)
	w.Array(len(d.names))
	for _, name := range d.names {
		w.String(name)
	}
	var last Pane
	w.Array(len(rows.Rows))
	for i := range rows.Rows {
		r := &rows.Rows[i]
		w.Int(int64(r.Pane - last))
		w.Uint(d.at[r.Series.Entity])
		w.Uint(d.at[r.Series.Signal])
		w.Uint(uint64(r.Severity))
		w.Uint(r.Count)
		AppendSum(w, r.Sum)
		w.Uint(r.Backlog)
		last = r.Pane
	}
	last = 0
	w.Array(len(rows.Edges))
	for i := range rows.Edges {
		e := &rows.Edges[i]
		w.Int(int64(e.Pane - last))
		w.Uint(d.at[e.From])
		w.Uint(d.at[e.To])
		w.Uint(e.Count)
		w.Uint(e.Errors)
		last = e.Pane
	}
}

// dictionary numbers names in the order of their first use.
type dictionary struct {
	names []string
	at    map[string]uint64
}

func (d *dictionary) add(name string) {
	if _, ok := d.at[name]; !ok {
		d.at[name] = uint64(len(d.names))
		d.names = append(d.names, name)
	}
}

// ReadRows reads what [AppendRows] wrote and checks every invariant of
// [Rows], for the bytes come from a peer. Errors stick in r.
func ReadRows(r *pack.Reader) Rows {
	if v := r.Uint("rows version", math.MaxUint64); v != rowsVersion && r.Err() == nil {
		r.Fail("rows version", fmt.Errorf("version %d is unknown, %d is understood", v, rowsVersion))
	}
	var out Rows
	out.Events = r.Uint("events", math.MaxInt64)
	out.Heartbeats = r.Uint("heartbeats", math.MaxInt64)
	out.Losses = r.Uint("losses", math.MaxInt64)
	out.Lost = readLost(r, out.Losses)
	out.Folded = r.Uint("folded", out.Events)
	out.Unsummed = r.Uint("unsummed", out.Events)
	out.Sum = ReadSum(r, "sum")
	names := readNames(r)
	out.Rows = readRows(r, names, &out)
	out.Edges = readEdges(r, names, out.Events)
	if r.Err() == nil && !names.allUsed() {
		r.Fail("dictionary", errors.New("names in it that nothing uses, or in another order than that of use"))
	}
	if r.Err() != nil {
		return Rows{}
	}
	return out
}

// readLost reads what losses say: nothing if there are none.
func readLost(r *pack.Reader, losses uint64) []Lost {
	list := makeList[Lost](r.Array("lost", event.Reasons))
	for i := range list {
		l := &list[i]
		l.Reason, l.Count = event.Reason(r.Uint("reason", uint64(event.Reasons-1))), r.Uint("lost count", math.MaxInt64)
		l.First, l.Last = r.Int("lost from"), r.Int("lost to")
		if r.Err() != nil {
			return nil
		}
		if l.Count == 0 || l.First > l.Last || i > 0 && list[i-1].Compare(l) >= 0 {
			r.Fail("lost", fmt.Errorf("entry %d counts nothing, ends before it begins, or is not above the one before it", i))
		}
	}
	if (len(list) == 0) != (losses == 0) && r.Err() == nil {
		r.Fail("lost", fmt.Errorf("%d losses with %d reasons", losses, len(list)))
	}
	return list
}

// names is a dictionary being read. It insists on the order of first use, so
// that one fold has one encoding.
type names struct {
	list []string
	used int
}

func (n *names) allUsed() bool { return n.used == len(n.list) }

func readNames(r *pack.Reader) *names {
	n := &names{list: make([]string, r.Array("dictionary", MaxNames))}
	seen := make(map[string]struct{}, len(n.list))
	for i := range n.list {
		n.list[i] = readName(r, "name", event.MaxName)
		if _, ok := seen[n.list[i]]; ok && r.Err() == nil {
			r.Fail("name", fmt.Errorf("%q stands in the dictionary twice", n.list[i]))
		}
		if r.Err() != nil {
			return n
		}
		seen[n.list[i]] = struct{}{}
	}
	return n
}

func readName(r *pack.Reader, field string, limit int) string {
	s := r.String(field, limit)
	if r.Err() == nil && !utf8.ValidString(s) {
		r.Fail(field, errors.New("not valid UTF-8"))
	}
	return s
}

// get reads an index. The first use of each name must come in order.
func (n *names) get(r *pack.Reader, field string) string {
	i := r.Uint(field, math.MaxUint32)
	switch {
	case r.Err() != nil:
		return ""
	case i >= uint64(len(n.list)) || i > uint64(n.used):
		r.Fail(field, fmt.Errorf("name %d of %d, of which %d were used", i, len(n.list), n.used))
		return ""
	case i == uint64(n.used):
		n.used++
	}
	return n.list[i]
}

func readRows(r *pack.Reader, names *names, total *Rows) []Row {
	rows := makeList[Row](r.Array("rows", MaxRows))
	var count uint64
	var sum exact.Sum
	for i := range rows {
		row := &rows[i]
		row.Pane = readPane(r, i, func() Pane { return rows[i-1].Pane })
		row.Series = Series{names.get(r, "entity"), names.get(r, "signal")}
		row.Severity = event.Severity(r.Uint("severity", uint64(event.MaxSeverity)))
		row.Count = r.Uint("count", total.Events)
		row.Sum = ReadSum(r, "row sum")
		row.Backlog = r.Uint("backlog", row.Count)
		if r.Err() != nil {
			return nil
		}
		if row.Count == 0 {
			r.Fail("count", errors.New("a row that counts nothing"))
		}
		if i > 0 && rows[i-1].Compare(row) >= 0 {
			r.Fail("rows", fmt.Errorf("row %d is not above the one before it", i))
		}
		count += row.Count // both at most MaxInt64, so this cannot wrap unseen
		if count > total.Events {
			break
		}
		sum = sum.Add(row.Sum)
	}
	if r.Err() == nil && (count != total.Events || sum != total.Sum) {
		r.Fail("rows", fmt.Errorf("they add up to %d events and %v, the totals say %d and %v", count, sum, total.Events, total.Sum))
	}
	return rows
}

func readEdges(r *pack.Reader, names *names, events uint64) []Edge {
	edges := makeList[Edge](r.Array("edges", MaxEdges))
	var count uint64
	for i := range edges {
		e := &edges[i]
		e.Pane = readPane(r, i, func() Pane { return edges[i-1].Pane })
		e.From, e.To = names.get(r, "from"), names.get(r, "to")
		e.Count = r.Uint("edge count", events)
		e.Errors = r.Uint("edge errors", e.Count)
		if r.Err() != nil {
			return nil
		}
		if e.Count == 0 {
			r.Fail("edge count", errors.New("an edge that counts nothing"))
		}
		if i > 0 && edges[i-1].Compare(e) >= 0 {
			r.Fail("edges", fmt.Errorf("edge %d is not above the one before it", i))
		}
		if count += e.Count; count > events {
			r.Fail("edges", fmt.Errorf("more calls than the %d events", events))
			return nil
		}
	}
	return edges
}

// makeList keeps "no rows" nil, so that decoded folds compare equal.
func makeList[T any](n int) []T {
	if n == 0 {
		return nil
	}
	return make([]T, n)
}

// readPane undoes the difference to the pane before and refuses one that
// wraps round.
func readPane(r *pack.Reader, i int, before func() Pane) Pane {
	d := r.Int("pane")
	if i == 0 {
		return Pane(d)
	}
	last := before()
	p := last + Pane(d)
	if r.Err() == nil && (d < 0 || p < last) {
		r.Fail("pane", fmt.Errorf("difference %d after pane %d", d, last))
	}
	return p
}

// AppendSum writes a sum so that small whole numbers are short: the halves of
// its low word change places.
func AppendSum(w *pack.Writer, s exact.Sum) {
	w.Int(s.Hi)
	w.Uint(bits.RotateLeft64(s.Lo, 32))
}

// ReadSum reads what [AppendSum] wrote.
func ReadSum(r *pack.Reader, field string) exact.Sum {
	hi := r.Int(field)
	return exact.Sum{Hi: hi, Lo: bits.RotateLeft64(r.Uint(field, math.MaxUint64), 32)}
}
