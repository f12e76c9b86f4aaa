package sim

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"

	"pando/event"
	"pando/root"
	"pando/root/consensus"
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
	g := &group{w: w, committed: map[uint64]event.Hash{}, outputs: map[uint64]event.Hash{}, quietAt: w.now - electAfter}
	w.after(electEvery, g.watch)
	return g
}

// reach reports whether two roots hear each other.
func (g *group) reach(a, b *rootNode) bool {
	return a == b || a.machine.up && b.machine.up && !g.w.net.blocked(a.name, b.name) && !g.w.net.blocked(b.name, a.name)
}

func (g *group) reaches(r *rootNode) (n int) {
	for _, x := range g.w.roots {
		if r.machine.up && g.reach(r, x) {
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
		if !c.machine.up || c.raft.leading {
			continue
		}
		var votes []*rootNode
		for _, v := range g.w.roots {
			if g.reach(c, v) && v.machine.up && c.raft.newer(&v.raft) {
				votes = append(votes, v)
			}
		}
		if len(votes) < g.majority() {
			continue
		}
		g.term++
		for _, v := range votes {
			v.stepDown(g.term)
		}
		c.lead()
		g.quietAt = g.w.now
		return
	}
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
		if x == r || r.w.now-m.heard[i] <= leaseLimit {
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

// syncLog puts the log on disk.
func (r *rootNode) syncLog() {
	m, upTo, term := &r.raft, r.raft.last(), r.raft.lastTerm()
	d := between(r.w.disk, minSync, maxSync)
	if r.stalled > r.w.now {
		d += r.stalled - r.w.now
	}
	r.after(d, func() {
		if m.termAt(upTo) != term {
			return
		}
		m.synced = max(m.synced, min(upTo, m.last()))
		r.advance()
	})
}

// replicate sends each root what it has not answered for.
func (r *rootNode) replicate() {
	m := &r.raft
	for i, x := range r.w.roots {
		if x == r {
			continue
		}
		a := appendMsg{from: r, term: m.term, commit: m.commit, prev: m.next[i] - 1}
		if m.next[i] < m.first || a.prev < m.first-1 {
			a.snap, a.snapAt, a.snapTerm = m.snap, m.snapAt, m.snapTerm
			a.prev = m.snapAt
		}
		a.prevTerm = m.termAt(a.prev)
		if a.prev+1 <= m.last() {
			a.entries = slices.Clone(m.log[a.prev+1-m.first:])
		}
		r.w.net.datagram(&r.machine, &x.machine, func() { x.appendEntries(i, a) })
	}
}

// appendMsg is a leader's word to a follower.
type appendMsg struct {
	from           *rootNode
	term, commit   uint64
	prev, prevTerm uint64
	entries        []entry
	snap           []byte
	snapAt         uint64
	snapTerm       uint64
}

// appendEntries takes a leader's word.
func (r *rootNode) appendEntries(self int, a appendMsg) {
	m := &r.raft
	if a.term < m.term {
		return
	}
	if a.term > m.term || m.leading {
		r.stepDown(a.term)
	}
	m.leader, m.told = a.from, r.w.now
	if a.snap != nil && a.snapAt > m.last() && a.snapAt > m.commit {
		r.install(a)
	}
	ok := a.prev+1 < m.first || a.prev <= m.last() && m.termAt(a.prev) == a.prevTerm
	if ok {
		r.store(a)
		if m.commit < min(a.commit, m.last()) {
			m.commit = min(a.commit, a.prev+uint64(len(a.entries)))
			r.apply()
		}
	}
	hint := m.last() + 1
	// The answer waits for the disk.
	last, term := a.prev+uint64(len(a.entries)), m.term
	r.after(between(r.w.disk, minSync, maxSync), func() {
		if m.term != term {
			return
		}
		if ok && last <= m.last() {
			m.synced = max(m.synced, last)
		}
		r.w.net.datagram(&r.machine, &a.from.machine, func() { a.from.answered(self, term, ok, last, hint) })
	})
}

// store puts a leader's entries into the log; what contradicts them goes.
func (r *rootNode) store(a appendMsg) {
	m := &r.raft
	for i, e := range a.entries {
		index := a.prev + 1 + uint64(i)
		if index < m.first {
			continue
		}
		if index <= m.last() {
			if m.termAt(index) == e.term {
				continue
			}
			if index <= m.commit {
				r.w.fault("%s: entry %d was committed and is replaced", r.name, index)
				return
			}
			m.log = m.log[:index-m.first]
			m.synced = min(m.synced, index-1)
		}
		m.log = append(m.log, e)
	}
}

// answered takes a follower's answer.
func (r *rootNode) answered(from int, term uint64, ok bool, last, hint uint64) {
	m := &r.raft
	if !m.leading || m.term != term {
		return
	}
	m.heard[from] = r.w.now
	if !ok {
		m.next[from] = max(1, min(m.next[from]-1, hint))
		return
	}
	m.match[from] = max(m.match[from], last)
	m.next[from] = max(m.next[from], last+1)
	r.advance()
}

// advance commits what a majority has on disk.
func (r *rootNode) advance() {
	m := &r.raft
	if !m.leading {
		return
	}
	have := make([]uint64, 0, len(r.w.roots))
	for i, x := range r.w.roots {
		if x == r {
			have = append(have, m.synced)
		} else {
			have = append(have, m.match[i])
		}
	}
	slices.Sort(have)
	to := have[len(have)-r.w.raft.majority()]
	if to <= m.commit || m.termAt(to) != m.term {
		return
	}
	m.commit = to
	r.w.raft.checkQuorum(r, to)
	r.apply()
}

// checkQuorum looks whether what a leader calls committed really is on the
// disks of a majority.
func (g *group) checkQuorum(r *rootNode, index uint64) {
	n := 0
	for _, x := range g.w.roots {
		if x.raft.synced >= index && (x.raft.termAt(index) == r.raft.termAt(index) || index < x.raft.first) {
			n++
		}
	}
	if n < g.majority() {
		g.w.fault("%s commits %d with %d of %d roots", r.name, index, n, len(g.w.roots))
	}
}

// apply steps the state machine to what is committed.
func (r *rootNode) apply() {
	m, g := &r.raft, r.w.raft
	for m.applied < m.commit && len(r.w.broken) == 0 {
		index := m.applied + 1
		e := &m.log[index-m.first]
		sum := e.hash(index)
		if known, ok := g.committed[index]; ok && known != sum {
			r.w.fault("%s: another entry was committed at %d", r.name, index)
			return
		}
		news := g.committed[index] == (event.Hash{})
		g.committed[index] = sum
		results := make([]any, len(e.cmds))
		for i, cmd := range e.cmds {
			var err error
			if results[i], err = m.fsm.Apply(consensus.At{Index: index, Term: e.term, Item: i, Items: len(e.cmds)}, cmd); err != nil {
				r.w.fault("%s: apply %d: %v", r.name, index, err)
				return
			}
			if news {
				r.w.oracle.committed(m.fsm, cmd)
			}
		}
		m.applied = index
		if known, ok := g.outputs[index]; ok && known != m.fsm.Output() {
			r.w.fault("%s: the results up to entry %d differ from another root's, or from before a restart", r.name, index)
			return
		}
		g.outputs[index] = m.fsm.Output()
		if len(e.cmds) > 0 {
			r.w.say(r.name, "applied %d, %d commands", index, len(e.cmds))
		}
		r.reply(index, results)
		r.voteDue()
		if chance(r.w.proc, snapshotEvery) {
			r.snapshot()
		}
	}
	if m.leading && !m.ready && m.applied >= m.start {
		m.ready = true
		r.won()
	}
}

// reply answers those who wait for an entry.
func (r *rootNode) reply(index uint64, results []any) {
	m := &r.raft
	for len(m.waiting) > 0 && m.waiting[0].index <= index {
		p := m.waiting[0]
		m.waiting = m.waiting[1:]
		for i, done := range p.done {
			done(results[i], nil)
		}
	}
}

// snapshot freezes the state and lets go of the log before it.
func (r *rootNode) snapshot() {
	m := &r.raft
	var b bytes.Buffer
	if _, err := m.fsm.Freeze().WriteTo(&b); err != nil {
		r.w.fault("%s: freeze: %v", r.name, err)
		return
	}
	m.snap, m.snapAt, m.snapTerm = b.Bytes(), m.applied, m.termAt(m.applied)
	if m.applied <= trailing || m.applied-trailing < m.first {
		return
	}
	to := m.applied - trailing
	r.w.say(r.name, "snapshot at %d, log from %d", m.applied, to)
	m.before = m.termAt(to - 1)
	m.log = slices.Clone(m.log[to-m.first:])
	m.first = to
}

// install takes a leader's snapshot in place of a log that is too old.
func (r *rootNode) install(a appendMsg) {
	m := &r.raft
	r.w.say(r.name, "installs a snapshot at %d", a.snapAt)
	m.snap, m.snapAt, m.snapTerm = a.snap, a.snapAt, a.snapTerm
	m.log, m.first, m.before, m.synced = nil, a.snapAt+1, a.snapTerm, a.snapAt
	r.restore()
	m.commit = m.applied
}

// restore makes the state anew from the snapshot and checks that it is the
// same.
func (r *rootNode) restore() {
	m := &r.raft
	var err error
	if m.fsm, err = root.NewFSM(); err != nil {
		r.w.fault("%s: %v", r.name, err)
		return
	}
	m.applied, m.commit = 0, 0
	if m.snap == nil {
		return
	}
	if err := m.fsm.Restore(bytes.NewReader(m.snap)); err != nil {
		r.w.fault("%s: restore: %v", r.name, err)
		return
	}
	var again bytes.Buffer
	if _, err := m.fsm.Freeze().WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), m.snap) {
		r.w.fault("%s: a restored state has another snapshot (%v)", r.name, err)
	}
	m.applied, m.commit = m.snapAt, m.snapAt
	r.marked, _ = m.fsm.Mark()
}
