package relay

import (
	"sync"

	"pando/event"
	"pando/stream"
)

// maxNumbered bounds the lines that have a number, of all units, with those of a
// batch: some 100 bytes each. Beyond it all are numbered anew.
const maxNumbered = 1 << 18

// numberings number the lines of units, so that the core's engines find what they
// know of them. They are no part of the state. Safe for concurrent use: batches
// are prepared while the core steps.
type numberings struct {
	mu    sync.Mutex
	of    map[event.Unit]*numbered
	lines int // of all units
}

// numbered is the numbering of a unit.
type numbered struct {
	by    *stream.Numbering
	lines int // that it had when the core looked last
}

// prepare gives the lines of a batch numbers, if its unit has a numbering: only
// the core makes them, since an agent may name any unit.
func (n *numberings) prepare(a *stream.Arrival) {
	n.mu.Lock()
	known := n.of[a.Unit]
	n.mu.Unlock()
	if known != nil {
		a.Sums.Number(known.by)
	}
}

// number sees to it that the lines of a batch have the numbers of its unit.
func (n *numberings) number(a *stream.Arrival) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil || n.lines > maxNumbered {
		n.of, n.lines = map[event.Unit]*numbered{}, 0
	}
	u := n.of[a.Unit]
	if u == nil {
		u = &numbered{by: stream.NewNumbering()}
		n.of[a.Unit] = u
	}
	a.Sums.Number(u.by)
	before := u.lines
	u.lines = u.by.Len()
	n.lines += u.lines - before
}

// forget drops the numbering of a unit that is gone.
func (n *numberings) forget(unit event.Unit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u := n.of[unit]; u != nil {
		n.lines -= u.lines
		delete(n.of, unit)
	}
}
