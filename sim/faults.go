package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// kind is what may go wrong.
type kind uint8

const (
	crash     kind = iota // a process ends and starts again
	reboot                // its machine too: the monotonic clock begins anew
	loseDisk              // a disk is replaced by an empty one
	rollBack              // a disk comes back as it was some time before
	stallDisk             // no sync ends for a while
	failSync              // a sync fails: the process exits and recovers
	fillDisk              // there is no room for data
	cutWay                // one direction between two machines
	partition             // a region, or a root, from all others
	slowLinks             // everything to and from a machine takes longer
	newLeader             // the roots change their leader
	setClock              // somebody sets a wall clock
	lie                   // gossip is wrong now and then
	kinds
)

var kindNames = [kinds]string{"crash", "reboot", "lose disk", "roll back", "stall disk", "fail sync", "fill disk", "cut", "partition",
	"slow", "new leader", "set clock", "lie"}

// fault is one thing that goes wrong.
type fault struct {
	kind   kind
	at     int64 // since the beginning
	span   int64 // until it is over
	victim string
	other  string // of a cut
	amount int64  // of a clock's jump, or how much slower
	silent bool   // peers notice a death only by silence; of a full disk: the limit is the log's own, and stays
}

func (f fault) String() string {
	return fmt.Sprintf("%s of %s %s for %.3f s", kindNames[f.kind], f.victim, f.other, float64(f.span)/float64(second))
}

// cast are the names of a plan's machines.
type cast struct{ roots, relays, middles, agents []string }

func (p *plan) cast() (c cast) {
	for i := range p.roots {
		c.roots = append(c.roots, rootName(i))
	}
	for _, x := range p.relays {
		if isMiddle(x.name) {
			c.middles = append(c.middles, x.name)
		} else {
			c.relays = append(c.relays, x.name)
		}
	}
	for _, x := range p.agents {
		c.agents = append(c.agents, x.name)
	}
	return c
}

func (c cast) all() []string { return slices.Concat(c.roots, c.relays, c.middles, c.agents) }

// drawFaults decides what goes wrong, when, and to whom. Some seeds have only
// kinds of one sort, so that each is also met alone.
func (p *plan) drawFaults(r *rand.Rand) {
	c := p.cast()
	n := r.IntN(9)
	if p.large {
		n = 30
	}
	only := kinds
	if chance(r, 4) {
		only = kind(r.IntN(int(kinds)))
	}
	for range n {
		k := kind(r.IntN(int(kinds)))
		if only != kinds {
			k = only
		}
		f := fault{kind: k, at: between(r, second, p.quiet-second), silent: chance(r, 2)}
		f.span = between(r, 20*millisecond, 3*second)
		if chance(r, 4) {
			f.span = between(r, second, p.quiet/2)
		}
		f.span = min(f.span, p.quiet-f.at)
		f.choose(r, c)
		p.faults = append(p.faults, f)
	}
	slices.SortStableFunc(p.faults, func(a, b fault) int { return int(a.at/1000 - b.at/1000) })
}

func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

// choose picks the victim.
func (f *fault) choose(r *rand.Rand, c cast) {
	edge := c.agents
	if chance(r, 2) {
		edge = c.relays
	}
	f.victim = pick(r, edge)
	if chance(r, 3) {
		f.victim = pick(r, slices.Concat(c.roots, c.middles))
	}
	switch f.kind {
	case rollBack: // a root's would break what it promised to others
		f.victim = pick(r, edge)
	case loseDisk, fillDisk, failSync:
		f.victim = pick(r, slices.Concat(edge, c.roots))
	case reboot:
		f.victim = pick(r, slices.Concat(edge, c.middles, c.roots))
	case setClock:
		// Roots make root time of theirs, and a relay goes by its own while it
		// knows none. Nobody else's is read.
		f.victim = pick(r, slices.Concat(c.relays, c.roots, c.roots, c.roots))
		f.amount = between(r, -300*second, 300*second)
	case stallDisk:
		f.victim = pick(r, slices.Concat(edge, c.roots))
	case cutWay:
		for f.other = f.victim; f.other == f.victim; {
			f.other = pick(r, c.all())
		}
	case partition:
		f.victim = pick(r, slices.Concat(c.roots, c.relays, c.middles, []string{"r0/"}))
	case slowLinks:
		f.amount = between(r, 2, 40)
	case newLeader, lie:
		f.victim = "all"
	}
}

// inject plans the faults of a run, and the end of them all.
func (w *world) inject() {
	for _, f := range w.plan.faults {
		w.after(f.at, func() {
			w.say("FAULT", "%s", f)
			w.begin(f)
		})
	}
	w.after(w.plan.quiet, w.heal)
}

// heal ends what is left of the faults: everybody runs.
func (w *world) heal() {
	w.say("FAULT", "no more")
	w.net.cuts, w.net.slow, w.lies = map[way]int{}, map[string]int64{}, false
	for _, r := range w.roots {
		r.full = false
		r.start()
	}
	for _, r := range w.relays {
		r.tape.empty()
		r.start()
	}
	for _, a := range w.agents {
		a.tape.empty()
		a.start()
	}
}

// node is a process with its machine and disk.
type node struct {
	m       *machine
	start   func()
	crash   func(silently bool)
	fill    func(ownLimit bool)
	empty   func()
	fail    func() // the next sync
	lose    func()
	save    func()
	restore func()
	stall   func(until int64)
	set     func(by int64) // the wall clock
}

// node finds one by its name.
func (w *world) node(name string) node {
	for _, r := range w.roots {
		if r.name == name {
			return node{m: &r.machine, start: r.start, crash: r.crash, stall: func(t int64) { r.stalled = t }, set: r.set, lose: r.lose,
				fill: func(bool) { r.full = true }, empty: func() { r.full = false }, fail: func() { r.sick = r.machine.up }}
		}
	}
	for _, r := range w.relays {
		if r.name == name {
			n := r.tape.faults()
			n.m, n.start, n.crash, n.lose, n.save, n.restore = &r.machine, r.start, r.crash, r.lose, r.save, r.restore
			n.set, n.fail = func(by int64) { r.clock.skew += by }, func() { r.tape.sick = r.machine.up }
			return n
		}
	}
	for _, a := range w.agents {
		if a.name == name {
			n := a.tape.faults()
			n.m, n.start, n.crash, n.lose, n.save, n.restore = &a.machine, a.start, a.crash, a.lose, a.save, a.restore
			n.fail = func() { a.tape.sick = a.machine.up }
			return n
		}
	}
	return node{}
}

// faults is what a node's tape has for it.
func (t *tape) faults() node {
	return node{fill: t.fill, empty: t.empty, stall: func(until int64) { t.stalled = until }}
}

// begin lets a fault happen, and plans its end.
func (w *world) begin(f fault) {
	n := w.node(f.victim)
	over := func(do func()) { w.after(f.span, do) }
	switch f.kind {
	case crash:
		n.crash(f.silent)
		over(n.start)
	case reboot:
		n.crash(f.silent)
		n.m.clock.reboot()
		over(n.start)
	case loseDisk:
		n.crash(f.silent)
		n.lose()
		over(n.start)
	case rollBack:
		n.save()
		over(func() {
			n.crash(f.silent)
			n.restore()
			w.after(between(w.proc, 0, 200*millisecond), n.start)
		})
	case stallDisk:
		n.stall(w.now + f.span)
	case failSync:
		n.fail()
	case fillDisk:
		n.fill(f.silent)
		over(n.empty)
	case cutWay:
		w.cutFor([]way{{f.victim, f.other}}, f.span)
	case partition:
		w.cutFor(w.around(f.victim), f.span)
	case slowLinks:
		w.net.slow[f.victim] = f.amount
		over(func() { delete(w.net.slow, f.victim) })
	case newLeader:
		w.raft.forced = true
	case setClock:
		n.set(f.amount)
	case lie:
		w.lies = true
		over(func() { w.lies = false })
	}
}

// cutFor cuts ways for a while.
func (w *world) cutFor(ways []way, span int64) {
	for _, x := range ways {
		w.net.cut(x.from, x.to)
	}
	w.after(span, func() {
		for _, x := range ways {
			w.net.mend(x.from, x.to)
		}
	})
}

// around are all ways between those whose names begin so and the others.
func (w *world) around(prefix string) (ways []way) {
	in := func(name string) bool { return len(name) >= len(prefix) && name[:len(prefix)] == prefix }
	names := w.plan.cast().all()
	for _, a := range names {
		for _, b := range names {
			if in(a) != in(b) {
				ways = append(ways, way{a, b})
			}
		}
	}
	return ways
}
