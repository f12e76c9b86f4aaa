package sim

import (
	"bytes"
	"slices"

	"pando/event"
	"pando/root"
	"pando/root/consensus"
)

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
		if news {
			g.history = append(g.history, *e)
		}
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
		if chance(r.w.proc, snapshotEvery) && !r.full {
			r.snapshot()
		}
	}
	if m.leading && !m.ready && m.applied >= m.start {
		m.ready = true
		r.won()
	}
}

// checkReplay steps all that was ever committed from the beginning: every root
// has the bytes of that, whatever snapshots, disks and tails it came by.
func (g *group) checkReplay() {
	fsm, err := root.NewFSM()
	if err != nil {
		g.w.fault("%v", err)
		return
	}
	for i := range g.history {
		e, index := &g.history[i], uint64(i)+1
		for n, cmd := range e.cmds {
			if _, err := fsm.Apply(consensus.At{Index: index, Term: e.term, Item: n, Items: len(e.cmds)}, cmd); err != nil {
				g.w.fault("replay of entry %d: %v", index, err)
				return
			}
		}
		for _, r := range g.w.roots {
			if r.raft.applied != index {
				continue
			}
			var want, got bytes.Buffer
			_, err := fsm.Freeze().WriteTo(&want)
			_, err2 := r.raft.fsm.Freeze().WriteTo(&got)
			if err != nil || err2 != nil || !bytes.Equal(want.Bytes(), got.Bytes()) {
				g.w.fault("%s: its state after entry %d is not that of a full replay", r.name, index)
			}
		}
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
