//go:build !zos

package root

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/wire"
)

// claim decides who may settle both units of a WAL id. A WAL id that a newer
// one replaced is closed, whichever of the two claims comes first. cloned tells
// that this claim shows that the agent has a double.
func (s *state) claim(relay string, m *wire.Claim) (a *wire.ClaimAnswer, cloned bool) {
	s.counts.Claims++
	a = &wire.ClaimAnswer{ID: m.ID, Origin: m.Origin, WAL: m.WAL, Term: m.Term}
	o := s.originOf(m.Origin)
	if o == nil {
		s.counts.Origins++
		return a, false
	}
	closes, err := o.Claim(custody.Claim{WAL: m.WAL, Opened: m.Opened, Started: m.Started, Closed: s.isClosed(m.Origin, m.WAL)})
	a.Closed = errors.Is(err, custody.ErrClosed)
	if closes != 0 {
		s.closeWAL(o, m.Origin, closes)
		cloned = o.replaced(s.now)
	}
	s.openWAL(o, m.Origin, m.WAL)
	s.inherit(o, m)
	if a.Closed {
		s.closeWAL(o, m.Origin, m.WAL)
	} else {
		a.Granted = s.grant(relay, m)
	}
	if a.Granted {
		o.relay, o.at = relay, s.now
	} else {
		s.counts.Refused++
	}
	s.origins.Set(m.Origin, o)
	s.fillAnswer(a, o)
	return a, cloned
}

// originOf returns a copy of the origin that may be changed, a new one if it
// is unknown, or nil if there are too many, or its name could not be read back
// from a snapshot.
func (s *state) originOf(name string) *origin {
	if o, ok := s.origins.Get(name); ok {
		next := *o
		return &next
	}
	if name == "" || len(name) > event.MaxName || !utf8.ValidString(name) || s.origins.Len() >= MaxOrigins {
		return nil
	}
	return &origin{}
}

// grant gives both lanes to the relay, or neither.
func (s *state) grant(relay string, m *wire.Claim) bool {
	var lanes [event.Lanes]unit
	for l := range lanes {
		u, ok := s.getUnit(event.Unit{Origin: m.Origin, WAL: m.WAL, Lane: event.Lane(l)})
		if !ok || u.owner.Claim(m.Term, relay) != nil {
			return false
		}
		lanes[l] = u
	}
	for l := range lanes {
		s.setUnit(event.Unit{Origin: m.Origin, WAL: m.WAL, Lane: event.Lane(l)}, lanes[l])
	}
	return true
}

// openWAL makes the units of a WAL id that is new here. One that was
// forgotten stays so as long as it is not in force: it would be counted from
// its beginning again.
func (s *state) openWAL(o *origin, name string, id event.WALID) {
	if slices.Contains(o.wals, id) || o.forgotten > 0 && id != o.Current {
		return
	}
	o.wals = append(slices.Clone(o.wals), id)
	for l := range event.Lane(event.Lanes) {
		s.setUnit(event.Unit{Origin: name, WAL: id, Lane: l}, unit{})
	}
	for len(o.wals) > 1 && (len(o.wals) > MaxWALs || s.units.Len() > MaxUnits) {
		s.forgetOne(o, name)
	}
}

// isClosed reports whether a WAL id was replaced before.
func (s *state) isClosed(name string, id event.WALID) bool {
	u, ok := s.getUnit(event.Unit{Origin: name, WAL: id, Lane: event.Critical})
	return ok && u.owner.Closed
}

// reclose makes a WAL id known as closed. A relay holds its rest, so a root
// knew it and closed it: this one was restored from a state before that. One
// that was forgotten stays so.
func (s *state) reclose(name string, id event.WALID) {
	o := s.originOf(name)
	if o == nil {
		s.counts.Origins++
		return
	}
	s.openWAL(o, name, id)
	s.closeWAL(o, name, id)
	s.origins.Set(name, o)
}

func (s *state) closeWAL(o *origin, name string, id event.WALID) {
	for l := range event.Lane(event.Lanes) {
		at := event.Unit{Origin: name, WAL: id, Lane: l}
		if u, ok := s.getUnit(at); ok && !u.owner.Closed {
			u.owner.Close()
			s.setUnit(at, u)
		}
	}
}

// fillAnswer says how far the units are, and what is known of the origin.
func (s *state) fillAnswer(a *wire.ClaimAnswer, o *origin) {
	var expect anomaly.Expectations
	if a.Granted && len(o.expect) > 0 {
		expect = anomaly.ReadExpectations(pack.NewReader(o.expect))
	}
	for l := range event.Lanes {
		if u, ok := s.getUnit(event.Unit{Origin: a.Origin, WAL: a.WAL, Lane: event.Lane(l)}); ok {
			a.Settled[l], a.Chain[l] = u.owner.Settled, u.owner.Chain
			if u.owner.Term.Compare(a.Known) > 0 {
				a.Known = u.owner.Term
			}
		}
		if a.Granted {
			for _, p := range o.positions[l] {
				a.Positions[l] = append(a.Positions[l], p.Position)
			}
			a.Expect[l] = expect
		}
	}
}

// move merges the positions of a section into its origin's.
func (s *state) move(u event.Unit, moved []event.Position) {
	o := s.originOf(u.Origin)
	if o == nil || len(moved) == 0 {
		return
	}
	list := slices.Clone(o.positions[u.Lane])
	for _, p := range moved {
		if len(p.Source) > maxPlace || len(p.File) > maxPlace || p.Offset < 0 {
			s.counts.Positions++
			continue
		}
		list = place(list, placed{p, s.now})
	}
	before := len(o.positions[u.Lane])
	room := min(MaxPositions, max(before, maxPlaced-s.placed+before))
	if extra := len(list) - room; extra > 0 {
		s.counts.Positions += uint64(extra)
		list = dropOldest(list, extra)
	}
	s.placed += len(list) - before
	o.positions[u.Lane] = list
	s.origins.Set(u.Origin, o)
}

// place puts a position into a sorted list. A file's own name in the source's
// ("source#file") stays the same while its fingerprint, which is part of File,
// grows, so there is one position of each such name. A position never falls: a
// lane that lags is read again after a restart of its agent, and what it says
// then of the other lane is less than is known.
func place(list []placed, p placed) []placed {
	if strings.Contains(p.Source, "#") {
		if slices.ContainsFunc(list, func(q placed) bool { return q.Source == p.Source && q.Offset > p.Offset }) {
			return list
		}
		list = slices.DeleteFunc(list, func(q placed) bool { return q.Source == p.Source && q.File != p.File })
	}
	at, found := slices.BinarySearchFunc(list, p, func(a, b placed) int { return a.compare(&b) })
	if found {
		list[at] = p
		return list
	}
	return slices.Insert(list, at, p)
}

// dropOldest removes the n positions that moved longest ago, and of those the
// first by name.
func dropOldest(list []placed, n int) []placed {
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(list[a].at, list[b].at), cmp.Compare(a, b)) })
	drop := make([]bool, len(list))
	for _, i := range order[:n] {
		drop[i] = true
	}
	kept := make([]placed, 0, len(list)-n)
	for i := range list {
		if !drop[i] {
			kept = append(kept, list[i])
		}
	}
	return kept
}

// learn merges what a relay knows of an origin.
func (s *state) learn(name string, known anomaly.Expectations) {
	o := s.originOf(name)
	if o == nil {
		return
	}
	if len(o.expect) > 0 {
		known = anomaly.ReadExpectations(pack.NewReader(o.expect)).Merge(known)
	}
	encoded := fit(&known, MaxExpect)
	grown := int64(len(encoded) - len(o.expect))
	if grown > 0 && s.expectTotal+grown > maxExpectTotal {
		s.counts.Expectations++
		return
	}
	s.expectTotal += grown
	o.expect = encoded
	s.origins.Set(name, o)
}

// fit encodes expectations in at most limit bytes. What does not fit is cut
// off.
func fit(x *anomaly.Expectations, limit int) []byte {
	for {
		w := pack.NewWriter()
		x.Append(w)
		if w.Len() <= limit || !x.Halve() {
			return w.Bytes()
		}
	}
}
