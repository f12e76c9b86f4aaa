package sim

import "slices"

// write does something once the disk holds what is appended now. A disk that
// has no room, or whose sync fails, ends the process, as the product's does; a
// supervisor starts it again.
func (r *rootNode) write(done func()) {
	d := between(r.w.disk, minSync, maxSync)
	if r.stalled > r.w.now {
		d += r.stalled - r.w.now
	}
	r.after(d, func() {
		if r.full || r.sick {
			r.w.say(r.name, "cannot write")
			r.sick = false
			r.crash(false)
			r.w.after(100*millisecond, r.start)
			return
		}
		done()
	})
}

// syncLog puts the log on disk.
func (r *rootNode) syncLog() {
	m, upTo, term := &r.raft, r.raft.last(), r.raft.lastTerm()
	r.write(func() {
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
		if r.full {
			return
		}
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
	last, term, disk := a.prev+uint64(len(a.entries)), m.term, m.disk
	answer := func() {
		if m.term != term {
			return
		}
		if ok && last <= m.last() {
			m.synced = max(m.synced, last)
		}
		r.w.net.datagram(&r.machine, &a.from.machine, func() { a.from.answered(self, disk, term, ok, last, hint) })
	}
	if m.synced == m.last() {
		r.after(between(r.w.disk, minSync, maxSync), answer)
		return
	}
	r.write(answer) // it waits for the disk
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

// answered takes a follower's answer. What a disk held that is gone means
// nothing for the one in its place.
func (r *rootNode) answered(from, disk int, term uint64, ok bool, last, hint uint64) {
	m, x := &r.raft, &r.w.roots[from].raft
	if !m.leading || m.term != term || x.disk != disk {
		return
	}
	m.heard[from] = r.w.now
	if !ok {
		m.next[from] = max(1, min(m.next[from]-1, hint))
		return
	}
	m.match[from] = max(m.match[from], last)
	m.next[from] = max(m.next[from], last+1)
	// Only the newest leader knows all that is committed.
	if x.learner && m.ready && m.match[from] >= m.commit && m.term == r.w.raft.term {
		x.learner = false
		r.w.say(r.name, "lets %s vote, which has all to %d", r.w.roots[from].name, m.match[from])
	}
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
		switch {
		case x == r:
			have = append(have, m.synced)
		case x.raft.learner:
			have = append(have, 0)
		default:
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
		if !x.raft.learner && x.raft.synced >= index && (x.raft.termAt(index) == r.raft.termAt(index) || index < x.raft.first) {
			n++
		}
	}
	if n < g.majority() {
		g.w.fault("%s commits %d with %d of %d roots", r.name, index, n, len(g.w.roots))
	}
}
