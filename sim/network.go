package sim

import (
	"errors"
	"hash/crc32"

	"pando/event/clock"
	"pando/event/hlc"
	"pando/transport"
)

// channel is one of a session's ways: messages on one keep their order.
type channel uint8

const (
	control channel = iota
	critical
	bulk
	channels
)

// Kinds of messages that are the transport's own.
const (
	kindPing uint8 = 250 + iota
	kindPong
	kindCredit
)

// Times of the network. The last three are the transport's and the uplink's.
const (
	closeDelay  = 20 * millisecond // until a peer's end is told of a close
	dialTimeout = 2 * second
	pingEvery   = 250 * millisecond
	deadAfter   = 500 * millisecond
)

var (
	errTimeout = errors.New("no answer")
	errRefused = errors.New("nobody listens")
)

// window is a lane's credit in bytes: small, so that it is often used up.
const window = 64 << 10

// network connects machines. A way between two machines may be cut in one
// direction; what is on it then waits, and is lost if the session breaks first.
type network struct {
	w     *world
	cuts  map[way]int
	slow  map[string]int64 // machine → factor
	conns []*conn          // living, in the order of their making
	count uint64
}

type way struct{ from, to string }

func newNetwork(w *world) *network {
	return &network{w: w, cuts: map[way]int{}, slow: map[string]int64{}}
}

// machine is where processes run.
type machine struct {
	w       *world
	name    string
	region  string
	clock   *clockwork
	up      bool
	life    int   // of the process on it
	changed int64 // when up last changed
}

// after plans something that only the present process does.
func (m *machine) after(d int64, do func()) {
	life := m.life
	m.w.after(d, func() {
		if m.up && m.life == life {
			do()
		}
	})
}

// conn is a session between two machines.
type conn struct {
	id   uint64
	net  *network
	ends [2]*end // the dialer's, the listener's
}

// end is one machine's side of a session.
type end struct {
	c      *conn
	side   int
	m      *machine
	life   int
	alive  bool
	credit [channels]int
	free   [channels]int64 // when the last message of a channel arrives at the peer
	held   []*letter       // sent over a way that is cut
	handle func(ch channel, m transport.Message)
	down   func(reason string)
	opened int64
}

// letter is a message on its way.
type letter struct {
	ch    channel
	m     transport.Message
	stamp hlc.Timestamp
}

func (e *end) peer() *end { return e.c.ends[1-e.side] }

func (n *network) blocked(from, to string) bool { return n.cuts[way{from, to}] > 0 }

// latency is drawn anew for every message.
func (n *network) latency(from, to *machine) int64 {
	base := 100 * microsecond
	if from.region != to.region {
		base = 10 * millisecond
	}
	d := base + between(n.w.wire, 0, base) + n.hiccup()
	return d * max(n.slow[from.name], n.slow[to.name], 1)
}

// hiccup is what one message in eight waits for in some queue.
func (n *network) hiccup() int64 {
	if !chance(n.w.wire, 8) {
		return 0
	}
	return between(n.w.wire, 0, 5*millisecond)
}

// dial opens a session. Accept decides on the listener's machine; got hears of
// the result on the dialer's.
func (n *network) dial(from, to *machine, accept func(*end) error, got func(*end, error)) {
	there, back := n.latency(from, to), n.latency(to, from)
	sent, life := from.clock.mono(), from.life
	failed := func(d int64, err error) {
		if from.life == life { // nobody waits for it otherwise
			from.after(d, func() { got(nil, err) })
		}
	}
	n.w.after(2*there+back, func() {
		switch {
		case n.blocked(from.name, to.name) || n.blocked(to.name, from.name):
			failed(dialTimeout-2*there-back, errTimeout)
			return
		case !to.up:
			failed(back, errRefused)
			return
		}
		n.count++
		c := &conn{id: n.count, net: n}
		for side, m := range []*machine{from, to} {
			c.ends[side] = &end{c: c, side: side, m: m, life: m.life, alive: true, opened: n.w.now,
				credit: [channels]int{critical: window, bulk: window}}
		}
		for ch := range c.ends[1].free { // WELCOME comes before all else
			c.ends[1].free[ch] = n.w.now + back
		}
		t2, bound, known := to.clock.rootNow()
		if err := accept(c.ends[1]); err != nil {
			failed(back, err)
			return
		}
		n.conns = append(n.conns, c)
		n.w.after(back, func() {
			if !from.up || from.life != life {
				c.ends[0].alive = false
				c.ends[1].breaks("the dialer is gone")
				return
			}
			if !c.ends[0].alive { // the listener died before its WELCOME arrived
				got(nil, errRefused)
				return
			}
			if known {
				from.clock.est.Add(clock.Sample{T1: sent, T2: t2, T3: t2, T4: from.clock.mono(), Bound: bound})
			}
			n.w.say(from.name, "session %d to %s", c.id, to.name)
			got(c.ends[0], nil)
			c.ends[0].ping()
		})
	})
}

// ping exchanges clock readings with the parent, again and again.
func (e *end) ping() {
	if !e.alive {
		return
	}
	t1 := e.m.clock.mono()
	e.c.net.post(e, control, transport.Message{Kind: kindPing}, func(p *end) {
		t2, bound, ok := p.m.clock.rootNow()
		e.c.net.post(p, control, transport.Message{Kind: kindPong}, func(e *end) {
			if ok {
				e.m.clock.est.Add(clock.Sample{T1: t1, T2: t2, T3: t2, T4: e.m.clock.mono(), Bound: bound})
			}
		})
	})
	e.m.after(pingEvery, e.ping)
}

// send sends a message to the peer.
func (e *end) send(ch channel, m transport.Message) { e.c.net.post(e, ch, m, nil) }

// grant gives credit of a lane back to the peer.
func (e *end) grant(ch channel, size int) {
	e.c.net.post(e, control, transport.Message{Kind: kindCredit}, func(p *end) {
		p.credit[ch] += size
		p.handle(control, transport.Message{Kind: kindCredit})
	})
}

// post sends a message; own takes it instead of the end's handler.
func (n *network) post(e *end, ch channel, m transport.Message, own func(*end)) {
	if !e.alive {
		return
	}
	stamp, err := e.m.clock.stamp()
	if err != nil {
		n.w.fault("%s: %v", e.m.name, err)
		return
	}
	n.route(e, &letter{ch, m, stamp}, own)
}

func (n *network) route(e *end, l *letter, own func(*end)) {
	at := max(n.w.now+n.latency(e.m, e.peer().m), e.free[l.ch]+1)
	e.free[l.ch] = at
	n.w.after(at-n.w.now, func() { n.arrive(e, l, own) })
}

func (n *network) arrive(e *end, l *letter, own func(*end)) {
	p := e.peer()
	if !p.alive {
		return
	}
	e.held = append(e.held, l)
	if n.blocked(e.m.name, p.m.name) || waitsBehind(e.held, l) {
		n.w.after(20*millisecond, func() { n.retry(e, l, own) })
		return
	}
	e.held = e.held[:len(e.held)-1]
	n.take(p, l, own)
}

// retry looks whether the way is open again, as TCP does.
func (n *network) retry(e *end, l *letter, own func(*end)) {
	if !e.peer().alive {
		return
	}
	if n.blocked(e.m.name, e.peer().m.name) || waitsBehind(e.held, l) {
		n.w.after(20*millisecond, func() { n.retry(e, l, own) })
		return
	}
	for i, h := range e.held {
		if h == l {
			e.held = append(e.held[:i:i], e.held[i+1:]...)
			break
		}
	}
	n.take(e.peer(), l, own)
}

// waitsBehind reports whether a held letter of the same channel comes first.
func waitsBehind(held []*letter, l *letter) bool {
	for _, h := range held {
		if h == l {
			return false
		}
		if h.ch == l.ch {
			return true
		}
	}
	return false
}

func (n *network) take(p *end, l *letter, own func(*end)) {
	if err := p.m.clock.receive(l.stamp); err != nil {
		p.breaks(err.Error())
		return
	}
	if l.m.Kind < kindPing {
		n.w.say(p.m.name, "from %s channel %d kind %d %08x", p.peer().m.name, l.ch, l.m.Kind, crc32.ChecksumIEEE(l.m.Body))
	}
	if own != nil {
		own(p)
		return
	}
	p.handle(l.ch, l.m)
}

// breaks ends this side now, and the peer's when it hears of it.
func (e *end) breaks(reason string) {
	if !e.alive {
		return
	}
	e.finish(reason)
	p, n := e.peer(), e.c.net
	if !p.alive {
		return
	}
	d := n.latency(e.m, p.m) + closeDelay
	if n.blocked(e.m.name, p.m.name) {
		d = deadAfter + between(n.w.wire, 0, deadAfter)
	}
	n.w.after(d, func() { p.finish("peer: " + reason) })
}

// finish tells this side that the session is over.
func (e *end) finish(reason string) {
	if !e.alive {
		return
	}
	e.alive = false
	e.c.net.w.say(e.m.name, "session %d with %s ends: %s", e.c.id, e.peer().m.name, reason)
	if e.down != nil && e.m.up && e.m.life == e.life {
		e.down(reason)
	}
	e.c.net.sweep()
}

// sweep forgets sessions that are over on both sides.
func (n *network) sweep() {
	kept := n.conns[:0]
	for _, c := range n.conns {
		if c.ends[0].alive || c.ends[1].alive {
			kept = append(kept, c)
		}
	}
	clear(n.conns[len(kept):])
	n.conns = kept
}

// died takes note that a process is gone: its peers hear of it at once, or by
// its silence.
func (n *network) died(m *machine, silently bool) {
	for _, c := range append([]*conn(nil), n.conns...) {
		for _, e := range c.ends {
			if e.m != m || !e.alive {
				continue
			}
			e.alive = false
			p, d := e.peer(), n.latency(m, e.peer().m)
			if silently {
				d = deadAfter + between(n.w.wire, 0, deadAfter/4)
			}
			n.w.after(d, func() { p.finish("peer died") })
		}
	}
	n.sweep()
}

// cut closes a way. Whoever hears nothing over it for long ends the session.
func (n *network) cut(from, to string) {
	n.cuts[way{from, to}]++
	since := n.w.now
	n.w.after(deadAfter+between(n.w.wire, 0, deadAfter/4), func() {
		if !n.blocked(from, to) {
			return
		}
		for _, c := range append([]*conn(nil), n.conns...) {
			for _, e := range c.ends {
				if e.m.name == to && e.peer().m.name == from && e.opened <= since {
					e.breaks("nothing heard")
				}
			}
		}
	})
}

func (n *network) mend(from, to string) {
	if n.cuts[way{from, to}]--; n.cuts[way{from, to}] <= 0 {
		delete(n.cuts, way{from, to})
	}
}

// queued is how many messages wait for a way.
func (n *network) queued() (count int) {
	for _, c := range n.conns {
		count += len(c.ends[0].held) + len(c.ends[1].held)
	}
	return count
}

// datagram does something on another machine after the way there, unless the
// way is cut or the machine down.
func (n *network) datagram(from, to *machine, do func()) {
	life := to.life
	n.w.after(n.latency(from, to), func() {
		if to.up && to.life == life && !n.blocked(from.name, to.name) {
			do()
		}
	})
}
