package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// logicVersion rises whenever the same records may give other outputs.
const logicVersion = 1

// Kinds of the agent's WAL records. They are never renumbered.
const (
	recStart   uint8 = iota + 1 // the process started: raises the epoch
	recBatch                    // an encoded batch
	recSettled                  // a lane is settled, and may be trimmed, up to here
	recResume                   // where a fresh WAL reads its sources from
	recClock                    // an estimate of root time, for events that outlive their boot
	recRetire                   // positions that are no longer needed
	recEstate                   // what the log that this one replaces left behind
)

// Bounds of the core.
const (
	// markEvery is the distance, in batches, of the marks by which a batch is
	// found in the log; 10 million unsettled batches take 2.5 MB of marks.
	markEvery = 64
	// maxClocks bounds the boots whose clock is remembered.
	maxClocks = 16
	// maxPositions bounds the positions that are read back. A batch holds
	// event.MaxPositions; a lane's are those of all its batches, and what
	// keeps them few is that files retire.
	maxPositions = 1 << 24
	maxSeq       = custody.MaxSeq
)

// Core is the agent's deterministic part: which events are in the log, under
// which numbers, how far they are settled, and where the sources stand.
type Core struct {
	origin string
	wal    event.WALID

	epoch   uint64
	resumed bool   // the sources' positions are known
	started uint64 // HLC of the claim that told them
	estate  wire.Estate
	lanes   [event.Lanes]lane
	clocks  []clock.Mapping // latest last; one for each boot
}

type lane struct {
	last      uint64
	chain     event.Hash
	settled   uint64
	batches   uint64
	marks     []mark // ascending; the first is at or before settled+1
	positions map[string]event.Position
}

// mark tells where in the log a batch lies.
type mark struct {
	first  uint64
	before event.Hash // chain value before first
	at     wal.Seq
}

// NewCore returns the core of an empty log.
func NewCore(origin string, id uint64) *Core {
	c := &Core{origin: origin, wal: event.WALID(id)}
	for l := range c.lanes {
		c.lanes[l].positions = map[string]event.Position{}
	}
	return c
}

// Logic implements [journal.Core].
func (c *Core) Logic() uint32 { return logicVersion }

// Oldest is the mark before the oldest unsettled batch, or the end.
func (c *Core) Oldest() wal.Seq {
	oldest := wal.Seq(0)
	for l := range c.lanes {
		ln := &c.lanes[l]
		if ln.last == ln.settled || len(ln.marks) == 0 {
			continue
		}
		if at := ln.marks[0].at; oldest == 0 || at < oldest {
			oldest = at
		}
	}
	return oldest
}

// Step applies one record.
func (c *Core) Step(at wal.Seq, kind uint8, body []byte, say func(journal.Output)) error {
	switch kind {
	case recStart:
		c.epoch++
		return nil
	case recBatch:
		return c.batch(at, body, say)
	case recSettled:
		return c.settle(at, body)
	case recResume:
		var m wire.Claimed
		if err := wire.Decode(body, &m); err != nil {
			return err
		}
		c.resume(&m)
		return nil
	case recClock:
		r := pack.NewReader(body)
		m := wire.ReadMapping(r)
		c.keepClock(m)
		return r.Done()
	case recRetire:
		r := pack.NewReader(body)
		l := r.Uint("lane", event.Lanes-1)
		for range r.Array("retired", event.MaxPositions) {
			delete(c.lanes[l].positions, r.String("source", event.MaxName))
			if r.Err() != nil {
				break
			}
		}
		return r.Done()
	case recEstate:
		r := pack.NewReader(body)
		c.estate = wire.ReadEstate(r)
		return r.Done()
	}
	return fmt.Errorf("record kind %d is unknown", kind)
}

func (c *Core) batch(at wal.Seq, body []byte, say func(journal.Output)) error {
	h, err := event.DecodeHeader(body)
	if err != nil {
		return err
	}
	ln := &c.lanes[h.Unit.Lane]
	if h.Unit.WAL != c.wal || h.Unit.Origin != c.origin || h.First != ln.last+1 {
		return fmt.Errorf("batch of %s from %d follows %d of WAL %s: %w", h.Unit, h.First, ln.last, c.wal, wal.ErrCorrupt)
	}
	before := ln.chain
	ln.chain = event.Chain(before, body)
	ln.last = h.Last()
	if ln.batches%markEvery == 0 || len(ln.marks) == 0 {
		ln.marks = append(ln.marks, mark{first: h.First, before: before, at: at})
	}
	ln.batches++
	for _, p := range h.Positions {
		ln.advance(p)
	}
	w := pack.NewWriter()
	w.Uint(uint64(h.Unit.Lane))
	w.Uint(h.First)
	w.Uint(h.Last())
	w.Bin(ln.chain[:])
	say(journal.Output{To: "parent", Kind: wire.KindBatch, Body: w.Bytes()})
	return nil
}

func (c *Core) settle(at wal.Seq, body []byte) error {
	r := pack.NewReader(body)
	l, seq := r.Uint("lane", event.Lanes-1), r.Uint("settled", maxSeq)
	if err := r.Done(); err != nil {
		return err
	}
	ln := &c.lanes[l]
	ln.settled = max(ln.settled, min(seq, ln.last))
	if ln.settled == ln.last {
		// The log may be trimmed as far as it likes: what comes next is read
		// from here on, with the chain value as it is here.
		ln.marks = append(ln.marks[:0], mark{first: ln.last + 1, before: ln.chain, at: at})
		return nil
	}
	drop := 0
	for drop+1 < len(ln.marks) && ln.marks[drop+1].first <= ln.settled+1 {
		drop++
	}
	ln.marks = slices.Delete(ln.marks, 0, drop)
	return nil
}

func (c *Core) resume(m *wire.Claimed) {
	if c.resumed {
		return
	}
	c.resumed, c.started = true, m.Opened
	for l := range c.lanes {
		for _, p := range m.Positions[l] {
			if _, known := c.lanes[l].positions[p.Source]; !known {
				c.lanes[l].positions[p.Source] = p
			}
		}
	}
}

// keepClock remembers the newest estimate of each boot.
func (c *Core) keepClock(m clock.Mapping) {
	c.clocks = slices.DeleteFunc(c.clocks, func(x clock.Mapping) bool { return x.Boot == m.Boot })
	c.clocks = append(c.clocks, m)
	if len(c.clocks) > maxClocks {
		c.clocks = slices.Delete(c.clocks, 0, 1)
	}
}

// Clock returns the remembered estimate of a boot.
func (c *Core) Clock(b clock.Boot) (clock.Mapping, bool) {
	for _, m := range c.clocks {
		if m.Boot == b {
			return m, true
		}
	}
	return clock.Mapping{}, false
}

// Seek returns where in the log to begin reading for seq, and the lane's chain
// value there.
func (c *Core) Seek(l event.Lane, seq uint64) (wal.Seq, event.Hash) {
	marks := c.lanes[l].marks
	i, found := slices.BinarySearchFunc(marks, seq, func(m mark, seq uint64) int { return cmp.Compare(m.first, seq) })
	if !found {
		i--
	}
	if i < 0 {
		return 1, event.Hash{}
	}
	return marks[i].at, marks[i].before
}

// advance moves a position forward. It never falls: after a restart the lane
// that lags is read again, and says less than this one knows.
func (ln *lane) advance(p event.Position) {
	if old, known := ln.positions[p.Source]; !known || p.Offset >= old.Offset {
		ln.positions[p.Source] = p
	}
}

func (ln *lane) sorted() []event.Position {
	list := make([]event.Position, 0, len(ln.positions))
	for _, p := range ln.positions {
		list = append(list, p)
	}
	slices.SortFunc(list, comparePositions)
	return list
}

func comparePositions(a, b event.Position) int {
	return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.File, b.File))
}

// AppendState writes the whole state.
func (c *Core) AppendState(w *pack.Writer) {
	w.Uint(c.epoch)
	w.Bool(c.resumed)
	wire.AppendEstate(w, c.estate)
	w.Uint(c.started)
	for l := range c.lanes {
		ln := &c.lanes[l]
		w.Uint(ln.last)
		w.Bin(ln.chain[:])
		w.Uint(ln.settled)
		w.Uint(ln.batches)
		w.Array(len(ln.marks))
		for _, m := range ln.marks {
			w.Uint(m.first)
			w.Bin(m.before[:])
			w.Uint(uint64(m.at))
		}
	}
	w.Array(len(c.clocks))
	for _, m := range c.clocks {
		wire.AppendMapping(w, m)
	}
	for l := range c.lanes {
		list := c.lanes[l].sorted()
		w.Array(len(list))
		for _, p := range list {
			w.String(p.Source)
			w.String(p.File)
			w.Int(p.Offset)
			w.Bool(p.Replayable)
		}
	}
}

// ReadState replaces the state.
func (c *Core) ReadState(r *pack.Reader) error {
	c.epoch, c.resumed = r.Uint("epoch", maxSeq), r.Bool("resumed")
	c.estate, c.started = wire.ReadEstate(r), r.Uint("started", 1<<64-1)
	for l := range c.lanes {
		ln := &c.lanes[l]
		ln.last = r.Uint("last", maxSeq)
		copy(ln.chain[:], r.Bin("chain", len(ln.chain)))
		ln.settled, ln.batches = r.Uint("settled", maxSeq), r.Uint("batches", maxSeq)
		for range r.Array("marks", 1<<28) {
			m := mark{first: r.Uint("first", maxSeq)}
			copy(m.before[:], r.Bin("chain", len(m.before)))
			m.at = wal.Seq(r.Uint("at", maxSeq))
			ln.marks = append(ln.marks, m)
			if r.Err() != nil {
				return r.Err()
			}
		}
	}
	for range r.Array("clocks", maxClocks) {
		c.clocks = append(c.clocks, wire.ReadMapping(r))
		if r.Err() != nil {
			return r.Err()
		}
	}
	for l := range c.lanes {
		for range r.Array("positions", maxPositions) {
			p := event.Position{Source: r.String("source", event.MaxName), File: r.String("file", event.MaxName),
				Offset: r.Int("offset"), Replayable: r.Bool("replayable")}
			if r.Err() != nil {
				return r.Err()
			}
			c.lanes[l].positions[p.Source] = p
		}
	}
	return r.Err()
}
