package custody

import (
	"fmt"
	"slices"
)

func (m *model) relaySync(s *state, r int8) bool {
	if !s.r[r].up || sameIntakes(s.r[r].mem, s.r[r].disk) {
		return false
	}
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	return true
}

// syncIfCoarse makes a relay's fsync one with what it covers.
func (m *model) syncIfCoarse(s *state, r int8) {
	if m.coarse {
		s.r[r].disk = cloneIntakes(s.r[r].mem)
	}
}

func (m *model) relayCrash(s *state, r int8, lost bool) bool {
	if !s.r[r].up {
		return false
	}
	for a := range s.a {
		if x := &s.a[a]; x.relay == r {
			x.relay = -1
			for l := range x.out {
				x.out[l].Close()
			}
		}
	}
	s.r[r].mem = cloneIntakes(s.r[r].disk)
	for i := range s.r[r].mem {
		if lost {
			for _, sp := range s.r[r].disk[i].Held {
				if b := s.r[r].batches[sp.Pos-1]; b.lines[0] >= firstPush && !s.atRelay(b, r) && !s.atAgent(b) {
					s.lost += b.lines
				}
			}
			s.r[r].mem[i] = Intake{EndOK: true}
		}
		s.r[r].mem[i].CloseSession()
		s.forget(r, i)
	}
	m.cutOff(s, r)
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	s.r[r].up = false
	return true
}

// cutOff is the loss of a relay's session upwards, as the relay sees it.
func (m *model) cutOff(s *state, r int8) {
	if m.middle {
		s.r[r].link++
	}
	for i := range s.r[r].mem {
		s.r[r].mem[i].Recut()
		s.r[r].flight[i] = 0
	}
	if m.middle {
		s.net = slices.DeleteFunc(s.net, func(x message) bool { return x.relay == r && (x.hop == toMiddle || x.hop == toRelay) })
	}
	m.syncIfCoarse(s, r)
}

func (m *model) post(s *state, msg message) bool {
	if len(s.net) >= m.messages || slices.Contains(s.net, msg) {
		return false
	}
	s.net = append(s.net, msg)
	return true
}

// connected reports whether the relay's outputs may leave.
func (m *model) connected(s *state, r int8) bool {
	return s.r[r].up && (!m.middle || s.mid.up) && sameIntakes(s.r[r].mem, s.r[r].disk)
}

func (m *model) upward(s *state, r int8, msg message) message {
	msg.relay, msg.link = r, s.r[r].link
	msg.hop = toRoot
	if m.middle {
		msg.hop = toMiddle
	} else {
		msg.link = 0
	}
	return msg
}

func (m *model) claim(s *state, r int8, w uint8) bool {
	if !m.connected(s, r) {
		return false
	}
	var n *Intake
	wants := false
	for l := range m.lanes {
		x := &s.r[r].mem[m.unit(w+1, l)]
		wants = wants || x.Wants()
		if n == nil || x.Term.Compare(n.Term) > 0 {
			n = x
		}
	}
	msg := m.upward(s, r, message{kind: "claim", wal: w + 1, term: n.Term, opened: n.Opened, began: n.Started})
	if !wants || m.middle && s.mid.waits(&msg) {
		return false
	}
	return m.post(s, msg)
}

func (m *model) cut(s *state, r int8, w uint8, l int8) bool {
	u := m.unit(w+1, l)
	n := &s.r[r].mem[u]
	if !m.connected(s, r) || len(s.net) >= m.messages || m.middle && s.r[r].flight[u] >= 3 {
		return false
	}
	limit := 2
	if m.middle {
		limit = 1 // the middle relay joins them
	}
	spans := n.Section(limit)
	if len(spans) == 0 {
		return false
	}
	msg := m.upward(s, r, message{kind: "section", wal: w + 1, lane: l})
	for _, sp := range spans {
		b := s.r[r].batches[sp.Pos-1]
		for i := range len(b.lines) {
			if !n.Closed || b.lines[i] >= firstPush || m.mut == restCountsAll {
				msg.lines += b.lines[i : i+1]
			} else {
				msg.lines += string([]byte{beat}) // its agent reads it again
			}
		}
		msg.pos = b.pos
	}
	msg.head = n.Commit(m.unitID(w+1, l), fmt.Sprint(r), spans)
	switch m.mut {
	case neverResumes:
		msg.head.Resumes = false
	case resumesHeld:
		msg.head.Resumes = true
	}
	s.r[r].flight[u]++
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	s.net = append(s.net, msg)
	return true
}

// ask is the relay's question about a unit that it holds and that no session
// moves. Where messages are lost without a session's loss, it also cuts again
// what has no answer.
func (m *model) ask(s *state, r int8, w uint8, l int8) bool {
	u := m.unit(w+1, l)
	n := &s.r[r].mem[u]
	if !m.connected(s, r) || len(n.Held) == 0 || m.middle && !n.Fenced {
		return false
	}
	if slices.ContainsFunc(s.net, func(x message) bool { return x.wal == w+1 && x.relay == r }) {
		return false
	}
	was := []Intake{*n}
	if m.mut == dropFenced && n.Fenced {
		n.Held = nil
	}
	if !m.middle {
		n.Recut()
	}
	m.answered(s, message{kind: "told", wal: w + 1, lane: l, relay: r, owner: [maxLanes]Owner{s.root.owner[u]}})
	return !sameIntakes(was, s.r[r].mem[u:u+1])
}

// judgeIntake acts on a divergence that a relay finds by the root's answer.
func (m *model) judgeIntake(s *state, r int8, wal uint8, l int8, err error) {
	if err == nil {
		return
	}
	u := m.unit(wal, l)
	s.r[r].mem[u].Held = nil // what contradicts the settled content can never settle
	if s.serves(r, wal) {
		m.giveUp(s, s.of[wal-1])
	}
	s.forget(r, u)
}

// answered takes what the root says to a relay.
func (m *model) answered(s *state, msg message) {
	r, a := msg.relay, s.of[msg.wal-1]
	x := &s.a[a]
	lanes := []int8{0, 1}[:m.lanes]
	if msg.kind == "answer" || msg.kind == "told" {
		lanes = []int8{msg.lane}
	}
	if u := m.unit(msg.wal, msg.lane); msg.kind == "answer" {
		s.r[r].flight[u] = max(0, s.r[r].flight[u]-1)
	}
	hangUp := false
	for i, l := range lanes {
		u := m.unit(msg.wal, l)
		n, o := &s.r[r].mem[u], msg.owner[i]
		if n.Term == (Term{}) {
			continue // forgotten
		}
		var err error
		switch {
		case msg.v == RefuseForgotten:
			err = ErrForgotten
		case o.Closed && msg.kind != "granted" && !n.Closed:
			err = n.Shut(o.Settled, o.Chain)
			if err == nil && s.serves(r, msg.wal) {
				m.giveUp(s, a)
			}
		case msg.kind == "refused":
			n.Refused(msg.term)
			hangUp = hangUp || n.Fenced && s.serves(r, msg.wal)
		case msg.kind == "granted":
			if n.Term == msg.term && s.serves(r, msg.wal) && x.d.started == 0 && l == 0 {
				x.d.started = n.Opened
				for l := range m.lanes {
					x.d.lane[l].start = msg.start[l]
				}
			}
			err = n.Granted(msg.term, o.Settled, o.Chain)
		case msg.v == Apply:
			if n.Fenced && m.mut != staysFenced {
				n.InForce(o.Term)
			}
			err = n.Applied(o.Settled, o.Chain)
		case msg.v == SkipTerm && o.Term.Compare(msg.head.Term) < 0 && m.mut != staysFenced:
			if n.Term == msg.head.Term {
				n.InForce(o.Term)
			}
			err = n.Applied(o.Settled, o.Chain)
		case msg.v == SkipTerm:
			n.Refused(msg.head.Term)
			hangUp = hangUp || n.Fenced && n.Term == msg.head.Term && s.serves(r, msg.wal)
			err = n.Applied(o.Settled, o.Chain)
		case msg.v == RefuseDiverge:
			err = ErrDiverged
		default:
			err = n.Skipped(msg.head.To, o.Settled, o.Chain)
		}
		m.judgeIntake(s, r, msg.wal, l, err)
		s.forget(r, u)
	}
	if hangUp && s.serves(r, msg.wal) {
		x.d.epoch = max(x.d.epoch, msg.owner[0].Term.Epoch) // the agent raises its term
		x.session = max(x.session, msg.owner[0].Term.Session)
		m.hangUp(s, a)
	}
	s.r[r].disk = cloneIntakes(s.r[r].mem)
}
