package sim

import (
	"math/rand/v2"
	"time"
)

// epoch is the true time at which every run begins: a plausible one, so that
// wall clocks that are minutes wrong stay positive. Nanoseconds since 1970.
const epoch = int64(1_800_000_000e9)

// Durations in virtual time, in nanoseconds.
const (
	microsecond = int64(time.Microsecond)
	millisecond = int64(time.Millisecond)
	second      = int64(time.Second)
)

// world is one run: the true time, what is to happen next, and everybody in it.
// All of it happens on one goroutine.
type world struct {
	plan   *plan
	now    int64 // true time
	next   uint64
	agenda agenda
	trace  *trace
	oracle *oracle
	ledger *ledger  // of the end
	broken []string // violated invariants, as they showed

	// One source of randomness for each purpose, so that a change in one
	// place does not reshuffle the others.
	wire, disk, proc, clocks *rand.Rand

	net    *network
	raft   *group
	roots  []*rootNode
	relays []*relayNode
	agents []*agentNode

	found    map[finding]int
	findings []finding // in the order of their first saying
	lies     bool      // gossip is wrong now and then

	inputOver bool // the sources have nothing more, and heartbeats stop
}

// newWorld prepares a run of a plan; words is where a verbose trace goes.
func newWorld(p *plan, t *trace) *world {
	source := func(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(p.seed, purpose)) }
	w := &world{plan: p, now: epoch, trace: t, wire: source(1), disk: source(2), proc: source(3), clocks: source(4)}
	w.net = newNetwork(w)
	w.oracle = newOracle(w)
	w.found = map[finding]int{}
	return w
}

// task is something that happens at a moment.
type task struct {
	at int64
	n  uint64 // breaks ties in the order of their planning
	do func()
}

// agenda is a binary heap of tasks.
type agenda []task

func (a agenda) less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}

func (a *agenda) push(t task) {
	*a = append(*a, t)
	h := *a
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (a *agenda) pop() task {
	h := *a
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], task{}
	h = h[:last]
	*a = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	return top
}

// after plans something for d from now.
func (w *world) after(d int64, do func()) {
	w.next++
	w.agenda.push(task{w.now + max(d, 0), w.next, do})
}

// runUntil lets things happen up to a moment, or until an invariant is broken.
func (w *world) runUntil(end int64) {
	for len(w.agenda) > 0 && len(w.broken) == 0 && w.agenda[0].at <= end {
		t := w.agenda.pop()
		w.now = t.at
		t.do()
	}
	if len(w.broken) == 0 {
		w.now = max(w.now, end)
	}
}

// elapsed is the time since the beginning.
func (w *world) elapsed() int64 { return w.now - epoch }

// say puts a step into the trace.
func (w *world) say(who, format string, args ...any) {
	w.trace.add(w.elapsed(), who, format, args)
}

// between draws from [lo, hi].
func between(r *rand.Rand, lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + r.Int64N(hi-lo+1)
}

// chance is true once in n.
func chance(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }
