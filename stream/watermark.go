package stream

import (
	"errors"
	"math"
	"slices"

	"pando/event"
	"pando/internal/pack"
)

// MaxUnits bounds the units one set of watermarks follows: two lanes of
// 32,768 children, far above what one relay serves. [Watermarks.Set] refuses
// more.
const MaxUnits = 1 << 16

// progress says what a unit's watermark counts for.
type progress uint8

const (
	moving   progress = iota // holds the others back
	idle                     // declared to have nothing: does not hold time back
	excluded                 // silent: does not hold time back, and is missing from the active
	progressEnd
)

// Watermarks follow how far the event time of each unit has come. Everything
// of a unit before its watermark has arrived; what comes later anyway is one
// more delta for its pane. Not safe for concurrent use.
type Watermarks struct {
	units map[event.Unit]mark
}

type mark struct {
	time     int64
	progress progress
}

// NewWatermarks returns an empty set.
func NewWatermarks() *Watermarks { return &Watermarks{units: make(map[event.Unit]mark)} }

// Set says that unit has come to root time t, and makes it active. A time
// before the one already reached changes nothing else: a unit's watermark
// never falls. It reports false if the unit is one more than [MaxUnits].
func (w *Watermarks) Set(unit event.Unit, t int64) bool {
	m, ok := w.units[unit]
	if !ok {
		if len(w.units) >= MaxUnits {
			return false
		}
		m.time = t
	}
	w.units[unit] = mark{time: max(m.time, t)}
	return true
}

// Idle declares that unit is alive and has nothing to say, so that it does
// not hold the others back. An unknown unit stays unknown.
func (w *Watermarks) Idle(unit event.Unit) { w.turn(unit, idle) }

// Exclude stops waiting for a unit that should speak and does not. It counts
// in the total, but not among the active.
func (w *Watermarks) Exclude(unit event.Unit) { w.turn(unit, excluded) }

// Remove forgets a unit that is served elsewhere now.
func (w *Watermarks) Remove(unit event.Unit) { delete(w.units, unit) }

func (w *Watermarks) turn(unit event.Unit, p progress) {
	if m, ok := w.units[unit]; ok {
		m.progress = p
		w.units[unit] = m
	}
}

// Min returns the least watermark among the active units of some lanes; when all
// are idle or excluded, the greatest that any of them reached, and when there
// are none math.MinInt64. Active of total units answer, the idle included:
// "37 of 38 children". Min may fall when a unit joins or comes back; a caller
// for whom time must not go back keeps the maximum.
func (w *Watermarks) Min(lanes ...event.Lane) (t int64, active, total int) {
	least, most, waiting := int64(math.MaxInt64), int64(math.MinInt64), false
	for unit, m := range w.units {
		if !slices.Contains(lanes, unit.Lane) {
			continue
		}
		total++
		most = max(most, m.time)
		if m.progress != excluded {
			active++
		}
		if m.progress == moving {
			least, waiting = min(least, m.time), true
		}
	}
	if !waiting {
		return most, active, total
	}
	return least, active, total
}

// Append writes the watermarks, sorted by unit: equal sets have equal bytes.
func (w *Watermarks) Append(out *pack.Writer) {
	units := make([]event.Unit, 0, len(w.units))
	for unit := range w.units {
		units = append(units, unit)
	}
	slices.SortFunc(units, event.Unit.Compare)
	out.Array(len(units))
	for _, unit := range units {
		AppendUnit(out, unit)
		out.Int(w.units[unit].time)
		out.Uint(uint64(w.units[unit].progress))
	}
}

// ReadWatermarks reads what [Watermarks.Append] wrote. Errors stick in r, and
// leave an empty set.
func ReadWatermarks(r *pack.Reader) *Watermarks {
	w := NewWatermarks()
	var last event.Unit
	n := r.Array("watermarks", MaxUnits)
	for i := range n {
		unit := ReadUnit(r)
		m := mark{time: r.Int("watermark"), progress: progress(r.Uint("progress", uint64(progressEnd)-1))}
		if r.Err() == nil && i > 0 && last.Compare(unit) >= 0 {
			r.Fail("watermarks", errors.New("units out of order"))
		}
		if r.Err() != nil {
			return NewWatermarks()
		}
		w.units[unit], last = m, unit
	}
	return w
}

// AppendUnit writes a unit's name.
func AppendUnit(w *pack.Writer, u event.Unit) {
	w.String(u.Origin)
	w.Uint(uint64(u.WAL))
	w.Uint(uint64(u.Lane))
}

// ReadUnit reads what [AppendUnit] wrote.
func ReadUnit(r *pack.Reader) event.Unit {
	return event.Unit{
		Origin: readName(r, "origin", event.MaxName),
		WAL:    event.WALID(r.Uint("WAL id", math.MaxUint64)),
		Lane:   event.Lane(r.Uint("lane", event.Lanes-1)),
	}
}
