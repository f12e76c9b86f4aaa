package relay

import (
	"errors"
	"fmt"
	"slices"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
)

// claim asks the root for both lanes of a unit's WAL id, if either wants it.
func (c *core) claim(u *unit) {
	if !c.up {
		return
	}
	other := c.units[event.Unit{Origin: u.id.Origin, WAL: u.id.WAL, Lane: 1 - u.id.Lane}]
	if !u.intake.Wants() && (other == nil || !other.intake.Wants()) {
		return
	}
	if other != nil && other.intake.Term.Compare(u.intake.Term) > 0 {
		u = other
	}
	c.claims++
	m := &wire.Claim{ID: c.claims, Origin: u.id.Origin, WAL: u.id.WAL, Term: u.intake.Term, Opened: u.intake.Opened, Started: u.intake.Started}
	if s := c.sessions[u.session]; s != nil {
		m.Estate = s.estate
	}
	c.ask(m)
}

// claimed takes the root's answer to a claim.
func (c *core) claimed(body []byte) error {
	var m wire.ClaimAnswer
	if err := wire.Decode(body, &m); err != nil {
		return fmt.Errorf("root's answer to a claim: %w", err)
	}
	for l := range event.Lanes {
		u := c.units[event.Unit{Origin: m.Origin, WAL: m.WAL, Lane: event.Lane(l)}]
		if u == nil {
			continue
		}
		s := c.sessions[u.session]
		var err error
		switch {
		case m.Closed:
			if err = u.intake.Shut(m.Settled[l], m.Chain[l]); err == nil && s != nil {
				err = fmt.Errorf("WAL %s: %w", m.WAL, custody.ErrClosed)
			}
			u.beginRest()
		case !m.Granted:
			u.intake.Refused(m.Term)
			c.outdated(s, m.Term, m.Known)
		default:
			if m.Term == u.intake.Term {
				c.engine.Claimed(u.id, m.Expect[l])
			}
			err = u.intake.Granted(m.Term, m.Settled[l], m.Chain[l])
			c.tellAck(u)
		}
		u.refold()
		if err != nil {
			c.contradicted(u, s, err)
			continue
		}
		c.hurry(u)
		if err := c.cut(u); err != nil {
			return err
		}
		c.forget(u)
	}
	if s := c.sessionOf(m.Origin, m.WAL); s != nil && m.Granted && s.fresh && m.Term == s.term {
		started := c.units[event.Unit{Origin: m.Origin, WAL: m.WAL, Lane: event.Critical}].intake.Started
		c.tell(s.id, &wire.Claimed{WAL: m.WAL, Opened: started, Positions: m.Positions})
	}
	return nil
}

// outdated ends a session whose term the root does not accept.
func (c *core) outdated(s *session, refused, known custody.Term) {
	if s == nil || refused != s.term {
		return
	}
	c.tell(s.id, &wire.Refused{WAL: s.wal, Term: s.term, Code: wire.RefusedOldTerm,
		Reason: fmt.Sprintf("the root does not accept term %s, it knows %s", s.term, known), Known: known})
	c.hangUp(s, "old term")
}

func (c *core) sessionOf(origin string, id event.WALID) *session {
	u := c.units[event.Unit{Origin: origin, WAL: id, Lane: event.Critical}]
	if u == nil {
		return nil
	}
	return c.sessions[u.session]
}

// contradicted drops what can never settle, because the root holds other
// content or forgot the WAL id, and tells the agent to open a new one.
func (c *core) contradicted(u *unit, s *session, err error) {
	if errors.Is(err, custody.ErrDiverged) || errors.Is(err, custody.ErrForgotten) {
		u.intake.Held = nil
		u.refold()
	}
	if s != nil {
		c.refuse(s, err)
	}
	if c.units[u.id] != nil {
		c.forget(u)
	}
}

// judged takes the root's answers to sections and questions.
func (c *core) judged(body []byte) error {
	var m wire.DigestAnswer
	if err := wire.Decode(body, &m); err != nil {
		return fmt.Errorf("root's answer to a digest: %w", err)
	}
	for i := range m.Judgements {
		if err := c.judge(&m.Judgements[i]); err != nil {
			return err
		}
	}
	return c.admit()
}

func (c *core) judge(j *wire.Judgement) error {
	u := c.units[j.Unit]
	if u == nil {
		return nil
	}
	if j.To != 0 {
		c.land(u)
	}
	const noCut = ^uint64(0)
	cut := u.intake.Cut
	var err error
	switch {
	case j.Verdict == custody.RefuseDiverge:
		err = fmt.Errorf("section up to %d: %w", j.To, custody.ErrDiverged)
	case j.Verdict == custody.RefuseForgotten:
		err = fmt.Errorf("section up to %d: %w", j.To, custody.ErrForgotten)
	case j.Closed && !u.intake.Closed:
		err = u.intake.Shut(j.Settled, j.Chain)
		u.beginRest()
		cut = noCut // fold it again as the rest
		if s := c.sessions[u.session]; err == nil && s != nil {
			err = fmt.Errorf("WAL %s: %w", j.Unit.WAL, custody.ErrClosed)
		}
	case j.Verdict == custody.Apply:
		c.reclaim(u, u.intake.Fenced, j.InForce)
		err = u.intake.Applied(j.Settled, j.Chain)
	case j.Verdict == custody.SkipTerm && j.InForce.Compare(j.Term) < 0:
		c.reclaim(u, u.intake.Claimed && j.Term == u.intake.Term, j.InForce)
		err = u.intake.Applied(j.Settled, j.Chain)
	case j.Verdict == custody.SkipTerm:
		// The agent is elsewhere, or a clone of it is: this session would
		// never settle anything, and its agent must not go on hoping.
		u.intake.Refused(j.Term)
		c.outdated(c.sessions[u.session], j.Term, custody.Term{})
		err = u.intake.Applied(j.Settled, j.Chain)
	default:
		err = u.intake.Skipped(j.To, j.Settled, j.Chain)
	}
	if u.intake.Cut != cut {
		u.refold()
	}
	if err != nil {
		c.contradicted(u, c.sessions[u.session], err)
		return nil
	}
	c.tellAck(u)
	c.forget(u)
	if c.units[u.id] != nil && (u.eager() || u.more) {
		return c.cut(u)
	}
	return nil
}

// reclaim claims a unit again if the root has an older term in force than this
// relay's: it was restored, and does not know what this relay knows of a claim.
func (c *core) reclaim(u *unit, known bool, inForce custody.Term) {
	if !known {
		return
	}
	u.intake.InForce(inForce)
	if u.intake.Wants() {
		c.claim(u)
	}
}

// beginRest lets the next section of a closed unit begin with what is held,
// also where the root's word does not lead up to it: the root may have
// forgotten the WAL id, and says so only to a section. Otherwise it skips one
// and says where it stands.
func (u *unit) beginRest() {
	if u.intake.Closed && len(u.intake.Held) > 0 {
		u.intake.Cut = u.intake.Held[0].First - 1
	}
}

// uplink takes note that the root came or went. What had no answer is said
// again to the next root.
func (c *core) uplink(up bool) {
	c.up = up
	c.clearFlights()
	for _, u := range c.order() {
		u.intake.Recut()
		u.beginRest()
		u.learned = 0 // what was said of it may be lost
		u.refold()
		c.hurry(u)
	}
	if !up {
		return
	}
	for _, u := range c.order() {
		if u.id.Lane == event.Critical || c.units[event.Unit{Origin: u.id.Origin, WAL: u.id.WAL, Lane: event.Critical}] == nil {
			c.claim(u)
		}
	}
	for i := range c.pending {
		c.sayFinding(&c.pending[i])
	}
	c.handOver(c.local.named())
}

// report keeps findings until the root has them, and says them. Without a root
// they make provisional incidents here.
func (c *core) report(fs []anomaly.Finding) {
	if len(fs) == 0 {
		return
	}
	for i := range fs {
		f := &fs[i]
		if c.found != nil {
			c.found(f)
		}
		at := slices.IndexFunc(c.pending, func(p anomaly.Finding) bool { return p.ID == f.ID })
		if at >= 0 {
			c.pending[at] = *f
		} else {
			c.pending = append(c.pending, *f)
		}
		if len(c.pending) > maxPendingFindings {
			if c.lost != nil {
				c.lost(c.local.holds(c.pending[:1]))
			}
			c.pending = slices.Delete(c.pending, 0, 1)
			c.dropped++
		}
		if c.up {
			c.sayFinding(f)
		}
	}
	if !c.up || c.local.holds(fs) {
		c.suspect(fs) // names go behind what they are made of
	}
}

func (c *core) sayFinding(f *anomaly.Finding) {
	w := pack.NewWriter()
	anomaly.AppendFinding(w, *f)
	c.say(journal.Output{To: toRoot, Kind: outFinding, Body: w.Bytes()})
}

func (c *core) received(body []byte) error {
	m, err := decodeReceived(body)
	if err != nil {
		return err
	}
	c.flights.taught -= min(c.flights.taught, m.Taught)
	for _, x := range m.Findings {
		c.pending = slices.DeleteFunc(c.pending, func(p anomaly.Finding) bool { return p.ID == x.ID && p.Revision <= x.Revision })
	}
	for _, id := range m.Named {
		c.local.told(id)
	}
	if err := c.admit(); err != nil {
		return err
	}
	return c.handedOver()
}
