package relay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// unit is one unit in this relay's custody. What was folded into panes and not
// cut into a section yet is a cache: the log has it all.
type unit struct {
	id      event.Unit
	intake  custody.Intake
	session uint64 // that has it open, or 0

	fold      *stream.Fold
	folded    uint64 // last sequence in fold; the first is behind intake.Cut
	spans     int    // batches in fold
	positions map[place]event.Position
	placed    int // bytes of the positions' names

	urgent   bool  // more than heartbeats was stepped and not cut
	more     bool  // the last section had no room for all that was stepped
	inFlight int   // sections without an answer
	sizes    []int // of these, in bytes
	linedUp  bool  // stands in the line of flights; follows from that
	lastCut  int64
	patient  bool   // what came since the opening waits for the answer to the claim
	openedAt int64  // root time of the opening
	stepped  uint64 // events, for people
	acked    wire.Ack
	learned  uint64 // how much was learned when expectations were last sent up
	expectAt int64

	fresh   map[uint64]*stream.Arrival // by position in the log: held and not stepped; a cache
	waiting int                        // bytes that fresh takes
}

// place names one file of one source.
type place struct{ source, file string }

// Batches that wait for their agents' disks, or are read again, take memory that
// is used again: whoever has stepped or folded one lets it go.
var arrivals = sync.Pool{New: func() any { return new(stream.Arrival) }}

func newUnit(id event.Unit) *unit {
	return &unit{id: id, intake: custody.Intake{EndOK: true}, fold: stream.NewFold(stream.DefaultLimits()),
		positions: map[place]event.Position{}, fresh: map[uint64]*stream.Arrival{}, acked: wire.Ack{Lane: id.Lane}}
}

func (u *unit) open(n custody.Intake, session uint64) {
	u.intake, u.session, u.acked = n, session, wire.Ack{Lane: u.id.Lane}
	u.learned = 0 // the engine counts anew
	u.forgetFresh()
	u.refold()
}

func (u *unit) close() {
	u.intake.CloseSession()
	u.session = 0
	u.forgetFresh()
}

func (u *unit) forgetFresh() {
	clear(u.fresh)
	u.waiting = 0
}

// maxWaiting bounds the bytes that batches of a unit take which are kept decoded
// until their agent's disk vouches for them, some 16,000 events; an agent whose
// disk hangs, or that never vouches, has the rest read from the log again.
const maxWaiting = 8 << 20

// keep remembers a decoded batch until it is stepped.
func (u *unit) keep(at wal.Seq, a *stream.Arrival) {
	if len(u.fresh) > 0 && u.waiting+a.Size() > maxWaiting {
		return
	}
	u.fresh[uint64(at)] = a
	u.waiting += a.Size()
}

// locate places the events of a batch in root time. An agent
// that does not know root time tells what its clock read when it sent the
// batch, which was about when it arrived here; the error says how little that
// is. Stamps of an earlier boot that nobody related to root time are taken to
// be as late as the arrival, and are a backlog in any case: they say nothing of
// now.
func locate(a *stream.Arrival, by *arrival) {
	m, last := by.Batch.Map, a.Hi[a.Count-1]
	switch {
	case by.Batch.Mapped && m.Boot == a.Boot:
	case m.Boot == a.Boot && m.At >= last:
		m = clock.Mapping{Boot: a.Boot, Offset: by.At - m.At, Bound: unmappedBound, At: m.At}
	default:
		m = clock.Mapping{Boot: a.Boot, Offset: by.At - last, Bound: unmappedBound, At: last}
		for i := range a.Flags {
			a.Flags[i] |= event.Backlog
		}
	}
	a.Place(m, by.At)
}

// refold makes the next section start from the log again, after the cut
// position moved.
func (u *unit) refold() {
	u.fold.Take()
	u.emptied()
	u.folded, u.more = u.intake.Cut, false
}

// emptied takes note that the fold is empty.
func (u *unit) emptied() {
	clear(u.positions)
	u.placed, u.spans = 0, 0
	u.urgent = u.intake.Stepped > u.intake.Cut
}

// eager reports whether there is something to say at once.
func (u *unit) eager() bool { return u.id.Lane == event.Critical && u.urgent }

// load returns a held batch, decoded: from memory, or from the log.
func (c *core) load(u *unit, s custody.Span) (*stream.Arrival, error) {
	if f := u.fresh[s.Pos]; f != nil {
		return f, nil
	}
	kind, body, err := c.fetch(wal.Seq(s.Pos))
	if err != nil {
		return nil, err
	}
	if kind != recBatch {
		return nil, fmt.Errorf("record %d has kind %d, a batch of %s was there", s.Pos, kind, u.id)
	}
	x := unpack(body)
	if err := cmp.Or(x.err, x.bad); err != nil {
		return nil, err
	}
	return x.events, nil
}

// advance steps what the agent's disk vouches for: detectors see it, panes
// count it, and the agent hears that it is durable here.
func (c *core) advance(u *unit) {
	if u.patient {
		c.tellAck(u)
		return
	}
	for _, s := range u.intake.Step() {
		a, err := c.load(u, s)
		if err != nil {
			// The log is read back by the same process that wrote it.
			c.fail(err)
			return
		}
		c.lines.number(a)
		c.observe(u, a)
		if u.folded+1 == s.First && u.room() {
			u.add(s, a)
		}
		if u.fresh[s.Pos] != nil {
			u.waiting -= a.Size()
			delete(u.fresh, s.Pos)
		}
		c.windows.observe(a, max(c.now, a.At))
	}
	c.tellAck(u)
	if u.eager() {
		if err := c.cut(u); err != nil {
			c.fail(err)
		}
	}
}

// claimPatience is how long batches of a new session wait for the answer to its
// claim before the detectors see them, in nanoseconds. An agent that restarts
// sends again what it does not know to be settled; what the root says is settled
// was seen before, and is not seen twice. Without a root nobody knows, and
// nothing waits.
const claimPatience = int64(500e6)

// hurry ends the wait for the answer to a claim.
func (c *core) hurry(u *unit) {
	if u.patient {
		u.patient = false
		c.advance(u)
	}
}

// Beyond these limits no further batch goes into a section; it is folded from
// the log when the next one is cut.
const (
	foldLimit     = 8192      // rows and edges
	maxPlaces     = 1024      // positions
	maxPlaceBytes = 128 << 10 // of the positions' names
)

// room reports whether another batch may go into the present section. It
// depends on the batches alone, not on when they are folded.
func (u *unit) room() bool {
	return u.fold.Len() < foldLimit && u.spans < maxSpans && len(u.positions) < maxPlaces && u.placed < maxPlaceBytes
}

func (u *unit) add(s custody.Span, a *stream.Arrival) {
	var again map[string]bool // sources that the agent reads again under the new WAL id
	if u.intake.Closed {
		again = make(map[string]bool, len(a.Positions))
	}
	for _, p := range a.Positions {
		at := place{p.Source, p.File}
		old, known := u.positions[at]
		if !known {
			u.placed += len(p.Source) + len(p.File)
		}
		if p.Offset >= old.Offset {
			u.positions[at] = p // one that a restarted agent reads again says less
		}
		if u.intake.Closed {
			again[p.SourceName()] = p.Replayable
		}
	}
	var skip func(source string) bool
	if len(again) > 0 {
		skip = func(source string) bool { return again[source] }
	}
	u.fold.Add(&a.Sums, skip)
	var e event.Event
	for _, i := range a.Sums.Rest {
		a.Event(int(i), &e)
		switch {
		case skip != nil && skip(e.Source):
		case e.Kind == event.Loss:
			u.fold.Lose(&e, a.Interval(int(i)))
		default:
			u.fold.Beat()
		}
	}
	u.folded = s.Last
	u.spans++
}

// observe shows a batch to the detectors and the patterns.
func (c *core) observe(u *unit, a *stream.Arrival) {
	u.stepped += uint64(a.Count)
	u.urgent = u.urgent || len(a.Sums.Rest) < a.Count || slices.Contains(a.Kind, event.Loss)
	if c.seen != nil {
		c.seen(a)
	}
	c.engine.Begin(a)
	c.patterns.begin(a)
	defer c.engine.End()
	if peers := len(a.Peer.Texts) > 1; len(a.Sums.Rest) == 0 && !c.patterns.some && (c.up || !peers) {
		c.engine.ObserveAll(func(i int, fs []anomaly.Finding) { c.detectedAt(a, i, fs) })
		return
	}
	c.observeEach(u, a)
}

// observeEach is observe for batches of which more than the detectors want to know.
func (c *core) observeEach(u *unit, a *stream.Arrival) {
	now := max(c.now, a.At)
	var e event.Event
	for i, kind := range a.Kind {
		switch kind {
		case event.Heartbeat:
			a.Event(i, &e)
			asOf := a.Map.Root(e.Stamp.Hi).Lo
			c.detected(c.engine.Heartbeat(u.id, &e, asOf), &e)
			c.heard(u, &e, asOf, now)
			continue
		case event.Loss:
			a.Event(i, &e)
			c.engine.Lost(u.id, &e)
			c.patterns.observe(a, i, now)
			continue
		}
		c.patterns.observe(a, i, now)
		if !c.up {
			if peer := a.Peer.At(i); peer != "" {
				c.local.graph.AddEdge(a.Entity.At(i), peer, min(a.Points[i], c.now)) // no section will tell for now
			}
		}
		c.detectedAt(a, i, c.engine.Observe(i))
	}
}

// detectedAt is detected for what was found on event i of a batch.
func (c *core) detectedAt(a *stream.Arrival, i int, fs []anomaly.Finding) {
	if len(fs) > 0 {
		var e event.Event
		a.Event(i, &e)
		c.detected(fs, &e)
	}
}

// tellAck tells the agent what is new.
func (c *core) tellAck(u *unit) {
	ack := wire.Ack{Lane: u.id.Lane, Durable: u.intake.Durable(), Settled: u.intake.Settled}
	if u.session == 0 || ack == u.acked {
		return
	}
	u.acked = ack
	c.tell(u.session, &ack)
}

// section says the next section of a unit, if there is one to say.
func (c *core) section(u *unit) error {
	for limit := maxSpans; ; {
		spans, err := c.fill(u, u.intake.Section(limit))
		if err != nil || len(spans) == 0 {
			return err
		}
		start := u.intake.Cut
		sec := wire.Section{Head: u.intake.Commit(u.id, c.name, spans), Positions: u.sortedPositions(), Rows: c.rows(u)}
		c.local.saw(&sec.Rows, c.now)
		body := wire.EncodeSection(&sec)
		if len(body) > maxSection && len(spans) > 1 {
			u.intake.Cut = start
			u.refold()
			limit = len(spans) / 2
			continue
		}
		u.emptied()
		if u.id.Lane == event.Bulk {
			c.pace.sent += uint64(len(body))
		}
		u.more = u.urgent
		u.folded = u.intake.Cut
		c.takeOff(u, len(body))
		u.lastCut = c.now
		c.teach(c.speaker(u)) // before what it was learnt from is settled
		c.say(journal.Output{To: toRoot, Kind: outSection, Body: body})
		return nil
	}
}

// rows takes what is folded: as it is in the critical lane, as coarse as the
// pace wants it in the other.
func (c *core) rows(u *unit) stream.Rows {
	if u.id.Lane == event.Bulk {
		return c.pace.take(u.fold)
	}
	return u.fold.Take()
}

// fill folds what of the spans is not folded yet, as far as there is room, and
// returns the spans that are.
func (c *core) fill(u *unit, spans []custody.Span) ([]custody.Span, error) {
	for i, s := range spans {
		if s.Last <= u.folded {
			continue
		}
		if !u.room() {
			return spans[:i], nil
		}
		a, err := c.load(u, s)
		if err != nil {
			return nil, err
		}
		c.lines.number(a)
		u.add(s, a)
		if u.fresh[s.Pos] != a {
			arrivals.Put(a)
		}
	}
	return spans, nil
}

func (u *unit) sortedPositions() []event.Position {
	var list []event.Position
	for _, p := range u.positions {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b event.Position) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.File, b.File))
	})
	return list
}

// speaker is the unit in whose name what was learned of an origin goes up: that
// of the critical lane, or the other if nothing is left of it.
func (c *core) speaker(u *unit) *unit {
	if critical := c.units[event.Unit{Origin: u.id.Origin, WAL: u.id.WAL, Lane: event.Critical}]; critical != nil {
		return critical
	}
	return u
}

// expect sends up what was learned of an origin, when something was.
func (c *core) expect(u *unit) {
	if c.speaker(u) == u && c.due(u.expectAt, expectEvery) && c.flights.taught < maxTaught {
		c.teach(u)
	}
}

// teach sends up what was learned and is not up. What taught it is settled
// later: so whoever takes the agent over either knows it, or is sent the events.
func (c *core) teach(u *unit) {
	if !c.up || !u.intake.Claimed {
		return
	}
	u.expectAt = c.now
	learned := c.engine.Learned(u.id)
	if learned == u.learned {
		return
	}
	u.learned = learned
	for known := c.engine.Expect(u.id); ; {
		w := pack.NewWriter()
		stream.AppendUnit(w, u.id)
		appendTerm(w, u.intake.Term)
		known.Append(w)
		if w.Len() <= maxExpect {
			c.flights.taught += uint64(w.Len())
			c.say(journal.Output{To: toRoot, Kind: outExpect, Body: w.Bytes()})
			return
		}
		if !known.Halve() { // a message must hold it
			return
		}
	}
}
