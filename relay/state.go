package relay

import (
	"fmt"
	"slices"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/wire"
)

// AppendState writes the core's whole state. What is folded and decoded is
// left out: it is read from the log again.
func (c *core) AppendState(w *pack.Writer) {
	w.String(c.name)
	w.Bin(c.config)
	w.Bool(c.up)
	w.Int(c.now)
	wire.AppendMapping(w, c.clock)
	w.Uint(c.claims)
	w.Int(c.asked)
	w.Uint(c.dropped)
	w.Array(len(c.sessions))
	ids := make([]uint64, 0, len(c.sessions))
	for id := range c.sessions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		s := c.sessions[id]
		w.Uint(s.id)
		w.String(s.origin)
		w.Uint(uint64(s.wal))
		appendTerm(w, s.term)
		w.Bool(s.fresh)
		wire.AppendEstate(w, s.estate)
	}
	w.Array(len(c.units))
	for _, u := range c.order() {
		u.append(w)
	}
	w.Array(len(c.pending))
	for i := range c.pending {
		anomaly.AppendFinding(w, c.pending[i])
	}
	c.engine.Snapshot(w)
	c.dedup.Snapshot(w)
	c.local.append(w)
	c.pace.append(w)
	c.appendFlights(w)
	c.appendWindows(w)
	c.patterns.append(w)
}

// ReadState replaces the core's state.
func (c *core) ReadState(r *pack.Reader) error {
	c.name = r.String("name", maxText)
	config := slices.Clone(r.Bin("config", maxState))
	c.up, c.now, c.clock = r.Bool("up"), r.Int("now"), wire.ReadMapping(r)
	c.claims = r.Uint("claims", maxSeq)
	c.asked, c.dropped = r.Int("asked"), r.Uint("dropped", maxSeq)
	for range r.Array("sessions", maxUnits) {
		s := &session{id: r.Uint("session", maxSeq), origin: r.String("origin", maxText),
			wal: event.WALID(r.Uint("WAL id", 1<<64-1)), term: readTerm(r), fresh: r.Bool("fresh"), estate: wire.ReadEstate(r)}
		c.sessions[s.id] = s
		if r.Err() != nil {
			return r.Err()
		}
	}
	for range r.Array("units", maxUnits) {
		u := readUnit(r)
		c.units[u.id] = u
		if r.Err() != nil {
			return r.Err()
		}
	}
	for range r.Array("findings", maxPendingFindings) {
		c.pending = append(c.pending, anomaly.ReadFinding(r))
		if r.Err() != nil {
			return r.Err()
		}
	}
	if r.Err() == nil && len(config) > 0 {
		if err := c.configure(config); err != nil {
			return err
		}
	}
	if r.Err() != nil {
		return r.Err()
	}
	if err := c.engine.Restore(r); err != nil {
		return err
	}
	if err := c.dedup.Restore(r); err != nil {
		return err
	}
	c.local.read(r)
	c.pace = readPace(r)
	c.readFlights(r)
	if err := c.readWindows(r); err != nil {
		return err
	}
	return c.patterns.read(r)
}

const (
	maxState = 1 << 30
	maxSeq   = 1<<63 - 1
)

func (u *unit) append(w *pack.Writer) {
	stream.AppendUnit(w, u.id)
	n := &u.intake
	appendTerm(w, n.Term)
	w.Uint(n.Opened)
	w.Uint(n.Started)
	for _, b := range []bool{n.Live, n.Claimed, n.Fenced, n.Closed, n.EndOK, u.urgent, u.more, u.patient} {
		w.Bool(b)
	}
	w.Array(len(n.Held))
	for _, s := range n.Held {
		w.Uint(s.First)
		w.Uint(s.Last)
		w.Bin(s.Before[:])
		w.Bin(s.After[:])
		w.Uint(s.Pos)
	}
	w.Bin(n.EndHash[:])
	w.Bin(n.SettledHash[:])
	for _, v := range []uint64{n.End, n.Vouched, n.Stepped, n.Settled, n.Cut, u.session, u.acked.Durable, u.acked.Settled} {
		w.Uint(v)
	}
	w.Array(len(u.sizes))
	for _, n := range u.sizes {
		w.Uint(uint64(n))
	}
	w.Int(u.lastCut)
	w.Int(u.openedAt)
	w.Int(u.expectAt)
	w.Uint(u.learned)
}

func readUnit(r *pack.Reader) *unit {
	u := newUnit(stream.ReadUnit(r))
	n := &u.intake
	n.Term, n.Opened, n.Started = readTerm(r), r.Uint("opened", 1<<64-1), r.Uint("started", 1<<64-1)
	for _, b := range []*bool{&n.Live, &n.Claimed, &n.Fenced, &n.Closed, &n.EndOK, &u.urgent, &u.more, &u.patient} {
		*b = r.Bool("flag")
	}
	for range r.Array("held", custody.MaxHeld) {
		n.Held = append(n.Held, custody.Span{First: r.Uint("first", maxSeq), Last: r.Uint("last", maxSeq),
			Before: readHash(r), After: readHash(r), Pos: r.Uint("position", maxSeq)})
		if r.Err() != nil {
			return u
		}
	}
	n.EndHash, n.SettledHash = readHash(r), readHash(r)
	for _, v := range []*uint64{&n.End, &n.Vouched, &n.Stepped, &n.Settled, &n.Cut, &u.session, &u.acked.Durable, &u.acked.Settled} {
		*v = r.Uint("number", maxSeq)
	}
	for range r.Array("sections", maxInFlight) {
		u.sizes = append(u.sizes, int(r.Uint("size", maxState)))
	}
	u.inFlight = len(u.sizes)
	u.acked.Lane = u.id.Lane
	u.lastCut, u.openedAt, u.expectAt = r.Int("cut at"), r.Int("opened at"), r.Int("expected at")
	u.learned = r.Uint("learned", 1<<64-1)
	u.folded = n.Cut
	return u
}

func readHash(r *pack.Reader) (h event.Hash) {
	b := r.Bin("hash", len(h))
	if r.Err() == nil && len(b) != len(h) {
		r.Fail("hash", fmt.Errorf("%d bytes, want %d", len(b), len(h)))
	}
	copy(h[:], b)
	return h
}
