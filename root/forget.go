//go:build !zos

package root

import (
	"slices"

	"pando/event"
	"pando/tree/custody"
	"pando/tree/wire"
)

// The root remembers so many WAL ids of one agent. One that is forgotten can
// settle nothing any more, because how far it was settled is not known: what
// would be counted might have been counted before.

// forgetOne forgets the WAL id of an agent that will be missed least: the
// oldest one of which nothing is known to be missing, else the oldest. Never
// the one in force.
func (s *state) forgetOne(o *origin, name string) {
	at := slices.IndexFunc(o.wals, func(id event.WALID) bool { return id != o.Current && s.isSettled(name, id) })
	if at < 0 {
		at = slices.IndexFunc(o.wals, func(id event.WALID) bool { return id != o.Current })
	}
	for l := range event.Lane(event.Lanes) {
		s.units.Delete(event.Unit{Origin: name, WAL: o.wals[at], Lane: l})
	}
	o.wals = slices.Delete(o.wals, at, at+1)
	o.forgotten++
	s.counts.WALs++
}

// isSettled reports whether a WAL id is closed and settled as far as sections
// of it were ever seen. A relay that was not heard of may hold more.
func (s *state) isSettled(name string, id event.WALID) bool {
	for l := range event.Lane(event.Lanes) {
		u, ok := s.getUnit(event.Unit{Origin: name, WAL: id, Lane: l})
		if !ok || !u.owner.Closed || u.owner.Settled < u.heard {
			return false
		}
	}
	return true
}

// hear takes note of how far a section reached that could not be applied.
func (s *state) hear(id event.Unit, u *unit, to uint64) {
	if to > u.heard {
		u.heard = to
		s.setUnit(id, *u)
	}
}

// forgets reports whether a WAL id that has no units is one that was
// forgotten, and not one that is still to be claimed.
func (o *origin) forgets(id event.WALID) bool {
	return o != nil && o.forgotten > 0 && id != o.Current && !slices.Contains(o.wals, id)
}

// giveUp answers a section of a unit that was forgotten so that its relay lets
// go of it, as if it were settled, and counts the events: at most so many are
// lost, since some may have been settled before.
func (s *state) giveUp(sec *wire.Section, j *wire.Judgement) {
	s.counts.GivenUp += sec.Rows.Events
	j.Verdict, j.Closed, j.Settled, j.Chain = custody.SkipClosed, true, sec.Head.To, sec.Head.After
}
