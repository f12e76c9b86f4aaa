package sim

import (
	"errors"
	"fmt"

	"pando/event/clock"
	"pando/root"
	"pando/transport"
	"pando/tree/wire"
)

// Paces of a root; the first two are the product's.
const (
	firstRetry   = 2 * millisecond
	lastRetry    = 100 * millisecond
	rootTick     = second
	markEvery    = 3 * second
	forwardLimit = 500 * millisecond
	linkPing     = 200 * millisecond
)

// rootNode is a root: the product's state machine and commands over a modelled
// consensus.
type rootNode struct {
	machine
	raft    member
	keeper  root.Timekeeper
	stalled int64
	full    bool   // there is no room on its disk
	sick    bool   // its next sync fails
	marked  uint64 // newest mark that was voted on
}

func newRootNode(w *world, i int) *rootNode {
	name := rootName(i)
	r := &rootNode{machine: machine{w: w, name: name, region: "core", clock: newClockwork(w, w.plan.skews[name])}}
	r.raft.first = 1
	r.clock.root = r.known
	return r
}

// start begins a process from the snapshot and the log.
func (r *rootNode) start() {
	if r.machine.up {
		return
	}
	r.machine.up = true
	r.life++
	r.clock.start()
	r.keeper = root.Timekeeper{}
	m := &r.raft
	r.raft = member{term: m.term, first: m.first, before: m.before, log: m.log, synced: m.last(), snap: m.snap, snapAt: m.snapAt, snapTerm: m.snapTerm,
		learner: m.learner, disk: m.disk}
	r.marked = 0
	r.restore()
	r.w.say(r.name, "starts, log %d to %d", m.first, m.last())
	r.after(linkPing, r.pingLeader)
}

// crash ends the process; what is not on disk is lost.
func (r *rootNode) crash(silently bool) {
	if !r.machine.up {
		return
	}
	m := &r.raft
	keep := m.synced
	if m.last() > keep {
		keep += uint64(between(r.w.disk, 0, int64(m.last()-keep)))
	}
	if keep+1 >= m.first && keep < m.last() {
		m.log = m.log[: keep+1-m.first : keep+1-m.first]
	}
	m.synced = m.last()
	m.leading, m.ready, m.waiting, m.packing, m.packed = false, false, nil, nil, nil
	r.follow()
	r.machine.up = false
	r.life++
	r.w.net.died(&r.machine, silently)
}

// lose empties the disk, and another node takes this one's place: it has no vote
// until it has all that is committed. Without a majority that kept theirs there
// would be nothing to learn from, and the disk stays.
func (r *rootNode) lose() {
	if !r.w.raft.spares(r) {
		return
	}
	r.w.say(r.name, "has an empty disk")
	r.raft = member{first: 1, learner: true, disk: r.raft.disk + 1}
	r.clock.lose()
}

// reading is what this root's clocks show.
func (r *rootNode) reading() root.Reading {
	x := root.Reading{Mono: r.clock.mono(), Wall: r.clock.wall()}
	if m, ok := r.clock.mapping(); ok {
		x.Leader, x.Bound, x.Heard = m.Point(x.Mono), m.Bound, true
	}
	return x
}

// rootTime is what this root takes for root time.
func (r *rootNode) rootTime() int64 { return r.keeper.Now(r.reading()) }

// known is root time for those below: nothing while no leader was heard of.
func (r *rootNode) known() (now, bound int64, ok bool) { return r.keeper.Known(r.reading()) }

// won goes on from the root time known so far.
func (r *rootNode) won() {
	r.keeper.Lead(r.reading(), r.raft.fsm.Now())
	r.w.oracle.rule(r)
	r.mark(r.raft.term)
	r.tick(r.raft.term)
}

func (r *rootNode) follow() { r.keeper.Follow() }

// set moves the wall clock, as an operator or NTP does.
func (r *rootNode) set(by int64) {
	if r.machine.up {
		r.rootTime()
	}
	r.clock.skew += by
	if r.raft.ready {
		r.w.oracle.clockSet(r)
	}
}

// tick lets time pass for the state, as the leader does.
func (r *rootNode) tick(term uint64) {
	if !r.raft.ready || r.raft.term != term {
		return
	}
	r.propose(root.TickCommand(r.rootTime()), func(any, error) {})
	r.after(rootTick, func() { r.tick(term) })
}

// mark has the roots compare their states.
func (r *rootNode) mark(term uint64) {
	if !r.raft.ready || r.raft.term != term {
		return
	}
	r.propose(root.MarkCommand(r.rootTime(), len(r.w.roots)), func(any, error) {})
	r.after(markEvery, func() { r.mark(term) })
}

// voteDue proposes this root's hash at a new mark.
func (r *rootNode) voteDue() {
	number, hash := r.raft.fsm.Mark()
	if number == r.marked {
		return
	}
	r.marked = number
	if known, ok := r.w.raft.marks[number]; ok && known != hash {
		r.w.fault("%s: its state at mark %d differs from another root's", r.name, number)
	}
	r.w.raft.marks[number] = hash
	r.after(millisecond, func() {
		leader := r.leads()
		if leader == nil {
			return
		}
		vote := func() {
			leader.propose(root.VoteCommand(leader.rootTime(), r.name, number, hash), func(any, error) {})
		}
		if leader == r {
			vote()
			return
		}
		r.w.net.datagram(&r.machine, &leader.machine, vote)
	})
}

// pingLeader exchanges clock readings with the leader.
func (r *rootNode) pingLeader() {
	r.after(linkPing, r.pingLeader)
	leader := r.leads()
	if leader == nil || leader == r {
		return
	}
	t1 := r.clock.mono()
	r.w.net.datagram(&r.machine, &leader.machine, func() {
		t2, bound, ok := leader.known()
		if !ok {
			return // it leads no longer
		}
		r.w.net.datagram(&leader.machine, &r.machine, func() {
			r.clock.est.Add(clock.Sample{T1: t1, T2: t2, T3: t2, T4: r.clock.mono(), Bound: bound})
		})
	})
}

// redirected sends a relay to the leader.
type redirected struct{ to string }

func (e *redirected) Error() string { return "redirected to " + e.to }

// accept takes a relay's session, or sends it to the leader.
func (r *rootNode) accept(e *end) error {
	if l := r.leads(); l != nil && l != r {
		return &redirected{l.name}
	}
	c := &rootChild{r: r, e: e, name: e.peer().m.name}
	e.handle = func(_ channel, m transport.Message) {
		if err := c.hear(c.name, m); err != nil {
			r.w.fault("%s: %s sends what a correct relay does not: %v", r.name, c.name, err)
		}
	}
	return nil
}

// rootChild is a relay's session. Answers to one kind keep their order.
type rootChild struct {
	r     *rootNode
	e     *end
	name  string
	lines [3][]*job // claims and questions, digests, findings
}

// windows are how many requests of a kind are decided at once.
var windows = [3]int{64, 1, 1}

// job is a request and what becomes of it.
type job struct {
	relay  string
	m      transport.Message
	begun  bool
	answer *transport.Message
}

func (c *rootChild) hear(relay string, m transport.Message) error {
	line := 0
	switch m.Kind {
	case kindCredit, wire.KindStatus:
		return nil
	case wire.KindForward:
		var f wire.Forward
		if err := wire.Decode(m.Body, &f); err != nil {
			return err
		}
		return c.hear(f.Relay, transport.Message{Kind: f.Kind, Body: f.Body})
	case wire.KindClaim, wire.KindAsk:
	case wire.KindDigest:
		line = 1
	case wire.KindFindings:
		line = 2
	default:
		return fmt.Errorf("kind %d", m.Kind)
	}
	c.lines[line] = append(c.lines[line], &job{relay: relay, m: m})
	c.work(line)
	return nil
}

// work begins what a line's window allows, and answers what is next.
func (c *rootChild) work(line int) {
	for len(c.lines[line]) > 0 && c.lines[line][0].answer != nil {
		c.e.send(control, *c.lines[line][0].answer)
		c.lines[line] = c.lines[line][1:]
	}
	for i, j := range c.lines[line] {
		if i >= windows[line] {
			return
		}
		if j.begun {
			continue
		}
		j.begun = true
		c.r.decide(c, j, firstRetry, func(a transport.Message) {
			j.answer = &a
			c.work(line)
		})
	}
}

// decide gets a request decided here or at the leader, and repeats it until it
// is or the session ends.
func (r *rootNode) decide(c *rootChild, j *job, wait int64, done func(transport.Message)) {
	if !c.e.alive {
		return
	}
	r.here(j.relay, j.m, func(a transport.Message, err error) {
		if errors.Is(err, errNotLeader) {
			r.forward(j, func(a transport.Message, err error) { r.decided(c, j, wait, a, err, done) })
			return
		}
		r.decided(c, j, wait, a, err, done)
	})
}

func (r *rootNode) decided(c *rootChild, j *job, wait int64, a transport.Message, err error, done func(transport.Message)) {
	if err == nil {
		done(a)
		return
	}
	r.after(wait/2+between(r.w.proc, 0, wait), func() { r.decide(c, j, min(2*wait, lastRetry), done) })
}

// here decides a request, which works only at the leader.
func (r *rootNode) here(relay string, m transport.Message, got func(transport.Message, error)) {
	if !r.raft.ready {
		got(transport.Message{}, errNotLeader)
		return
	}
	if m.Kind == wire.KindAsk {
		r.ask(m, got)
		return
	}
	cmd, err := root.Command(r.rootTime(), relay, m)
	if err != nil {
		r.w.fault("%s: %s asks what is malformed: %v", r.name, relay, err)
		return
	}
	r.propose(cmd, func(value any, err error) {
		if err != nil {
			got(transport.Message{}, err)
			return
		}
		a, err := root.Answer(m, value)
		if err != nil {
			r.w.fault("%s: request of %s: %v", r.name, relay, err)
			return
		}
		got(a, nil)
	})
}

// ask answers a question once a majority has confirmed that this root leads.
func (r *rootNode) ask(m transport.Message, got func(transport.Message, error)) {
	r.after(2*millisecond, func() {
		if !r.raft.ready || r.w.raft.reaches(r) < r.w.raft.majority() || r.raft.term != r.w.raft.term {
			got(transport.Message{}, errNotLeader)
			return
		}
		var q wire.Ask
		if err := wire.Decode(m.Body, &q); err != nil {
			r.w.fault("%s: %v", r.name, err)
			return
		}
		got(wire.Encode(&wire.DigestAnswer{ID: q.ID, Judgements: r.raft.fsm.Settled(q.Units)}), nil)
	})
}

// forward passes a request on to the leader. The answer may be lost on its way.
func (r *rootNode) forward(j *job, got func(transport.Message, error)) {
	leader, over := r.leads(), false
	if leader == nil || leader == r {
		got(transport.Message{}, errNotLeader)
		return
	}
	once := func(a transport.Message, err error) {
		if !over {
			over = true
			got(a, err)
		}
	}
	r.after(forwardLimit, func() { once(transport.Message{}, errIndeterminate) })
	r.w.net.datagram(&r.machine, &leader.machine, func() {
		leader.here(j.relay, j.m, func(a transport.Message, err error) {
			r.w.net.datagram(&leader.machine, &r.machine, func() { once(a, err) })
		})
	})
}
