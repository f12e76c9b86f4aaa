package stream

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"pando/event"
	"pando/internal/exact"
)

// Row is what one pane of one series adds up to.
type Row struct {
	Pane     Pane
	Series   Series
	Severity event.Severity // the highest seen
	Count    uint64         // at least 1
	Sum      exact.Sum      // of the values
	Backlog  uint64         // how many of Count were read far behind their source
}

// Compare orders rows by pane, entity and signal.
func (r *Row) Compare(s *Row) int {
	return cmp.Or(cmp.Compare(r.Pane, s.Pane), r.Series.Compare(s.Series))
}

func (r *Row) add(s *Row) {
	r.Severity = max(r.Severity, s.Severity)
	r.Count += s.Count
	r.Sum = r.Sum.Add(s.Sum)
	r.Backlog += s.Backlog
}

// Edge is what one pane of calls from one entity to another adds up to. An
// event with a Peer says that its Entity called that peer.
type Edge struct {
	From, To string // caller, callee
	Pane     Pane
	Count    uint64 // at least 1
	Errors   uint64 // how many of Count had severity error or worse
}

// Compare orders edges by pane, caller and callee.
func (e *Edge) Compare(f *Edge) int {
	return cmp.Or(cmp.Compare(e.Pane, f.Pane), strings.Compare(e.From, f.From), strings.Compare(e.To, f.To))
}

func (e *Edge) add(f *Edge) {
	e.Count += f.Count
	e.Errors += f.Errors
}

// Lost is what was dropped for one reason.
type Lost struct {
	Reason      event.Reason
	Count       uint64 // events, at least 1
	First, Last int64  // root time, nanoseconds, between which it happened
}

// Compare orders them by reason.
func (l *Lost) Compare(m *Lost) int { return cmp.Compare(l.Reason, m.Reason) }

// Add takes in what was dropped elsewhere for the same reason.
func (l *Lost) Add(m *Lost) {
	l.Count = min(l.Count+m.Count, math.MaxInt64)
	l.First, l.Last = min(l.First, m.First), max(l.Last, m.Last)
}

// Rows is the fold of a run of events. Rows and Edges are sorted, their keys
// unique. The counts of Rows add up to Events, and their sums to Sum.
type Rows struct {
	Rows       []Row
	Edges      []Edge
	Events     uint64 // all but heartbeats and losses
	Heartbeats uint64
	Losses     uint64    // events of kind [event.Loss]
	Lost       []Lost    // what they say, by reason
	Folded     uint64    // events whose row or edge went to Other for want of room
	Unsummed   uint64    // events counted whose value is no number within ±2^63 and adds nothing
	Sum        exact.Sum // of the values of all events
}

// RowsOf is what one event counts for, whose best single time in root time is
// point: the definition that [Combined] and [Fold] keep to. Losses, which have
// an interval, are for [Fold.Lose].
func RowsOf(e *event.Event, point int64) Rows {
	if e.Kind == event.Heartbeat {
		return Rows{Heartbeats: 1}
	}
	row := Row{Pane: PaneOf(point), Series: Series{e.Entity, e.Signal}, Severity: e.Severity, Count: 1}
	out := Rows{Events: 1}
	if v, ok := exact.FromFloat(e.Value); ok {
		row.Sum, out.Sum = v, v
	} else {
		out.Unsummed = 1
	}
	if e.Flags&event.Backlog != 0 {
		row.Backlog = 1
	}
	out.Rows = []Row{row}
	if e.Peer != "" {
		edge := Edge{From: e.Entity, To: e.Peer, Pane: row.Pane, Count: 1}
		if e.Severity >= event.SeverityError {
			edge.Errors = 1
		}
		out.Edges = []Edge{edge}
	}
	return out
}

// MergeRows adds two folds of different events. It is exact, and neither the
// order nor the grouping of merges changes the result. The result may hold as
// many rows as both; the caller sees to it that they stay under [MaxRows].
func MergeRows(a, b Rows) Rows {
	return Rows{
		Rows:       mergeSorted(a.Rows, b.Rows, (*Row).Compare, (*Row).add),
		Edges:      mergeSorted(a.Edges, b.Edges, (*Edge).Compare, (*Edge).add),
		Events:     a.Events + b.Events,
		Heartbeats: a.Heartbeats + b.Heartbeats,
		Losses:     a.Losses + b.Losses,
		Lost:       mergeSorted(a.Lost, b.Lost, (*Lost).Compare, (*Lost).Add),
		Folded:     a.Folded + b.Folded,
		Unsummed:   a.Unsummed + b.Unsummed,
		Sum:        a.Sum.Add(b.Sum),
	}
}

// mergeSorted merges two sorted lists of unique keys into a new one and adds
// what is in both.
func mergeSorted[T any](a, b []T, compare func(*T, *T) int, add func(*T, *T)) []T {
	if len(a)+len(b) == 0 {
		return nil
	}
	out := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := compare(&a[0], &b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, a[0])
			add(&out[len(out)-1], &b[0])
			a, b = a[1:], b[1:]
		}
	}
	out = append(append(out, a...), b...)
	return slices.Clip(out)
}
