package sim

import (
	"io"
	"time"

	"pando/agent"
	"pando/event"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/placement"
	"pando/tree/wire"
)

// Constants of tree/uplink; the dwell is shorter, so that agents go back to a
// better relay within a run.
const (
	penalty     = 2 * second
	steady      = second
	reviewEvery = second
	dwell       = 2 * time.Second
)

// uplink keeps an agent connected to one relay and warm to a second, as
// tree/uplink does, by the same policy and backoff.
type uplink struct {
	a       *agentNode
	policy  *placement.Policy
	backoff *placement.Backoff
	term    custody.Term
	nodes   []wire.Node
	since   map[string]int64
	down    map[string]int64
	parent  *end
	stand   *end
	busy    bool // a dial for a parent is under way
	warming bool // a dial for a standby is under way
	stopped bool
	cursors [event.Lanes]cursor
}

// cursor is where in the log a lane is read on for sending.
type cursor struct {
	at    uint64 // record
	chain event.Hash
}

func newUplink(a *agentNode) *uplink {
	o := placement.DefaultPolicyOptions(a.name, a.region)
	o.HoldDown, o.Spread = dwell, dwell
	for g := range 8 { // any region rather than none
		if r := "r" + string(rune('0'+g)); r != a.region {
			o.Regions = append(o.Regions, r)
		}
	}
	u := &uplink{a: a, term: custody.Term{Epoch: a.core.Epoch()}, since: map[string]int64{}, down: map[string]int64{}}
	u.policy, _ = placement.NewPolicy(o)
	u.backoff, _ = placement.NewBackoff(placement.DefaultBackoffOptions(a.w.proc.Int64N))
	a.after(reviewEvery, u.review)
	return u
}

func (u *uplink) nextTerm() custody.Term {
	u.term.Session++
	return u.term
}

// candidates is the directory as placement wants it; the parent of the session
// is live whatever the list says.
func (u *uplink) candidates() []placement.Candidate {
	var list []placement.Candidate
	listed := false
	for _, n := range u.nodes {
		isParent := u.parent != nil && n.Name == u.parent.peer().m.name
		listed = listed || isParent
		if until, failed := u.down[n.Name]; failed && u.a.w.now < until && !isParent {
			continue
		}
		list = append(list, placement.Candidate{LiveSince: time.Unix(0, u.since[n.Name]),
			Relay: placement.Relay{Node: n.Name, Region: n.Region, Addr: n.Addr, Weight: n.Weight}})
	}
	if u.parent != nil && !listed {
		p := u.parent.peer().m
		list = append(list, placement.Candidate{LiveSince: u.a.time(), Relay: placement.Relay{Node: p.name, Region: p.region, Addr: p.name, Weight: 1}})
	}
	return list
}

func (u *uplink) directory(d *wire.Directory) {
	u.nodes = d.Nodes
	since := map[string]int64{}
	for _, n := range d.Nodes {
		since[n.Name] = u.a.w.now
		if t, known := u.since[n.Name]; known {
			since[n.Name] = t
		}
	}
	u.since = since
}

// connect takes the standby, or dials the best candidates and then the seeds.
func (u *uplink) connect() {
	if u.parent != nil || u.busy || u.stopped {
		return
	}
	if s := u.stand; s != nil && s.alive {
		u.stand = nil
		u.serve(s)
		return
	}
	var relays []placement.Relay
	for _, c := range u.candidates() {
		relays = append(relays, c.Relay)
	}
	var names []string
	for _, r := range placement.RankRegions(u.a.name, []string{u.a.region, "r0", "r1", "r2", "r3", "r4"}, relays) {
		names = append(names, r.Node)
	}
	u.busy = true
	u.try(append(names, u.a.w.seeds(u.a.region)...))
}

// try dials one name after the other.
func (u *uplink) try(names []string) {
	if u.stopped {
		return
	}
	if len(names) == 0 {
		u.busy = false
		u.a.after(int64(u.backoff.Next()), u.connect)
		return
	}
	u.dial(names[0], func(e *end, err error) {
		if err != nil {
			u.try(names[1:])
			return
		}
		u.busy = false
		u.serve(e)
	})
}

func (u *uplink) dial(name string, got func(*end, error)) {
	u.nextTerm()
	r := u.a.w.relay(name)
	u.a.w.net.dial(&u.a.machine, &r.machine, r.accept, func(e *end, err error) {
		if err != nil {
			u.down[name] = u.a.w.now + penalty
			if _, known := u.since[name]; known {
				u.since[name] = u.a.w.now
			}
		}
		if e != nil && u.stopped {
			e.breaks("stopping")
			return
		}
		got(e, err)
	})
}

// serve opens the units on a session.
func (u *uplink) serve(e *end) {
	u.parent = e
	began := u.a.w.now
	u.policy.SetParent(e.peer().m.name)
	e.down = func(string) { u.over(e, began) }
	e.handle = func(ch channel, m transport.Message) {
		if err := u.hear(m); err != nil && u.parent == e {
			u.broken(err)
		}
	}
	e.send(control, wire.Encode(u.a.hand.Open(u.a.core, u.nextTerm())))
}

// broken ends the parent's session for a reason that may ask for a new log.
func (u *uplink) broken(err error) {
	u.a.w.say(u.a.name, "session ends: %v", err)
	u.parent.breaks(err.Error())
	if agent.NeedsNewWAL(err) {
		u.a.after(0, u.a.replace)
	}
}

// over takes note that the parent's session is gone.
func (u *uplink) over(e *end, began int64) {
	if u.parent != e {
		return
	}
	u.parent = nil
	u.a.hand.Close()
	if _, known := u.since[e.peer().m.name]; known {
		u.since[e.peer().m.name] = u.a.w.now
	}
	if u.a.w.now-began >= steady {
		u.backoff.Reset()
		u.connect()
		return
	}
	u.a.after(int64(u.backoff.Next()), u.connect)
}

// review reconsiders placement and keeps a standby.
func (u *uplink) review() {
	if u.stopped {
		return
	}
	u.a.after(reviewEvery, u.review)
	if u.parent == nil {
		return
	}
	now := u.parent.peer().m.name
	d := u.policy.Step(u.a.time(), u.candidates())
	if (d.Action == placement.MoveBack || d.Action == placement.MoveNow) && d.Parent.Node != now {
		if u.keep(d.Parent.Node) {
			u.a.w.say(u.a.name, "moves from %s to %s", now, d.Parent.Node)
			u.parent.breaks("uplink moves on")
			return
		}
		u.policy.SetParent(now)
	}
	if d.Standby.Node != "" && d.Standby.Node != now {
		u.keep(d.Standby.Node)
	}
}

// keep makes sure that a session to the relay stands by, and reports whether
// one does.
func (u *uplink) keep(name string) bool {
	if s := u.stand; s != nil && s.alive {
		if s.peer().m.name == name {
			return true
		}
		s.breaks("another standby is better")
	}
	u.stand = nil
	if u.warming {
		return false
	}
	u.warming = true
	u.dial(name, func(e *end, err error) {
		u.warming = false
		if err != nil {
			return
		}
		if u.parent != nil && u.parent.peer().m == e.peer().m {
			e.breaks("of no use")
			return
		}
		u.stand = e
		e.handle = func(_ channel, m transport.Message) {
			var d wire.Directory
			if m.Kind == wire.KindDirectory && wire.Decode(m.Body, &d) == nil {
				u.directory(&d)
			}
		}
	})
	return false
}

// stop ends all sessions.
func (u *uplink) stop() {
	u.stopped = true
	for _, e := range []*end{u.parent, u.stand} {
		if e != nil {
			e.down = nil
			e.breaks("uplink stops")
		}
	}
	u.parent, u.stand = nil, nil
}

// hear takes one message of the parent.
func (u *uplink) hear(m transport.Message) error {
	a := u.a
	switch m.Kind {
	case kindCredit:
		u.pump()
	case wire.KindOpened:
		var o wire.Opened
		if err := wire.Decode(m.Body, &o); err != nil {
			return err
		}
		if err := a.hand.Opened(&o); err != nil {
			return err
		}
		for l := range event.Lane(event.Lanes) {
			u.seek(l)
		}
		u.pump()
		u.vouch()
	case wire.KindRefused:
		var r wire.Refused
		if err := wire.Decode(m.Body, &r); err != nil {
			return err
		}
		if r.Code == wire.RefusedOldTerm && u.term.Compare(r.Known) < 0 {
			u.term = r.Known
		}
		return agent.RefusalError(&r)
	case wire.KindAck:
		var ack wire.Ack
		if err := wire.Decode(m.Body, &ack); err != nil {
			return err
		}
		return a.hand.Acknowledged(&ack)
	case wire.KindClaimed:
		var c wire.Claimed
		if err := wire.Decode(m.Body, &c); err != nil {
			return err
		}
		if c.WAL == event.WALID(a.tape.id) {
			a.resumed(m.Body)
		}
	case wire.KindDirectory:
		var d wire.Directory
		if err := wire.Decode(m.Body, &d); err != nil {
			return err
		}
		u.directory(&d)
	}
	return nil
}

// seek puts a lane's cursor before what is to be sent next.
func (u *uplink) seek(l event.Lane) {
	at, chain := u.a.core.Seek(l, u.a.hand.Outbox(l).Next)
	u.cursors[l] = cursor{max(uint64(at), u.a.tape.first), chain}
}

// pump sends what the lanes' credit allows.
func (u *uplink) pump() {
	if u.stopped || u.parent == nil || !u.parent.alive {
		return
	}
	for l := range event.Lane(event.Lanes) {
		ch := critical
		if l == event.Bulk {
			ch = bulk
		}
		for u.parent != nil && u.parent.credit[ch] > 0 && u.sendNext(l, ch) == nil {
		}
	}
}

// sendNext sends a lane's next batch; io.EOF means that there is none yet.
func (u *uplink) sendNext(l event.Lane, ch channel) error {
	a, c := u.a, &u.cursors[l]
	out := a.hand.Outbox(l)
	if !out.Open {
		return transport.ErrClosed
	}
	if c.at < a.tape.first {
		u.seek(l)
	}
	for ; c.at <= a.tape.last(); c.at++ {
		r := &a.tape.recs[c.at-a.tape.first]
		body := agent.Record{Kind: r.kind, Body: r.body}.Batch()
		if body == nil {
			continue
		}
		h, err := event.DecodeHeader(body)
		if err != nil {
			a.w.fault("%s: record %d: %v", a.name, c.at, err)
			return err
		}
		if h.Unit.Lane != l {
			continue
		}
		before := c.chain
		if h.First > out.Next {
			u.broken(agent.GapError(l, out.Next, h.First))
			return transport.ErrClosed
		}
		c.chain = event.Chain(before, body)
		if h.First < out.Next {
			continue
		}
		c.at++
		u.post(l, ch, &h, before, body)
		return nil
	}
	return io.EOF
}

func (u *uplink) post(l event.Lane, ch channel, h *event.Header, before event.Hash, body []byte) {
	a := u.a
	m := &wire.Batch{Before: before, Bytes: body}
	if h.Boot == a.clock.boot {
		m.Map, m.Mapped = a.clock.mapping()
	} else {
		m.Map, m.Mapped = a.core.Clock(h.Boot)
	}
	m.DurableTo, _ = a.hand.Send(l, h.Last())
	t := wire.Encode(m)
	u.parent.credit[ch] -= len(t.Body)
	u.parent.send(ch, t)
}

// vouch tells what the disk holds, where no batch says so.
func (u *uplink) vouch() {
	if u.stopped || u.parent == nil || !u.parent.alive {
		return
	}
	for _, v := range u.a.hand.Vouches() {
		u.parent.send(control, wire.Encode(&v))
	}
}
