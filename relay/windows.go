package relay

import (
	"maps"
	"math"
	"slices"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/aggregate"
	"pando/tree/journal"
)

// beats say how far the sources of a unit have come.
type beats map[string]beat

// beat is the latest word on one source.
type beat struct {
	asOf int64 // root time up to which everything of the source was stepped
	at   int64 // root time at which it was heard that asOf rose
}

const (
	// beatPatience is how long a source that comes no further is waited for, in
	// nanoseconds: as long as an agent takes to restart or to come back, with
	// room to spare. Without it one dead host would stop all windows.
	beatPatience = int64(5e9)
	// maxBeats bounds the sources of a unit that are waited for.
	maxBeats = 1 << 12
	// maxTold bounds the results that are told in one output.
	maxTold = 256
)

// unreadable is what a heartbeat says of a source that cannot be read; see
// [event.Batch]. One that is behind is waited for as one that is not.
const unreadable = "unreadable"

// heard takes note of a heartbeat of a unit.
func (c *core) heard(u *unit, e *event.Event, asOf, now int64) {
	list := c.beats[u.id]
	if list == nil {
		list = beats{}
		c.beats[u.id] = list
	}
	old, known := list[e.Source]
	switch asOf = min(asOf, now); {
	case e.Signal == unreadable:
		delete(list, e.Source)
	case known && asOf > old.asOf, !known && len(list) < maxBeats:
		list[e.Source] = beat{asOf: asOf, at: now}
	default:
		return
	}
	c.mark(u.id, now)
}

// mark says how far a unit has come: as far as the last of the sources that are
// waited for. A unit without any is waited for no longer.
func (c *core) mark(unit event.Unit, now int64) (waited bool) {
	least := int64(math.MaxInt64)
	for _, b := range c.beats[unit] {
		if now-b.at < beatPatience {
			least = min(least, b.asOf)
		}
	}
	if least == math.MaxInt64 {
		c.marks.Exclude(unit)
		return false
	}
	c.marks.Set(unit, least)
	return true
}

// remark looks for units that fell silent, or went. One whose agent is away is
// waited for a little, in case it comes back here.
func (c *core) remark() {
	for unit := range c.beats {
		waited := c.mark(unit, c.now)
		switch u := c.units[unit]; {
		case u == nil && !waited, u != nil && u.session == 0 && (u.intake.Fenced || u.intake.Closed):
			c.marks.Remove(unit)
			delete(c.beats, unit)
		}
	}
}

// tellWindows tells the windows that have ended.
func (c *core) tellWindows() {
	for told := c.windows.engine().Advance(c.marks); len(told) > 0; {
		n := min(len(told), maxTold)
		w := pack.NewWriter()
		w.Array(n)
		for i := range told[:n] {
			aggregate.AppendResult(w, &told[i])
		}
		c.say(journal.Output{To: toOperators, Kind: outWindows, Body: w.Bytes()})
		told = told[n:]
	}
}

func readResults(b []byte) ([]aggregate.Result, error) {
	r := pack.NewReader(b)
	var list []aggregate.Result
	for range r.Array("results", maxTold) {
		list = append(list, aggregate.ReadResult(r))
	}
	return list, r.Done()
}

// appendBeats writes what units said; equal words have equal bytes.
func (c *core) appendBeats(w *pack.Writer) {
	w.Array(len(c.beats))
	for _, unit := range slices.SortedFunc(maps.Keys(c.beats), event.Unit.Compare) {
		stream.AppendUnit(w, unit)
		list := c.beats[unit]
		w.Array(len(list))
		for _, source := range slices.Sorted(maps.Keys(list)) {
			w.String(source)
			w.Int(list[source].asOf)
			w.Int(list[source].at)
		}
	}
}

func (c *core) readBeats(r *pack.Reader) {
	for range r.Array("units", stream.MaxUnits) {
		unit, list := stream.ReadUnit(r), beats{}
		for range r.Array("sources", maxBeats) {
			source := r.String("source", event.MaxName)
			list[source] = beat{asOf: r.Int("as of"), at: r.Int("heard at")}
			if r.Err() != nil {
				return
			}
		}
		if r.Err() != nil {
			return
		}
		c.beats[unit] = list
	}
}

// appendWindows and readWindows are the part of the state that windows have.
func (c *core) appendWindows(w *pack.Writer) {
	c.windows.engine().Snapshot(w)
	c.marks.Append(w)
	c.appendBeats(w)
}

func (c *core) readWindows(r *pack.Reader) error {
	if err := c.windows.engine().Restore(r); err != nil {
		return err
	}
	c.marks = stream.ReadWatermarks(r)
	c.readBeats(r)
	return r.Err()
}
