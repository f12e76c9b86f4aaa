package relay

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// logicVersion rises whenever the same records may give other outputs.
const logicVersion = 1

// Bounds of the core.
const (
	// maxUnits bounds the units a relay keeps custody of: two per agent.
	maxUnits = 65536
	// maxPendingFindings bounds the findings the root has not committed. The
	// oldest is dropped beyond it, and counted.
	maxPendingFindings = 4096
	// maxInFlight bounds the sections of one unit without an answer.
	maxInFlight = 8
	// maxSpans bounds the batches of one section, so that a skip repeats
	// little work.
	maxSpans = 512
	// bulkEvery is how often bulk sections are cut, in nanoseconds.
	bulkEvery = int64(1e9)
	// expectEvery is how often changed expectations go up, in nanoseconds.
	expectEvery = int64(5e9)
	// askEvery is how often fenced units are asked for, in nanoseconds, and
	// maxAsked how many at once.
	askEvery = int64(2e9)
	maxAsked = 1024
	// unmappedBound is the error of stamps whose clock was never related to
	// root time: they are taken to be as late as their arrival.
	unmappedBound = int64(3600e9)
)

// Addresses of outputs.
const toRoot = "root"

func toSession(id uint64) string { return fmt.Sprintf("session/%d", id) }

// Kinds of outputs that are not messages as they stand: the shell puts
// several of them into one message. Those below are wire kinds.
const (
	outSection uint8 = iota + 0x80 // an encoded section
	outFinding                     // an encoded finding
	outExpect                      // unit, term, expectations
	outHangUp                      // end the session; the body is the reason
)

// core is the relay's deterministic part: custody of units, panes, detectors,
// sections. It sees time only in records.
type core struct {
	name  string // this relay's node name
	fetch journal.Fetch

	config   []byte
	engine   *anomaly.Engine
	units    map[event.Unit]*unit
	sessions map[uint64]*session
	up       bool // the root is connected
	now      int64
	claims   uint64 // ids given to claims
	asked    int64  // when units were last asked for
	pending  []anomaly.Finding
	dropped  uint64 // findings beyond maxPendingFindings

	say func(journal.Output)
	// seen is told every stepped event, for people who watch; it must not
	// change anything here. Nil outside a running relay.
	seen func(u event.Unit, e *event.Event, point int64)
	// found is told every finding, likewise.
	found func(f *anomaly.Finding)
	err   error // what made stepping impossible; Step returns it
}

// session is an agent's session that has its units open.
type session struct {
	id     uint64
	origin string
	wal    event.WALID
	term   custody.Term
	fresh  bool
}

func newCore(name string, fetch journal.Fetch) (*core, error) {
	c := &core{name: name, fetch: fetch, units: map[event.Unit]*unit{}, sessions: map[uint64]*session{}}
	engine, err := anomaly.NewEngine(anomaly.DefaultConfig())
	if err != nil {
		return nil, err
	}
	c.engine = engine
	return c, nil
}

func (c *core) Logic() uint32 { return logicVersion }

// Oldest is the oldest batch that is not settled.
func (c *core) Oldest() wal.Seq {
	oldest := wal.Seq(0)
	for _, u := range c.units {
		if at := wal.Seq(u.intake.Oldest()); at != 0 && (oldest == 0 || at < oldest) {
			oldest = at
		}
	}
	return oldest
}

// Step applies one record.
func (c *core) Step(at wal.Seq, kind uint8, body []byte, say func(journal.Output)) error {
	c.say, c.err = say, nil
	if err := c.step(at, kind, body); err != nil {
		return err
	}
	return c.err
}

func (c *core) step(at wal.Seq, kind uint8, body []byte) error {
	switch kind {
	case recStart:
		return c.start(body)
	case recConfig:
		return c.configure(body)
	case recOpen:
		return c.open(body)
	case recClose:
		var id uint64
		if err := decodeNumbers(body, &id); err != nil {
			return err
		}
		c.closeSession(id)
		return nil
	case recBatch:
		return c.batch(at, body)
	case recVouch:
		return c.vouch(body)
	case recTick:
		return c.tick(body)
	case recClaimed:
		return c.claimed(body)
	case recJudged:
		return c.judged(body)
	case recUplink:
		var up uint64
		if err := decodeNumbers(body, &up); err != nil {
			return err
		}
		c.uplink(up == 1)
		return nil
	case recReceived:
		return c.received(body)
	}
	return fmt.Errorf("record kind %d is unknown", kind)
}

// order returns the units in their order, so that nothing depends on a map's.
func (c *core) order() []*unit {
	list := make([]*unit, 0, len(c.units))
	for _, u := range c.units {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b *unit) int { return a.id.Compare(b.id) })
	return list
}

// start begins a new life: the record says which node it is, so that the log
// alone tells what was said.
func (c *core) start(name []byte) error {
	if len(name) > maxText {
		return fmt.Errorf("name of %d bytes", len(name))
	}
	if len(name) > 0 {
		c.name = string(name)
	}
	ids := make([]uint64, 0, len(c.sessions))
	for id := range c.sessions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		c.closeSession(id)
	}
	c.uplink(false)
	return nil
}

func (c *core) configure(body []byte) error {
	cfg := anomaly.DefaultConfig()
	if err := yaml.UnmarshalWithOptions(body, &cfg, yaml.Strict()); err != nil {
		return fmt.Errorf("detectors' configuration: %w", err)
	}
	engine, err := anomaly.NewEngine(cfg)
	if err != nil {
		return fmt.Errorf("detectors' configuration: %w", err)
	}
	if c.config != nil {
		w := pack.NewWriter()
		c.engine.Snapshot(w)
		if err := engine.Restore(pack.NewReader(w.Bytes())); err != nil {
			return fmt.Errorf("carry detectors over: %w", err)
		}
	}
	c.config, c.engine = body, engine
	return nil
}

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
		return nil
	}
	for _, s := range c.sessions {
		if s.origin == o.Origin && s.wal == m.WAL {
			return refuse(wire.RefusedTwice, s.term, fmt.Errorf("WAL %s of %s has a live session with term %s", m.WAL, o.Origin, s.term))
		}
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
	s := &session{id: o.Session, origin: o.Origin, wal: m.WAL, term: m.Term, fresh: m.Fresh}
	c.sessions[s.id] = s
	c.tell(s.id, opened)
	for l, u := range lanes {
		u.open(trial[l], s.id)
		c.engine.Present(u.id)
		c.advance(u, 0)
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
	c.ask(&wire.Claim{ID: c.claims, Origin: u.id.Origin, WAL: u.id.WAL, Term: u.intake.Term, Opened: u.intake.Opened})
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
		delete(c.units, u.id)
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

func (c *core) batch(at wal.Seq, body []byte) error {
	a, err := decodeArrival(body)
	if err != nil {
		return fmt.Errorf("arrival: %w", err)
	}
	s := c.sessions[a.Session]
	if s == nil {
		return nil // it ended while the batch was on its way to the log
	}
	b, err := event.Decode(a.Batch.Bytes)
	if err != nil {
		c.refuse(s, fmt.Errorf("batch: %w", err))
		return nil
	}
	id := event.Unit{Origin: s.origin, WAL: s.wal, Lane: event.Lane(a.Lane)}
	if b.Unit != id {
		c.refuse(s, fmt.Errorf("batch of unit %s in a session of %s: %w", b.Unit, id, custody.ErrProtocol))
		return nil
	}
	u := c.units[id]
	span := custody.Span{First: b.First, Last: b.Last(), Before: a.Batch.Before,
		After: event.Chain(a.Batch.Before, a.Batch.Bytes), Pos: uint64(at)}
	if err := u.intake.Add(span); err != nil {
		c.refuse(s, err)
		return nil
	}
	if span.Last > u.intake.Settled {
		u.keep(at, b, &a)
	}
	u.intake.Vouch(a.Batch.DurableTo)
	c.advance(u, a.At)
	return nil
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
	c.advance(u, 0)
	return nil
}

func (c *core) tick(body []byte) error {
	now, err := decodeTick(body)
	if err != nil {
		return err
	}
	c.now = max(c.now, now)
	c.report(c.engine.Tick(c.now))
	for _, u := range c.order() {
		if c.now-u.lastCut >= bulkEvery {
			if err := c.cut(u); err != nil {
				return err
			}
		}
		c.expect(u)
	}
	c.inquire()
	return nil
}

// inquire asks the root about units that were handed over to another relay
// while batches of them are still here: they are kept until settled.
func (c *core) inquire() {
	if !c.up || c.now-c.asked < askEvery {
		return
	}
	c.asked = c.now
	var m wire.Ask
	for _, u := range c.order() {
		if u.intake.Fenced && len(u.intake.Held) > 0 && len(m.Units) < maxAsked {
			m.Units = append(m.Units, u.id)
		}
	}
	if len(m.Units) > 0 {
		c.ask(&m)
	}
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
		case !m.Granted:
			u.intake.Refused(m.Term)
			if s != nil && m.Term == s.term {
				c.tell(s.id, &wire.Refused{WAL: s.wal, Term: s.term, Code: wire.RefusedOldTerm,
					Reason: fmt.Sprintf("term %s, the root knows %s", s.term, m.Known), Known: m.Known})
				c.hangUp(s, "old term")
			}
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
		if err := c.cut(u); err != nil {
			return err
		}
	}
	if s := c.sessionOf(m.Origin, m.WAL); s != nil && m.Granted && s.fresh && m.Term == s.term {
		c.tell(s.id, &wire.Claimed{WAL: m.WAL, Positions: m.Positions})
	}
	return nil
}

func (c *core) sessionOf(origin string, id event.WALID) *session {
	u := c.units[event.Unit{Origin: origin, WAL: id, Lane: event.Critical}]
	if u == nil {
		return nil
	}
	return c.sessions[u.session]
}

// contradicted drops what can never settle because the root holds other
// content, and tells the agent to open a new WAL id.
func (c *core) contradicted(u *unit, s *session, err error) {
	if errors.Is(err, custody.ErrDiverged) {
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
	return nil
}

func (c *core) judge(j *wire.Judgement) error {
	u := c.units[j.Unit]
	if u == nil {
		return nil
	}
	if j.To != 0 && u.inFlight > 0 {
		u.inFlight--
	}
	const noCut = ^uint64(0)
	cut := u.intake.Cut
	var err error
	switch {
	case j.Verdict == custody.RefuseDiverge:
		err = fmt.Errorf("section up to %d: %w", j.To, custody.ErrDiverged)
	case j.Closed && !u.intake.Closed:
		err = u.intake.Shut(j.Settled, j.Chain)
		cut = noCut // fold it again as the rest
		if s := c.sessions[u.session]; err == nil && s != nil {
			err = fmt.Errorf("WAL %s: %w", j.Unit.WAL, custody.ErrClosed)
		}
	case j.Verdict == custody.Apply:
		err = u.intake.Applied(j.Settled, j.Chain)
	case j.Verdict == custody.SkipTerm:
		u.intake.Refused(j.Term)
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
	if c.units[u.id] != nil && u.eager() {
		return c.cut(u)
	}
	return nil
}

// uplink takes note that the root came or went. What had no answer is said
// again to the next root.
func (c *core) uplink(up bool) {
	c.up = up
	for _, u := range c.order() {
		u.intake.Recut()
		u.inFlight = 0
		u.refold()
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
}

// report keeps findings until the root has them, and says them.
func (c *core) report(fs []anomaly.Finding) {
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
			c.pending = slices.Delete(c.pending, 0, 1)
			c.dropped++
		}
		if c.up {
			c.sayFinding(f)
		}
	}
}

func (c *core) sayFinding(f *anomaly.Finding) {
	w := pack.NewWriter()
	anomaly.AppendFinding(w, *f)
	c.say(journal.Output{To: toRoot, Kind: outFinding, Body: w.Bytes()})
}

func (c *core) received(body []byte) error {
	list, err := decodeReceipts(body)
	if err != nil {
		return err
	}
	for _, x := range list {
		c.pending = slices.DeleteFunc(c.pending, func(p anomaly.Finding) bool { return p.ID == x.ID && p.Revision <= x.Revision })
	}
	return nil
}
