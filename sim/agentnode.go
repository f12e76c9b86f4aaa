package sim

import (
	"errors"
	"time"

	"pando/agent"
	"pando/agent/input"
	"pando/event"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// Options of the simulated agents: smaller than the product's, so that bounds
// are met within seconds.
const (
	beatEvery    = 400 * millisecond
	clockEvery   = 5 * second
	pendingBytes = 4 << 10
	replacePause = 50 * millisecond
)

// agentNode is an agent: the product's core, batching and handover, with a
// simulated disk, clock and network under it.
type agentNode struct {
	machine
	plan    *agentPlan
	tape    *tape
	core    *agent.Core
	gather  *agent.Gather
	gathers bool // a flush is due that waits for more bulk
	hand    *agent.Handover
	sources []*source
	up      *uplink
	estate  wire.Estate
	pause   int64

	queued [event.Lanes][]int            // lines in the gather, not in a batch
	lost   [event.Lanes]map[string][]int // lines that were dropped, by source; no batch says so yet
	log    []logged                      // every batch of the log as it is, trimmed ones too
	enc    event.Encoder
	saved  *saved // an image of the disk, for a rollback
}

// logged is where a batch is in the log.
type logged struct {
	at    uint64
	after event.Hash
	b     *batch
}

// saved is a copy of an agent's disk.
type saved struct {
	image image
	log   []logged
	bound uint64
}

func newAgentNode(w *world, p *agentPlan) *agentNode {
	a := &agentNode{plan: p, machine: machine{w: w, name: p.name, region: p.region, clock: newClockwork(w, w.plan.skews[p.name])}}
	a.tape = newTape(w, p.name, agent.Rank)
	a.tape.deliver = func([]journal.Output) {}
	a.tape.onSync = a.synced
	a.tape.onTrim = a.trimmed
	a.tape.fail = func(error) { a.crash(false); a.w.after(50*millisecond, a.start) }
	return a
}

// start begins a process: the log is opened, the sources read on.
func (a *agentNode) start() {
	if a.machine.up {
		return
	}
	a.machine.up = true
	a.life++
	a.clock.start()
	a.pause = replacePause
	a.begin()
}

// begin is one life of one log.
func (a *agentNode) begin() {
	a.core = agent.NewCore(a.name, a.tape.id)
	if err := a.tape.open(a.core); err != nil {
		a.w.fault("%s: %v", a.name, err)
		return
	}
	a.w.say(a.name, "starts, WAL %x", a.tape.id)
	if a.estate.WAL != 0 {
		a.record(agent.EstateRecord(a.estate))
		a.estate = wire.Estate{}
	}
	a.record(agent.StartRecord())
	var last [event.Lanes]uint64
	for l := range event.Lane(event.Lanes) {
		last[l] = a.core.Last(l)
		a.queued[l], a.lost[l] = nil, map[string][]int{}
	}
	a.gather, a.gathers = agent.NewGather(a.name, pendingBytes, a.plan.policy, last), false
	a.hand = agent.NewHandover(a.core)
	a.hand.Synced(wal.Seq(a.tape.synced))
	a.sources = nil
	a.up = newUplink(a)
	for i := range a.plan.sources {
		if p := &a.plan.sources[i]; !p.file || a.core.Resumed() {
			a.open(p)
		}
	}
	a.after(between(a.w.proc, 0, beatEvery), a.beat)
	a.after(clockEvery, a.keepClock)
	a.up.connect()
}

func (a *agentNode) open(p *sourcePlan) {
	s := &source{a: a, plan: p}
	a.sources = append(a.sources, s)
	s.start(a.core.Positions())
}

// record appends a record of the agent's own.
func (a *agentNode) record(r agent.Record) (uint64, error) { return a.tape.append(r.Kind, r.Body) }

// put takes what a source hands over.
func (a *agentNode) put(items []input.Item) {
	for _, it := range items {
		a.w.oracle.accepted(it.Event.Value)
		l := it.Event.Lane()
		a.queued[l] = append(a.queued[l], a.w.oracle.byValue[it.Event.Value])
	}
	a.gather.Put(items)
	if len(items) > 0 {
		a.flush()
	}
}

func (a *agentNode) time() time.Time { return time.Unix(0, a.w.now) }

// flush appends all that may go now.
func (a *agentNode) flush() {
	for {
		t, ok := a.gather.Take(a.time())
		if !ok {
			break
		}
		if !a.append(t) {
			continue
		}
		if names := a.gather.Retired(t.Lane); len(names) > 0 {
			a.record(agent.RetireRecord(t.Lane, names))
		}
	}
	if d := a.gather.Due(a.time()); d > 0 && !a.gathers {
		a.gathers = true
		a.after(int64(d), func() {
			a.gathers = false
			a.flush()
		})
	}
	a.up.pump()
}

// append appends one batch, or does what a full disk wants.
func (a *agentNode) append(t agent.Taken) bool {
	b, err := a.gather.Batch(t, event.WALID(a.tape.id), a.clock.boot, a.clock.stamps)
	if err != nil {
		a.w.fault("%s: %v", a.name, err)
		return false
	}
	body, err := a.enc.Encode(nil, b)
	if err != nil {
		a.w.fault("%s: %v", a.name, err)
		return false
	}
	at, err := a.record(agent.BatchRecord(t.Lane, body))
	if errors.Is(err, wal.ErrFull) {
		a.full(t)
		return false
	}
	if err != nil {
		return false
	}
	a.gather.Appended(b, wal.Seq(at))
	before := a.chain(t.Lane)
	after := event.Chain(before, body)
	x := a.w.oracle.appended(b, before, after, a.lost[t.Lane])
	a.log = append(a.log, logged{at, after, x})
	a.unqueue(t.Lane, x)
	a.hand.Appended(t.Lane, b.Last(), wal.Seq(at))
	a.hand.Synced(wal.Seq(a.tape.synced))
	return true
}

// unqueue checks that the batch holds what is first in the queue.
func (a *agentNode) unqueue(l event.Lane, x *batch) {
	for i := range x.events {
		if x.events[i].Kind != event.Log {
			continue
		}
		if len(a.queued[l]) == 0 || a.queued[l][0] != x.lines[i][0] {
			a.w.fault("%s: line %d is appended out of order", x.unit, x.lines[i][0])
			return
		}
		a.queued[l] = a.queued[l][1:]
	}
}

func (a *agentNode) full(t agent.Taken) {
	dropped, retry := a.gather.Full(t, a.time())
	a.w.say(a.name, "full, %s drops %d", t.Lane, dropped)
	if a.plan.policy[t.Lane] == agent.DropNewest {
		if int(dropped) != len(a.queued[t.Lane]) {
			a.w.fault("%s: %d lines were dropped, %d were queued", a.name, dropped, len(a.queued[t.Lane]))
		}
		for _, l := range a.queued[t.Lane] {
			source := a.w.plan.lines[l].source
			a.lost[t.Lane][source] = append(a.lost[t.Lane][source], l)
		}
		a.queued[t.Lane] = nil
	}
	a.after(retry.UnixNano()-a.w.now, a.flush)
}

// synced takes note of what the disk holds.
func (a *agentNode) synced(upTo uint64) {
	for i := len(a.log) - 1; i >= 0 && !a.log[i].b.synced; i-- {
		if a.log[i].at <= upTo {
			a.log[i].b.synced = true
		}
	}
	if a.gather == nil {
		return
	}
	a.gather.Synced(wal.Seq(upTo))
	a.hand.Synced(wal.Seq(upTo))
	a.flush()
	a.up.vouch()
}

// beat is the agent's word on its sources, and what goes with it.
func (a *agentNode) beat() {
	if !a.w.inputOver {
		list := make([]input.Status, 0, len(a.sources))
		for _, s := range a.sources {
			list = append(list, s.status())
		}
		a.gather.Beat(list)
		a.flush()
	}
	a.recordSettled()
	a.after(beatEvery, a.beat)
}

func (a *agentNode) recordSettled() {
	for l := range event.Lane(event.Lanes) {
		seq, due := a.hand.Settled(l)
		if !due {
			continue
		}
		if _, err := a.record(agent.SettledRecord(l, seq)); err == nil {
			a.hand.Recorded(l, seq)
		}
	}
}

func (a *agentNode) keepClock() {
	if m, ok := a.clock.mapping(); ok {
		a.record(agent.ClockRecord(m))
	}
	a.after(clockEvery, a.keepClock)
}

// resumed lets files be read once the root has told from where.
func (a *agentNode) resumed(claimed []byte) {
	fresh := !a.core.Resumed()
	if _, err := a.record(agent.ResumeRecord(claimed)); err != nil || !fresh {
		return
	}
	for i := range a.plan.sources {
		if p := &a.plan.sources[i]; p.file {
			a.open(p)
		}
	}
}

// replace puts the log aside and opens one under a new WAL id.
func (a *agentNode) replace() {
	a.w.say(a.name, "replaces WAL %x", a.tape.id)
	a.life++ // what was planned for the old log does not happen
	a.sources = nil
	a.up.stop()
	a.gather.Hurry()
	a.up = &uplink{a: a, stopped: true}
	a.flush()
	var err error
	if a.estate, err = agent.EstateOf(a.core, a.tape.reader()); err != nil {
		a.w.fault("%s: estate: %v", a.name, err)
		return
	}
	a.forsake()
	a.tape.wipe()
	a.tape.life++
	a.tape.core = nil
	a.after(a.pause, a.begin)
	a.pause *= 2
}

// forsake takes note that the log is left, with all that only it holds.
func (a *agentNode) forsake() {
	for l := range a.queued {
		a.w.oracle.destroyed(a.queued[l], files)
		for _, lines := range a.lost[l] {
			a.w.oracle.destroyed(lines, files)
		}
		a.queued[l], a.lost[l] = nil, map[string][]int{}
	}
	a.cut(0)
}

// cut takes note that the log ends at last now.
func (a *agentNode) cut(last uint64) {
	n := len(a.log)
	for n > 0 && a.log[n-1].at > last {
		n--
		a.w.oracle.gone(a.log[n].after, a.log[n].b)
	}
	a.log = a.log[:n:n]
}

// chain is the chain value at the end of a lane.
func (a *agentNode) chain(l event.Lane) event.Hash {
	for i := len(a.log) - 1; i >= 0; i-- {
		if a.log[i].b.unit.Lane == l {
			return a.log[i].after
		}
	}
	return event.Hash{}
}

// crash ends the process; what is queued is gone, and what no sync covered may
// be.
func (a *agentNode) crash(silently bool) {
	if !a.machine.up {
		return
	}
	a.machine.up = false
	a.life++
	a.w.net.died(&a.machine, silently)
	for l := range a.queued {
		a.w.oracle.destroyed(a.queued[l], files)
		for _, lines := range a.lost[l] {
			a.w.oracle.destroyed(lines, files)
		}
	}
	a.tape.crash()
	a.cut(a.tape.last())
	for i := range a.log {
		a.log[i].b.synced = true // what is found at the next start is on disk
	}
	a.gather, a.hand, a.estate = nil, nil, wire.Estate{}
}

// trimmed checks that only what is settled leaves the log.
func (a *agentNode) trimmed(cut []record) {
	for i := range cut {
		b := agent.Record{Kind: cut[i].kind, Body: cut[i].body}.Batch()
		if b == nil {
			continue
		}
		h, err := event.DecodeHeader(b)
		if err != nil || h.Last() > a.w.oracle.settled[h.Unit] {
			a.w.fault("%s: trims batch %d to %d, settled is %d", h.Unit, h.First, h.Last(), a.w.oracle.settled[h.Unit])
			return
		}
	}
}

// save copies the disk, restore puts the copy back: it was rolled back.
func (a *agentNode) save() {
	a.saved = &saved{a.tape.image.clone(), append([]logged(nil), a.log...), a.clock.bound}
}

func (a *agentNode) restore() {
	kept := map[*batch]bool{}
	for _, x := range a.saved.log {
		kept[x.b] = true
	}
	for _, x := range a.log {
		if !kept[x.b] {
			a.w.oracle.gone(x.after, x.b)
		}
	}
	a.tape.image, a.log = a.saved.image.clone(), append([]logged(nil), a.saved.log...)
	a.cut(a.tape.last())
	for i := range a.log {
		a.log[i].b.synced = true
	}
	a.clock.lose()
	a.clock.bound = a.saved.bound
}

// lose empties the disk.
func (a *agentNode) lose() {
	a.cut(0)
	a.tape.wipe()
	a.clock.lose()
}
