package sim

import (
	"crypto/sha256"
	"errors"

	"pando/event"
	"pando/root"
)

// Times of the consensus, as the product's options have them.
const (
	electAfter  = 500 * millisecond
	leaseLimit  = 250 * millisecond
	electEvery  = 50 * millisecond
	appendEvery = 80 * millisecond
	packEvery   = 500 * microsecond
	// snapshotEvery is the mean distance of snapshots in applied entries, and
	// trailing how many entries stay behind one: few, so that a root that was
	// away needs a snapshot.
	snapshotEvery = 64
	trailing      = 16
)

var (
	errNotLeader     = errors.New("not the leader")
	errIndeterminate = errors.New("it may or may not take effect")
)

// group models the consensus of the roots: each has a log of its own, a leader
// replicates by messages that are lost and late, and what a majority has on
// disk is committed. Only the vote is simplified: it happens at one moment,
// among those who reach each other, for a log that is at least as new as a
// majority's.
type group struct {
	w         *world
	committed map[uint64]event.Hash // of entries, by index
	outputs   map[uint64]event.Hash // of the state machines' results up to an index
	history   []entry               // all that was committed
	marks     map[uint64]event.Hash // of states, by the number of the mark
	term      uint64
	quietAt   int64 // since when there is no leader with a majority
	forced    bool  // a fault wants another leader
}

// entry is one of Raft's; one without commands begins a term.
type entry struct {
	term uint64
	cmds [][]byte
}

func (e *entry) hash(index uint64) event.Hash {
	h := sha256.New()
	h.Write([]byte{byte(e.term), byte(e.term >> 8), byte(e.term >> 16), byte(index), byte(index >> 8), byte(index >> 16)})
	for _, c := range e.cmds {
		h.Write([]byte{byte(len(c)), byte(len(c) >> 8), byte(len(c) >> 16)})
		h.Write(c)
	}
	var sum event.Hash
	h.Sum(sum[:0])
	return sum
}

// member is one root's part in the consensus. What is on disk survives.
type member struct {
	term     uint64 // on disk
	first    uint64 // index of log[0]
	before   uint64 // term of the entry before it
	log      []entry
	synced   uint64 // last entry on disk
	snap     []byte // state at first-1 or later
	snapAt   uint64
	snapTerm uint64
	learner  bool // it came with an empty disk, and has no vote until it has caught up
	disk     int  // how many it had before

	fsm     *root.FSM
	commit  uint64
	applied uint64
	leading bool
	ready   bool // all that was committed before is applied
	start   uint64
	next    []uint64 // by root: what to send it
	match   []uint64
	heard   []int64 // when it last answered
	waiting []proposal
	packing [][]byte
	packed  []func(any, error)
	leader  *rootNode // as it believes
	told    int64     // when the leader was last heard of
}

// leads is the leader, as far as this root knows.
func (r *rootNode) leads() *rootNode {
	if m := &r.raft; m.leading || r.w.now-m.told < electAfter {
		return m.leader
	}
	return nil
}

// proposal waits for its entry.
type proposal struct {
	index uint64
	done  []func(any, error)
}

func (m *member) last() uint64 { return m.first + uint64(len(m.log)) - 1 }

func (m *member) termAt(index uint64) uint64 {
	if index+1 == m.first {
		return m.before
	}
	if index < m.first || index > m.last() {
		return 0
	}
	return m.log[index-m.first].term
}

func newGroup(w *world) *group {
	g := &group{w: w, committed: map[uint64]event.Hash{}, outputs: map[uint64]event.Hash{}, marks: map[uint64]event.Hash{}, quietAt: w.now - electAfter}
	w.after(electEvery, g.watch)
	return g
}

// reach reports whether two roots hear each other.
func (g *group) reach(a, b *rootNode) bool {
	return a == b || a.machine.up && b.machine.up && !g.w.net.blocked(a.name, b.name) && !g.w.net.blocked(b.name, a.name)
}

func (g *group) reaches(r *rootNode) (n int) {
	for _, x := range g.w.roots {
		if r.machine.up && !x.raft.learner && g.reach(r, x) {
			n++
		}
	}
	return n
}

func (g *group) majority() int { return len(g.w.roots)/2 + 1 }

// watch looks for a group that has no leader any more.
func (g *group) watch() {
	g.w.after(electEvery, g.watch)
	for _, r := range g.w.roots {
		if r.machine.up && r.raft.leading && r.raft.term == g.term && g.reaches(r) >= g.majority() && !g.forced {
			g.quietAt = g.w.now
			return
		}
	}
	if g.forced || g.w.now-g.quietAt >= electAfter+between(g.w.proc, 0, electAfter) {
		g.forced = false
		g.elect()
	}
}

// elect makes a root leader that a majority would vote for.
func (g *group) elect() {
	for _, i := range g.w.proc.Perm(len(g.w.roots)) {
		c := g.w.roots[i]
		if !c.machine.up || c.raft.leading || c.raft.learner {
			continue
		}
		var votes []*rootNode
		for _, v := range g.w.roots {
			if g.reach(c, v) && v.machine.up && !v.raft.learner && c.raft.newer(&v.raft) {
				votes = append(votes, v)
			}
		}
		if len(votes) < g.majority() {
			continue
		}
		g.checkComplete(c)
		g.term++
		for _, v := range votes {
			v.stepDown(g.term)
		}
		c.lead()
		g.quietAt = g.w.now
		return
	}
}

// checkComplete looks whether a root that is to lead has all that was ever
// committed.
func (g *group) checkComplete(c *rootNode) {
	m := &c.raft
	if n := uint64(len(g.committed)); m.last() < n {
		g.w.fault("%s is to lead and has entries to %d, committed are %d", c.name, m.last(), n)
		return
	}
	for i := range m.log {
		index := m.first + uint64(i)
		if known, ok := g.committed[index]; ok && known != m.log[i].hash(index) {
			g.w.fault("%s is to lead and has another entry at %d than was committed", c.name, index)
			return
		}
	}
}

// spares reports whether a majority that has always voted remains without a
// root's disk.
func (g *group) spares(r *rootNode) bool {
	n := 0
	for _, x := range g.w.roots {
		if x != r && !x.raft.learner {
			n++
		}
	}
	return n >= g.majority()
}

// newer reports whether a log is at least as new as another's.
func (m *member) newer(o *member) bool {
	a, b := m.lastTerm(), o.lastTerm()
	return a > b || a == b && m.last() >= o.last()
}

func (m *member) lastTerm() uint64 { return m.termAt(m.last()) }

// lead begins a term.
func (r *rootNode) lead() {
	m, n := &r.raft, len(r.w.roots)
	m.leading, m.ready, m.leader = true, false, r
	m.next, m.match, m.heard = make([]uint64, n), make([]uint64, n), make([]int64, n)
	for i := range m.next {
		m.next[i], m.heard[i] = m.last()+1, r.w.now
	}
	m.log = append(m.log, entry{term: m.term})
	m.start = m.last()
	r.w.say(r.name, "leads term %d from %d", m.term, m.start)
	r.syncLog()
	r.pulse(m.term)
}

// pulse replicates again and again, and gives up without a majority.
func (r *rootNode) pulse(term uint64) {
	m := &r.raft
	if !m.leading || m.term != term {
		return
	}
	near := 0
	for i, x := range r.w.roots {
		if x == r || !x.raft.learner && r.w.now-m.heard[i] <= leaseLimit {
			near++
		}
	}
	if near < r.w.raft.majority() {
		r.stepDown(m.term)
		return
	}
	r.replicate()
	r.after(appendEvery, func() { r.pulse(term) })
}

// stepDown ends a leadership: what had no answer may or may not take effect.
func (r *rootNode) stepDown(term uint64) {
	m := &r.raft
	if term > m.term {
		m.leader = nil
	}
	m.term = max(m.term, term)
	if !m.leading {
		return
	}
	r.w.say(r.name, "steps down")
	m.leading, m.ready, m.leader = false, false, nil
	r.follow()
	lost := m.packed
	for _, p := range m.waiting {
		lost = append(lost, p.done...)
	}
	m.waiting, m.packing, m.packed = nil, nil, nil
	for _, done := range lost {
		done(nil, errIndeterminate)
	}
}

// propose replicates a command.
func (r *rootNode) propose(cmd []byte, done func(any, error)) {
	m := &r.raft
	if !m.leading || !m.ready {
		done(nil, errNotLeader)
		return
	}
	m.packing, m.packed = append(m.packing, cmd), append(m.packed, done)
	if len(m.packing) > 1 {
		return
	}
	term := m.term
	r.after(packEvery, func() {
		if !m.leading || m.term != term || len(m.packing) == 0 {
			return
		}
		m.log = append(m.log, entry{term: m.term, cmds: m.packing})
		m.waiting = append(m.waiting, proposal{m.last(), m.packed})
		m.packing, m.packed = nil, nil
		r.syncLog()
		r.replicate()
	})
}
