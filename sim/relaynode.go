package sim

import (
	"errors"

	"pando/event"
	"pando/event/clock"
	"pando/relay"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
)

const (
	// tickEvery is the pace of a relay's ticks: coarser than the product's,
	// since each is a record.
	tickEvery = 100 * millisecond
	// farewell is how long a child has to act on a refusal.
	farewell = second
	// directoryEvery is how often a relay tells its children of the others.
	directoryEvery = 2 * second
	// askPause is the product's pause between questions while the log is full.
	askPause = 60 * second
	// timeGrace is how long a relay with a new log waits for root time.
	timeGrace = 2 * second
)

// relayNode is a relay: the product's core and packing with a simulated disk,
// clock and network under it. One with forwards is a middle relay, which keeps
// nothing and passes on.
type relayNode struct {
	machine
	plan     place
	middle   *forwarder // nil: it serves agents
	tape     *tape
	core     relay.Core
	out      relay.Outgoing
	children map[uint64]*child
	order    []uint64 // of children
	next     uint64
	up       *upward
	acked    map[event.Hash]bool   // batches, by the chain value behind them, acknowledged as durable
	contents map[event.Hash]uint64 // where the batch before that chain value is in the log first
	batches  map[unitSeq]uint64    // the same of a batch that ends there
	grants   []grant
	config   []byte
	reckoned relay.Reckoning
	owed     []uint64 // sessions that ended and were not said to
	asked    int64    // when a tick last asked the root although the log was full
	kept     int64    // when the estimate of root time was logged last
	keptBoot clock.Boot
	rebooted bool // since that estimate

	losses int // of its disk
	saved  *savedRelay
}

type unitSeq struct {
	unit event.Unit
	last uint64
}

// child is a session of an agent.
type child struct {
	id      uint64
	e       *end
	opened  bool
	wal     event.WALID
	unacked [event.Lanes][]sent
}

// sent is a batch that a child sent: its last event and the chain value behind.
type sent struct {
	last  uint64
	after event.Hash
}

// grant is credit that a sync gives back.
type grant struct {
	at   uint64
	c    *child
	ch   channel
	size int
}

func newRelayNode(w *world, p place) *relayNode {
	r := &relayNode{plan: p, machine: machine{w: w, name: p.name, region: p.region, clock: newClockwork(w, w.plan.skews[p.name])},
		batches: map[unitSeq]uint64{}, contents: map[event.Hash]uint64{}, acked: map[event.Hash]bool{}, config: detectors(w.plan.large)}
	r.tape = newTape(w, p.name, relay.Rank)
	r.tape.deliver = r.deliver
	r.tape.onSync = r.synced
	r.tape.fail = func(error) { r.crash(false); w.after(50*millisecond, r.start) }
	return r
}

func (r *relayNode) newCore() (journal.Core, error) {
	c, err := relay.NewCore(r.name, r.tape.fetch)
	return c, err
}

// start begins a process.
func (r *relayNode) start() {
	if r.machine.up {
		return
	}
	r.machine.up, r.changed = true, r.w.now
	r.life++
	r.clock.start()
	r.children, r.order, r.next, r.grants = map[uint64]*child{}, nil, 0, nil
	r.owed, r.asked = nil, 0
	r.out = relay.Outgoing{}
	r.up, r.kept = &upward{r: r}, 0
	if r.middle == nil {
		core, err := relay.NewCore(r.name, r.tape.fetch)
		if err == nil {
			r.core = core
			err = r.tape.open(core)
		}
		if err != nil {
			r.w.fault("%s: %v", r.name, err)
			return
		}
		r.w.say(r.name, "starts, log ends at %d", r.tape.last())
		r.record(relay.StartRecord(r.name))
		if r.core.Config() == nil {
			rec, err := relay.ConfigRecord(r.config)
			if err != nil {
				r.w.fault("%s: %v", r.name, err)
				return
			}
			r.record(rec)
		}
		r.rebooted = r.keptBoot != r.clock.boot
		r.reckoned = relay.Reckon(r.core, r.clock.boot, r.clock.mono())
		r.after(tickEvery, r.tick)
		r.after(directoryEvery, r.tellDirectory)
	}
	r.up.connect()
}

func (r *relayNode) record(rec relay.Record) (uint64, error) {
	return r.tape.append(rec.Kind, rec.Body)
}

func (r *relayNode) tick() {
	r.pay()
	r.up.pay()
	if now, ok := r.now(); ok {
		r.pulse(now)
	}
	if m, ok := r.clock.mapping(); ok && r.w.now-r.kept >= clockEvery {
		r.kept, r.keptBoot = r.w.now, r.clock.boot
		r.record(relay.ClockRecord(m))
	}
	r.after(tickEvery, r.tick)
}

// now is root time, known or reckoned. A relay with a new log waits for it for a
// while, and then goes by its own clock, which may be wrong.
func (r *relayNode) now() (int64, bool) {
	if now, _, ok := r.clock.rootNow(); ok {
		return now, true
	}
	if now, ok := r.reckoned.Now(r.clock.mono()); ok {
		return now, true
	}
	return r.clock.wall(), r.w.now-r.changed >= timeGrace
}

// pulse tells the core the time; see the product's.
func (r *relayNode) pulse(now int64) {
	rec := relay.TickRecord(now)
	if _, err := r.record(rec); err == nil {
		return
	}
	moves, asks := r.core.Frees(now)
	asks = asks && r.w.now-r.asked >= askPause
	if asks {
		r.asked = r.w.now
	}
	if moves || asks {
		r.tape.appendAs(journal.Vital, rec.Kind, rec.Body)
	}
}

// pay tells the core of sessions that ended while there was no room to say so.
func (r *relayNode) pay() bool {
	for len(r.owed) > 0 {
		if _, err := r.record(relay.CloseRecord(r.owed[0])); err != nil {
			return false
		}
		r.owed = r.owed[1:]
	}
	return true
}

// guesses reports whether this relay knows neither root time nor where it was
// on the clock that still runs: it goes by its own clock, or by a log that does
// not say for how long the machine was down.
func (r *relayNode) guesses() bool {
	if _, _, known := r.clock.rootNow(); known {
		return false
	}
	_, reckoned := r.reckoned.Now(r.clock.mono())
	return !reckoned || r.rebooted
}

// accept takes a new session.
func (r *relayNode) accept(e *end) error {
	if r.middle != nil {
		return r.middle.accept(e)
	}
	if _, ok := r.now(); !ok {
		return errTimeout
	}
	if !r.pay() {
		return errRefused
	}
	r.next++
	c := &child{id: r.next, e: e}
	r.children[c.id] = c
	r.order = append(r.order, c.id)
	e.handle = func(ch channel, m transport.Message) {
		if err := r.hear(c, ch, m); err != nil {
			e.breaks(err.Error())
		}
	}
	e.down = func(string) { r.over(c) }
	e.send(control, wire.Encode(r.w.directory(r)))
	return nil
}

func (r *relayNode) over(c *child) {
	delete(r.children, c.id)
	for i, id := range r.order {
		if id == c.id {
			r.order = append(r.order[:i:i], r.order[i+1:]...)
			break
		}
	}
	if c.opened {
		r.owed = append(r.owed, c.id)
		r.pay()
	}
}

var errProtocol = errors.New("protocol")

// hear takes one message of a child.
func (r *relayNode) hear(c *child, ch channel, m transport.Message) error {
	switch {
	case m.Kind == wire.KindOpen:
		if c.opened {
			return errProtocol
		}
		stamp, err := r.clock.stamp()
		if err != nil {
			return err
		}
		rec, err := relay.OpenRecord(c.id, c.e.peer().m.name, uint64(stamp), m.Body)
		if err != nil {
			return err
		}
		var o wire.Open
		if err := wire.Decode(m.Body, &o); err != nil {
			return err
		}
		if _, err = r.record(rec); err != nil {
			return err
		}
		c.opened, c.wal = true, o.WAL
		return nil
	case m.Kind == wire.KindVouch:
		var v wire.Vouch
		if err := wire.Decode(m.Body, &v); err != nil {
			return err
		}
		_, err := r.record(relay.VouchRecord(c.id, v.Lane, v.Seq))
		return err
	case m.Kind == wire.KindBatch && c.opened && ch != control:
		return r.batch(c, ch, m.Body)
	}
	return nil
}

func (r *relayNode) batch(c *child, ch channel, body []byte) error {
	lane := event.Critical
	if ch == bulk {
		lane = event.Bulk
	}
	now, _ := r.now()
	rec, err := relay.BatchRecord(c.id, lane, now, body)
	if err != nil {
		return err
	}
	var b wire.Batch
	if err := wire.Decode(body, &b); err != nil {
		return err
	}
	if r.guesses() {
		r.w.oracle.timeless[c.e.peer().m.name] = true
	}
	r.w.checkTimes(r.name, &b)
	h, err := event.DecodeHeader(b.Bytes)
	if err != nil {
		return err
	}
	at, err := r.record(rec)
	if err != nil {
		return err
	}
	keepFirst(r.batches, unitSeq{h.Unit, h.Last()}, at)
	keepFirst(r.contents, event.Chain(b.Before, b.Bytes), at)
	c.unacked[lane] = append(c.unacked[lane], sent{h.Last(), event.Chain(b.Before, b.Bytes)})
	r.grants = append(r.grants, grant{at, c, ch, len(body)})
	return nil
}

// keepFirst takes note of a place in the log, unless an earlier one is known: a
// crash may take the later one.
func keepFirst[K comparable](places map[K]uint64, k K, at uint64) {
	if _, known := places[k]; !known {
		places[k] = at
	}
}

// synced gives credit back for what the disk holds.
func (r *relayNode) synced(upTo uint64) {
	for len(r.grants) > 0 && r.grants[0].at <= upTo {
		g := r.grants[0]
		r.grants = r.grants[1:]
		if g.c.e.alive {
			g.c.e.grant(g.ch, g.size)
		}
	}
}

// deliver takes what the core says, once it is on disk.
func (r *relayNode) deliver(outs []journal.Output) {
	life := r.life
	for _, o := range outs {
		if r.life != life {
			return
		}
		to, session := relay.Address(o)
		switch to {
		case relay.ToRoot:
			r.w.heardFinding(r, o)
			r.out.Put(o)
			continue
		case relay.ToOperators:
			continue
		}
		c := r.children[session]
		if c == nil {
			continue
		}
		if to == relay.ToSessionEnd {
			reason := string(o.Body)
			r.after(farewell, func() { c.e.breaks(reason) })
			continue
		}
		if o.Kind == wire.KindAck {
			r.checkAck(c, o.Body)
		}
		c.e.send(control, transport.Message{Kind: o.Kind, Body: o.Body})
	}
	r.up.flush()
}

// tellDirectory tells the children which relays there are, as far as gossip
// knows.
func (r *relayNode) tellDirectory() {
	m := wire.Encode(r.w.directory(r))
	for _, id := range r.order {
		r.children[id].e.send(control, m)
	}
	r.after(directoryEvery, r.tellDirectory)
}
