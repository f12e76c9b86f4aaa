package relay

import (
	"errors"
	"fmt"

	"pando/event"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

func (c *core) unit(id event.Unit) *unit {
	u := c.units[id]
	if u == nil {
		u = newUnit(id)
		c.units[id] = u
	}
	return u
}

func (c *core) open(body []byte) error {
	o, err := decodeOpening(body)
	if err != nil {
		return err
	}
	m := &o.Open
	refuse := func(code string, known custody.Term, err error) error {
		c.tell(o.Session, &wire.Refused{WAL: m.WAL, Term: m.Term, Code: code, Reason: err.Error(), Known: known})
		c.say(journal.Output{To: toSession(o.Session), Kind: outHangUp, Body: []byte(err.Error())})
		return nil
	}
	if u := c.units[event.Unit{Origin: o.Origin, WAL: m.WAL, Lane: event.Critical}]; u != nil && u.session != 0 {
		term := u.intake.Term
		return refuse(wire.RefusedTwice, term, fmt.Errorf("WAL %s of %s has a live session with term %s", m.WAL, o.Origin, term))
	}
	if len(c.units)+event.Lanes > maxUnits {
		return refuse(wire.RefusedProtocol, custody.Term{}, fmt.Errorf("this relay keeps the %d units it may", maxUnits))
	}
	var lanes [event.Lanes]*unit
	var trial [event.Lanes]custody.Intake
	opened := &wire.Opened{WAL: m.WAL, Term: m.Term}
	for l := range lanes {
		lanes[l] = c.unit(event.Unit{Origin: o.Origin, WAL: m.WAL, Lane: event.Lane(l)})
		trial[l] = lanes[l].intake
		if opened.Resume[l], err = trial[l].OpenSession(m.Term, o.HLC, m.Offers[l]); err != nil {
			for _, u := range lanes[:l+1] {
				c.forget(u)
			}
			return refuse(refusal(err), trial[l].Term, err)
		}
	}
	s := &session{id: o.Session, origin: o.Origin, wal: m.WAL, term: m.Term, fresh: m.Started == 0, estate: m.Estate}
	c.sessions[s.id] = s
	c.tell(s.id, opened)
	for l, u := range lanes {
		u.open(trial[l], s.id)
		u.patient, u.openedAt = c.up, c.now
		c.engine.Present(u.id)
		c.advance(u)
	}
	c.claim(lanes[0])
	return nil
}

func refusal(err error) string {
	switch {
	case errors.Is(err, custody.ErrOldTerm):
		return wire.RefusedOldTerm
	case errors.Is(err, custody.ErrDiverged):
		return wire.RefusedDiverged
	case errors.Is(err, custody.ErrClosed):
		return wire.RefusedClosed
	}
	return wire.RefusedProtocol
}

// tell says something to a session.
func (c *core) tell(session uint64, m wire.Message) {
	t := wire.Encode(m)
	c.say(journal.Output{To: toSession(session), Kind: t.Kind, Body: t.Body})
}

// ask says a request to the root.
func (c *core) ask(m wire.Message) {
	t := wire.Encode(m)
	c.say(journal.Output{To: toRoot, Kind: t.Kind, Body: t.Body})
}

// fail makes Step return an error that came up deeper down.
func (c *core) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// closeSession ends a session's hold on its units; claims and batches stay.
func (c *core) closeSession(id uint64) {
	s := c.sessions[id]
	if s == nil {
		return
	}
	delete(c.sessions, id)
	for l := range event.Lanes {
		u := c.units[event.Unit{Origin: s.origin, WAL: s.wal, Lane: event.Lane(l)}]
		if u != nil && u.session == id {
			u.close()
			c.engine.Gone(u.id)
			c.forget(u)
		}
	}
}

// forget drops a unit of which nothing is left to keep here.
func (c *core) forget(u *unit) {
	if u.intake.Done() {
		c.dismiss(u)
		delete(c.units, u.id)
		c.lines.forget(u.id)
	}
}

// refuse ends a session with a reason that its agent acts on.
func (c *core) refuse(s *session, err error) {
	c.tell(s.id, &wire.Refused{WAL: s.wal, Term: s.term, Code: refusal(err), Reason: err.Error()})
	c.hangUp(s, err.Error())
}

func (c *core) hangUp(s *session, reason string) {
	c.say(journal.Output{To: toSession(s.id), Kind: outHangUp, Body: []byte(reason)})
	c.closeSession(s.id)
}

func (c *core) batch(at wal.Seq, x *unpacked) error {
	if x.err != nil {
		return fmt.Errorf("arrival: %w", x.err)
	}
	s := c.sessions[x.Session]
	if s == nil {
		return nil // it ended while the batch was on its way to the log
	}
	if x.bad != nil {
		c.refuse(s, fmt.Errorf("batch: %w", x.bad))
		return nil
	}
	b := x.events
	id := event.Unit{Origin: s.origin, WAL: s.wal, Lane: event.Lane(x.Lane)}
	if b.Unit != id {
		c.refuse(s, fmt.Errorf("batch of unit %s in a session of %s: %w", b.Unit, id, custody.ErrProtocol))
		return nil
	}
	u := c.units[id]
	span := custody.Span{First: b.First, Last: b.Last(), Before: x.Batch.Before, After: x.after, Pos: uint64(at)}
	if err := u.intake.Add(span); err != nil {
		c.refuse(s, err)
		return nil
	}
	if span.Last > u.intake.Settled {
		u.keep(at, x.events)
	}
	u.intake.Vouch(x.Batch.DurableTo)
	c.advance(u)
	return nil
}

// held is how many batches of a session's lane wait for settlement.
func (c *core) held(session uint64, lane event.Lane) int {
	s := c.sessions[session]
	if s == nil {
		return 0
	}
	return len(c.units[event.Unit{Origin: s.origin, WAL: s.wal, Lane: lane}].intake.Held)
}

func (c *core) vouch(body []byte) error {
	var session, lane, seq uint64
	if err := decodeNumbers(body, &session, &lane, &seq); err != nil {
		return err
	}
	s := c.sessions[session]
	if s == nil || lane >= event.Lanes {
		return nil
	}
	u := c.units[event.Unit{Origin: s.origin, WAL: s.wal, Lane: event.Lane(lane)}]
	u.intake.Vouch(seq)
	c.advance(u)
	return nil
}
