package dedup

import (
	"errors"
	"fmt"
	"math"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream/anomaly"
)

const snapshotVersion = 1

// Snapshot writes the whole state: equal states have equal bytes. A filter of
// the same configuration that restores it goes on identically.
func (f *Filter) Snapshot(w *pack.Writer) {
	w.Uint(snapshotVersion)
	w.Int(f.now)
	w.Int(f.swept)
	for _, n := range f.counts.list() {
		w.Uint(*n)
	}
	w.Array(len(f.alarms))
	for _, a := range f.alarms {
		a.append(w)
	}
}

// list has the fields in the order of the format.
func (c *Counts) list() []*uint64 {
	return []*uint64{&c.Folded, &c.Released, &c.Evicted, &c.Full, &c.Incomparable}
}

// Restore replaces the state by what [Filter.Snapshot] wrote; after an error
// the filter is as before. It may have been another configuration's: alarms
// that are known go on to be revised, and take no duplicates by other fields;
// and if they are more than fit, the next new alarm makes room.
func (f *Filter) Restore(r *pack.Reader) error {
	fresh, err := New(f.cfg)
	if err != nil {
		return err
	}
	fresh.hash = f.hash
	if v := r.Uint("version", math.MaxUint64); v != snapshotVersion && r.Err() == nil {
		r.Fail("version", fmt.Errorf("%d is unknown, %d is understood", v, snapshotVersion))
	}
	fresh.now, fresh.swept = r.Int("now"), r.Int("swept")
	for _, n := range fresh.counts.list() {
		*n = r.Uint("count", math.MaxUint64)
	}
	for n := r.Array("alarms", maxAlarmsCap); n > 0 && r.Err() == nil; n-- {
		a := readAlarm(r)
		if r.Err() == nil && !fresh.fits(a) {
			r.Fail("alarms", errors.New("two findings with one id"))
		}
		if r.Err() == nil {
			fresh.insert(a)
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("restore alarms: %w", err)
	}
	*f = *fresh
	return nil
}

// fits reports whether no finding of the alarm is known yet.
func (f *Filter) fits(a *alarm) bool {
	seen := map[anomaly.ID]bool{}
	known := func(id anomaly.ID) bool {
		twice := seen[id]
		seen[id] = true
		return twice || f.byID[id] != nil || f.folded[id] != nil
	}
	if known(a.id) {
		return false
	}
	for _, d := range a.folded {
		if known(d.id) {
			return false
		}
	}
	return true
}

func (a *alarm) append(w *pack.Writer) {
	w.Bin(a.id[:])
	w.Bin(a.identity)
	a.path.append(w)
	w.Int(a.onset.Lo)
	w.Int(a.onset.Hi)
	w.Int(a.said)
	for _, b := range []bool{a.lasts, a.provisional, a.over} {
		w.Bool(b)
	}
	w.Int(a.overAt)
	w.Uint(a.duplicates)
	w.Array(len(a.paths))
	for _, p := range a.paths {
		p.append(w)
	}
	w.Array(len(a.folded))
	for _, d := range a.folded {
		w.Bin(d.id[:])
		d.path.append(w)
		w.Int(d.came)
		w.Bool(d.open != nil)
		if d.open != nil {
			anomaly.AppendFinding(w, *d.open)
		}
	}
}

func readAlarm(r *pack.Reader) *alarm {
	a := &alarm{id: readID(r), identity: append([]byte(nil), r.Bin("identity", maxIdentity)...), path: readPath(r)}
	a.onset = clock.Interval{Lo: r.Int("onset"), Hi: r.Int("onset")}
	a.said = r.Int("said")
	for _, b := range []*bool{&a.lasts, &a.provisional, &a.over} {
		*b = r.Bool("flag")
	}
	a.overAt, a.duplicates = r.Int("over at"), r.Uint("duplicates", math.MaxUint64)
	for n := r.Array("paths", maxPaths); n > 0 && r.Err() == nil; n-- {
		a.paths = append(a.paths, readPath(r))
	}
	for n := r.Array("folded", perAlarm*maxAlarmsCap); n > 0 && r.Err() == nil; n-- {
		d := &folded{id: readID(r), path: readPath(r), came: r.Int("came")}
		if r.Bool("open") {
			x := anomaly.ReadFinding(r)
			d.open = &x
			if r.Err() == nil && (x.ID != d.id || x.Ended) {
				r.Fail("folded", errors.New("its finding is another, or is over"))
			}
		}
		a.folded = append(a.folded, d)
	}
	return a
}

func (p Path) append(w *pack.Writer) {
	w.String(p.Origin)
	w.String(p.Source)
}

func readPath(r *pack.Reader) Path {
	return Path{Origin: r.String("origin", event.MaxName), Source: r.String("source", event.MaxName)}
}

func readID(r *pack.Reader) (id anomaly.ID) {
	b := r.Bin("id", len(id))
	if r.Err() == nil && len(b) != len(id) {
		r.Fail("id", fmt.Errorf("%d bytes, want %d", len(b), len(id)))
	}
	copy(id[:], b)
	return id
}
