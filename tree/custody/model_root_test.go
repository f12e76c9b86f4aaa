package custody

import (
	"fmt"
	"slices"
	"strings"

	"pando/event"
)

func (m *model) rootClaim(s *state, msg message) message {
	r := &s.root
	a := s.of[msg.wal-1]
	reply := msg
	reply.kind = "granted"
	units := r.owner[m.unit(msg.wal, 0):m.unit(msg.wal+1, 0)]
	if m.mut == closedReturns {
		for l := range units {
			units[l].Closed = false
		}
	}
	c := Claim{WAL: event.WALID(msg.wal), Opened: msg.opened, Started: msg.began, Closed: units[0].Closed}
	if m.mut == unknownStarts || m.mut == closedReturns {
		c.Started = 0
	}
	closes, err := r.origin[a].Claim(c)
	r.known[msg.wal-1] = true
	if err != nil {
		m.rootCloses(s, msg.wal)
	}
	if closes != 0 {
		m.rootCloses(s, uint8(closes))
	}
	trial := slices.Clone(units)
	for l := range trial {
		if trial[l].Claim(msg.term, fmt.Sprint(msg.relay)) != nil {
			reply.kind = "refused"
		}
	}
	if reply.kind == "granted" {
		if m.mut == grantsOneLane {
			trial = trial[:1]
		}
		copy(units, trial)
	}
	copy(reply.owner[:], units)
	copy(reply.start[:], r.pos[a*m.lanes:(a+1)*m.lanes])
	return reply
}

// rootCloses closes the units of a WAL id.
func (m *model) rootCloses(s *state, wal uint8) {
	s.root.known[wal-1] = true
	for l := range m.lanes {
		s.root.owner[m.unit(wal, l)].Close()
	}
}

func (m *model) rootSection(s *state, msg message) message {
	r, u := &s.root, m.unit(msg.wal, msg.lane)
	h := msg.head
	reply := msg
	reply.kind, reply.lines, reply.pos = "answer", "", 0
	if h.Rest && m.mut != openStaysOpen {
		m.rootCloses(s, msg.wal)
	}
	o := &r.owner[u]
	if !r.known[msg.wal-1] {
		reply.v, reply.owner[0] = SkipTerm, *o
		return reply
	}
	if m.mut == noContiguity && h.From != o.Settled+1 && !o.Closed {
		o.Settled, o.Chain = h.From-1, h.Before
	}
	if m.mut == resumesAnyTerm && h.Resumes && h.From > o.Settled+1 && !o.Closed {
		h.Term, h.Relay = o.Term, o.Relay
	}
	var lost Range
	reply.v = SkipTerm
	if m.mut != openStaysOpen || o.Closed == h.Rest {
		reply.v, lost = o.Judge(h)
	}
	if reply.v == Apply {
		m.rootLoses(s, u, lost)
		m.rootApplies(s, u, msg)
		s.top[u] = max(s.top[u], o.Settled)
		if !h.Rest && msg.pos != unread {
			r.pos[s.of[msg.wal-1]*m.lanes+msg.lane] = msg.pos
		}
	}
	reply.owner[0] = *o
	return reply
}

func (m *model) rootApplies(s *state, u int, msg message) {
	r := &s.root
	for i := range len(msg.lines) {
		c := msg.lines[i : i+1]
		if c[0] == beat {
			continue
		}
		if strings.Contains(r.applied, c) {
			s.wrong = fmt.Sprintf("content %d applied twice", c[0])
		}
		if !m.held[[2]uint64{uint64(u), msg.head.From + uint64(i)}][c[0]] {
			s.wrong = fmt.Sprintf("content %d applied at %d of WAL %d, where the agent never had it durable", c[0], msg.head.From+uint64(i), msg.wal)
		}
		r.applied = insert(r.applied, c)
		if !strings.Contains(s.once, c) {
			s.once = insert(s.once, c)
		}
	}
}

// rootLoses enters a range as lost. It must have been settled, and the relay
// that may settle the unit must hold none of it.
func (m *model) rootLoses(s *state, u int, lost Range) {
	if lost.Empty() {
		return
	}
	s.root.gone = append(s.root.gone, gone{u, lost})
	if lost.To > s.top[u] {
		s.wrong = fmt.Sprintf("%d to %d is entered as lost, %d was settled", lost.From, lost.To, s.top[u])
	}
	o := &s.root.owner[u]
	for r := range s.r {
		if n := &s.r[r].mem[u]; fmt.Sprint(r) == o.Relay && n.Term == o.Term && !o.Closed &&
			slices.ContainsFunc(n.Held, func(sp Span) bool { return sp.First <= lost.To && sp.Last >= lost.From }) {
			s.wrong = fmt.Sprintf("%d to %d is entered as lost, relay %d holds the claim and some of it", lost.From, lost.To, r)
		}
	}
}

// rootImage takes a snapshot of the root.
func (m *model) rootImage(s *state) bool {
	if s.image != nil || s.root.applied == "" && !slices.Contains(s.root.known, true) {
		return false
	}
	x := s.root.clone()
	s.image = &x
	return true
}

// rootRestored gives the root the state of its snapshot, or an empty one.
func (m *model) rootRestored(s *state, empty bool) bool {
	x := root{origin: make([]Origin, m.agents), pos: make([]uint8, m.agents*m.lanes)}
	if !empty {
		if s.image == nil {
			return false
		}
		x = s.image.clone()
	}
	for len(x.known) < len(s.root.known) {
		x.known = append(x.known, false)
	}
	for len(x.owner) < len(s.root.owner) {
		x.owner = append(x.owner, Owner{})
	}
	s.root, s.restored = x, true
	// All sessions to the old one end, and with them what they carried.
	s.net = nil
	for r := range int8(relays) {
		m.cutOff(s, r)
	}
	return true
}

func (r *root) clone() root {
	c := *r
	c.known, c.owner, c.origin, c.pos = slices.Clone(r.known), slices.Clone(r.owner), slices.Clone(r.origin), slices.Clone(r.pos)
	c.gone = slices.Clip(r.gone)
	return c
}

// excused reports whether the root knows that a content is lost, after it
// forgot by a restore that it was settled: it is in a range that is entered
// as lost, or in a unit that is closed, or that the root never hears of again.
func (m *model) excused(s *state, c byte) bool {
	if !s.restored || !strings.Contains(s.once, string([]byte{c})) {
		return false
	}
	for k, contents := range m.held {
		u, seq := int(k[0]), k[1]
		if !contents[c] || u >= len(s.root.owner) {
			continue
		}
		o := &s.root.owner[u]
		if seq > o.Settled && (o.Closed || !s.root.known[u/int(m.lanes)]) {
			return true
		}
		if slices.ContainsFunc(s.root.gone, func(g gone) bool { return g.unit == u && g.r.From <= seq && seq <= g.r.To }) {
			return true
		}
	}
	return false
}

// insert adds a content to a sorted set of them.
func insert(set, c string) string {
	at := 0
	for at < len(set) && set[at] < c[0] {
		at++
	}
	return set[:at] + c + set[at:]
}
