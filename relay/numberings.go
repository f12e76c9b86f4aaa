package relay

import (
	"sync"

	"pando/event"
	"pando/stream"
)

// maxNumbered bounds the lines that have a number, of all units but the one at
// hand: some 100 bytes each.
const maxNumbered = 1 << 19

// numberings number the lines of units, so that the core's engines find what they
// know of them. They are no part of the state, and decide nothing. Safe for concurrent
// use: batches are prepared while the core steps.
type numberings struct {
	mu    sync.Mutex
	of    map[event.Unit]*numbered
	lines int // of all units
	asked uint64
	most  int
}

// numbered is the numbering of a unit.
type numbered struct {
	by    *stream.Numbering
	lines int    // that it has
	asked uint64 // when it was last asked for
}

func newNumberings() *numberings {
	return &numberings{of: map[event.Unit]*numbered{}, most: maxNumbered}
}

// prepare gives the lines of a batch their numbers, if all have one: only what the
// core steps gets new ones.
func (n *numberings) prepare(a *stream.Arrival) {
	n.mu.Lock()
	u := n.of[a.Unit]
	n.mu.Unlock()
	if u != nil {
		a.Sums.LookUp(u.by)
	}
}

// number sees to it that the lines of a batch have the numbers of its unit. Those
// of other units are forgotten when there are too many, the longest unused first.
func (n *numberings) number(a *stream.Arrival) {
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.of[a.Unit]
	if u == nil || u.lines > n.most {
		n.drop(a.Unit)
		u = &numbered{by: stream.NewNumbering()}
		n.of[a.Unit] = u
	}
	n.asked++
	u.asked = n.asked
	a.Sums.Number(u.by)
	before := u.lines
	u.lines = u.by.Len()
	n.lines += u.lines - before
	for n.lines > n.most && len(n.of) > 1 {
		var oldest event.Unit
		least := n.asked
		for unit, o := range n.of {
			if o.asked < least {
				oldest, least = unit, o.asked
			}
		}
		n.drop(oldest)
	}
}

// forget drops the numbering of a unit that is gone.
func (n *numberings) forget(unit event.Unit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop(unit)
}

func (n *numberings) drop(unit event.Unit) {
	if u := n.of[unit]; u != nil {
		n.lines -= u.lines
		delete(n.of, unit)
	}
}
