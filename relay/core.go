package relay

import (
	"fmt"
	"slices"
	"strconv"

	"pando/event"
	"pando/event/clock"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/stream/dedup"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// logicVersion rises whenever the same records may give other outputs.
const logicVersion = 7

// Bounds of the core.
const (
	// maxUnits bounds the units a relay keeps custody of: two per agent.
	maxUnits = 65536
	// maxPendingFindings bounds the findings the root has not committed. The
	// oldest is dropped beyond it, and counted.
	maxPendingFindings = 4096
	// maxInFlight bounds the sections of one unit without an answer.
	maxInFlight = 8
	// maxFlying bounds the bytes of all sections of one lane without an answer,
	// and maxTaught those of expectations, beyond one of each: what the shell
	// keeps until it is sent. Units that have more to say line up.
	maxFlying = 8 << 20
	maxTaught = 8 << 20
	// maxSection is the size in bytes beyond which a section of several batches
	// is cut shorter. One batch's is below transport.MaxMessage whatever is in it.
	maxSection = maxDigest
	// maxExpect bounds the encoded expectations of one origin.
	maxExpect = maxDigest
	// maxSpans bounds the batches of one section, so that a skip repeats
	// little work.
	maxSpans = 512
	// expectEvery is how often changed expectations go up, in nanoseconds, with
	// the section that changed them or soon after. What is not up when this
	// relay dies looks new to the next one.
	expectEvery = int64(250e6)
	// askEvery is how often fenced units are asked for, in nanoseconds, and
	// maxAsked how many at once.
	askEvery = int64(2e9)
	maxAsked = 1024
	// unmappedBound is the error of stamps whose clock was never related to
	// root time: they are taken to be as late as their arrival.
	unmappedBound = int64(3600e9)
)

// Addresses of outputs.
const (
	toRoot      = "root"
	toOperators = "operators" // of this relay
)

const sessionPrefix = "session/"

func toSession(id uint64) string { return sessionPrefix + strconv.FormatUint(id, 10) }

// Kinds of outputs that are not messages as they stand: the shell puts
// several of them into one message. Those below are wire kinds.
const (
	outSection  uint8 = iota + 0x80 // an encoded section
	outFinding                      // an encoded finding
	outExpect                       // unit, term, expectations
	outHangUp                       // end the session; the body is the reason
	outNamed                        // ids of provisional incidents
	outIncident                     // a change of a provisional incident
	outWindows                      // results of windows
)

// core is the relay's deterministic part: custody of units, panes, detectors,
// sections. It sees time only in records.
type core struct {
	name  string // this relay's node name
	fetch journal.Fetch

	config []byte
	analysers
	marks    *stream.Watermarks // of the units, for windows and patterns
	beats    map[event.Unit]beats
	patterns regional
	lines    *numberings
	units    map[event.Unit]*unit
	sessions map[uint64]*session
	up       bool          // the root is connected
	now      int64         // root time of the last tick; it may go back
	clock    clock.Mapping // the last estimate of root time
	claims   uint64        // ids given to claims
	asked    int64         // when units were last asked for
	pending  []anomaly.Finding
	dropped  uint64 // findings beyond maxPendingFindings
	local    *provisional
	pace     pace
	flights  flights

	say func(journal.Output)
	// seen is told every stepped batch, for people who watch; it must not
	// change anything here. Nil outside a running relay.
	seen func(a *stream.Arrival)
	// found is told every finding, likewise.
	found func(f *anomaly.Finding)
	// sifted is told what deduplication has counted, before and after a step,
	// likewise.
	sifted func(before, after dedup.Counts)
	// lost is told every finding that the root will not have, likewise, and
	// whether a provisional incident is made of it.
	lost func(provisional bool)
	err  error // what made stepping impossible; Step returns it
}

// session is an agent's session that has its units open.
type session struct {
	id     uint64
	origin string
	wal    event.WALID
	term   custody.Term
	fresh  bool
	estate wire.Estate
}

func newCore(name string, fetch journal.Fetch) (*core, error) {
	c := &core{name: name, fetch: fetch, units: map[event.Unit]*unit{}, sessions: map[uint64]*session{}, pace: newPace(), lines: newNumberings(), marks: stream.NewWatermarks(), beats: map[event.Unit]beats{}}
	start := Analysis{Detectors: DefaultDetectors()}
	var err error
	if c.analysers, err = start.build(); err != nil {
		return nil, err
	}
	c.local, err = newProvisional()
	return c, err
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
	return c.StepPrepared(at, kind, body, c.Prepare(kind, body), say)
}

// Prepares says that batches can be decoded ahead.
func (c *core) Prepares(kind uint8) bool { return kind == recBatch }

// Prepare decodes a batch.
func (c *core) Prepare(kind uint8, body []byte) any {
	if kind != recBatch {
		return nil
	}
	x := unpack(body)
	if x.events != nil {
		c.lines.prepare(x.events)
	}
	return x
}

// StepPrepared applies one record, of which a batch is decoded already.
func (c *core) StepPrepared(at wal.Seq, kind uint8, body []byte, prepared any, say func(journal.Output)) error {
	c.say, c.err = say, nil
	if x, ok := prepared.(*unpacked); ok {
		if err := c.batch(at, x); err != nil {
			return err
		}
		return c.err
	}
	if err := c.step(kind, body); err != nil {
		return err
	}
	return c.err
}

func (c *core) step(kind uint8, body []byte) error {
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
	case recClock:
		return c.keepClock(body)
	case recPatterns:
		return c.patterns.exchange(body)
	case recGrant:
		return decodeNumbers(body, &c.pace.granted)
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

func (c *core) tick(body []byte) error {
	now, err := decodeTick(body)
	if err != nil {
		return err
	}
	c.now = now
	c.detected(c.engine.Tick(now), nil)
	c.sift(func() []anomaly.Finding { return c.dedup.Tick(now) })
	c.announce(c.local.tick(now))
	c.pace.tick(now)
	for _, u := range c.order() {
		if c.due(u.openedAt, claimPatience) {
			c.hurry(u)
		}
		if c.due(u.lastCut, c.pace.every()) || u.more {
			if err := c.cut(u); err != nil {
				return err
			}
		}
		c.expect(u)
	}
	c.remark()
	c.tellWindows()
	c.match()
	if err := c.admit(); err != nil {
		return err
	}
	c.inquire()
	return nil
}

// due reports whether something that is done once in a while is to be done
// again. Time that went back, as it does when a relay whose own clock was ahead
// first hears of root time, makes everything due: nothing waits until time has
// caught up.
func (c *core) due(last, every int64) bool { return c.now < last || c.now-last >= every }

// frees reports whether a tick would move something by which the log can be
// trimmed: a section that is cut while none of its unit waits for an answer, so
// that each such tick is followed by a word of the root, or a wait that ends.
// And whether the root could be asked after what another relay has.
func (c *core) frees(now int64) (moves, asks bool) {
	if !c.up {
		return false, false
	}
	due := func(last, every int64) bool { return now < last || now-last >= every }
	for _, u := range c.units {
		if len(u.intake.Held) == 0 {
			continue
		}
		moves = moves || u.patient && due(u.openedAt, claimPatience) ||
			u.inFlight == 0 && due(u.lastCut, c.pace.every()) && len(u.intake.Section(1)) > 0
		asks = asks || u.intake.Fenced && due(c.asked, askEvery)
	}
	return moves, asks
}

// rested reports whether a start would change nothing.
func (c *core) rested(name string) bool { return c.name == name && len(c.sessions) == 0 && !c.up }

// inquire asks the root about units that were handed over to another relay
// while batches of them are still here: they are kept until settled.
func (c *core) inquire() {
	if !c.up || !c.due(c.asked, askEvery) {
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
