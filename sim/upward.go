package sim

import (
	"pando/relay"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
)

// upward keeps a relay connected to a root, or to a middle relay, and carries
// what the core says.
type upward struct {
	r     *relayNode
	e     *end
	pause int64

	said    bool  // the core was told last that there is a root
	flaps   int64 // how long a root may have to wait while the log is short of room
	flapped int64
}

// connect dials one of the nodes above after the other.
func (u *upward) connect() {
	r := u.r
	var names []string
	if r.plan.parent != "" {
		names = []string{r.plan.parent}
	} else {
		for _, i := range r.w.wire.Perm(len(r.w.roots)) {
			names = append(names, r.w.roots[i].name)
		}
	}
	u.try(names)
}

func (u *upward) try(names []string) {
	if len(names) == 0 {
		u.pause = min(max(3*u.pause, 50*millisecond), 2*second)
		u.r.after(between(u.r.w.wire, 50*millisecond, max(u.pause, 50*millisecond)), u.connect)
		return
	}
	got := func(e *end, err error) {
		if redirect, ok := err.(*redirected); ok {
			u.try([]string{redirect.to})
			return
		}
		if err != nil {
			u.try(names[1:])
			return
		}
		u.serve(e)
	}
	w := u.r.w
	if u.r.plan.parent != "" {
		m := w.relay(names[0])
		w.net.dial(&u.r.machine, &m.machine, m.accept, got)
		return
	}
	m := w.root(names[0])
	w.net.dial(&u.r.machine, &m.machine, m.accept, got)
}

// serve uses a session.
func (u *upward) serve(e *end) {
	r := u.r
	u.e, u.pause = e, 0
	e.down = func(string) {
		u.e = nil
		if r.middle != nil {
			r.middle.orphaned()
		} else {
			r.out.Close()
			u.pay()
		}
		u.pause = 50 * millisecond
		r.after(between(r.w.wire, millisecond, u.pause), u.connect)
	}
	if r.middle != nil {
		e.handle = func(_ channel, m transport.Message) { r.middle.answer(m) }
		return
	}
	e.handle = func(_ channel, m transport.Message) {
		rec, due, err := r.out.Answer(m)
		if err != nil {
			e.breaks(err.Error())
			return
		}
		if due {
			if _, err := r.record(rec); err != nil {
				e.breaks("the log is full")
				return
			}
		}
		u.flush()
	}
	r.after(u.restrained(), func() {
		if !e.alive {
			return
		}
		r.out.Open()
		if u.say(true, journal.Vital) != nil {
			e.breaks("the log is full")
		}
	})
}

// say tells the core that the root came or went.
func (u *upward) say(up bool, rank journal.Rank) error {
	rec := relay.UplinkRecord(up)
	_, err := u.r.tape.appendAs(rank, rec.Kind, rec.Body)
	if err == nil {
		u.said = up
	}
	return err
}

// pay tells the core that the root is gone, if it was not told.
func (u *upward) pay() {
	if u.said && u.e == nil {
		u.say(false, journal.Upkeep)
	}
}

// restrained is how long a root that came back has to wait, as the product has
// it, since the log is short of room.
func (u *upward) restrained() (wait int64) {
	short, since := u.r.tape.short(journal.Upkeep), u.r.w.now-u.flapped
	if !short || since > flapPause {
		u.flaps = 0
	}
	if !short {
		return 0
	}
	wait = max(u.flaps-since, 0)
	u.flaps = min(max(2*u.flaps, second), flapPause)
	u.flapped = u.r.w.now + wait
	return wait
}

// flapPause is the longest that a root has to wait.
const flapPause = 60 * second

// flush sends what may go.
func (u *upward) flush() {
	if u.e == nil || !u.e.alive {
		return
	}
	for _, m := range u.r.out.Due() {
		u.e.send(control, m)
	}
	if m, ok := u.r.out.DueBulk(); ok {
		u.e.send(control, m)
	}
}

// forwarder is a middle relay: it passes requests up under ids of its own, and
// answers down.
type forwarder struct {
	r       *relayNode
	ends    []*end
	waiting map[uint64]request
	next    uint64
}

// request is one that waits for its answer from above.
type request struct {
	from *end
	id   uint64
}

func (f *forwarder) clear() { f.ends, f.waiting = nil, map[uint64]request{} }

func (f *forwarder) accept(e *end) error {
	if f.r.up.e == nil {
		return errRefused // a child without a root is better off knowing it
	}
	f.ends = append(f.ends, e)
	e.handle = func(_ channel, m transport.Message) { f.pass(e, e.peer().m.name, m) }
	e.down = func(string) {
		for i, x := range f.ends {
			if x == e {
				f.ends = append(f.ends[:i:i], f.ends[i+1:]...)
				return
			}
		}
	}
	return nil
}

// pass sends a child's request up.
func (f *forwarder) pass(e *end, relay string, m transport.Message) {
	if m.Kind >= kindPing || f.r.up.e == nil {
		return
	}
	f.next++
	own, id, err := renumber(m, f.next)
	if err != nil {
		e.breaks(err.Error())
		return
	}
	f.waiting[f.next] = request{e, id}
	f.r.up.e.send(control, wire.Encode(&wire.Forward{Relay: relay, Kind: own.Kind, Body: own.Body}))
}

// answer passes an answer down.
func (f *forwarder) answer(m transport.Message) {
	if m.Kind >= kindPing {
		return
	}
	id, err := idOf(m)
	q, ok := f.waiting[id]
	if err != nil || !ok {
		return
	}
	delete(f.waiting, id)
	own, _, err := renumber(m, q.id)
	if err == nil {
		q.from.send(control, own)
	}
}

// orphaned ends the children's sessions: what had no answer is said again.
func (f *forwarder) orphaned() {
	for _, e := range append([]*end(nil), f.ends...) {
		e.breaks("no root above")
	}
	f.clear()
}
