package custody

import (
	"fmt"
	"slices"
	"strings"

	"pando/event"
)

func (m *model) relaySync(s *state, r int8) bool {
	if !s.r[r].up || sameIntakes(s.r[r].mem, s.r[r].disk) {
		return false
	}
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	return true
}

func (m *model) relayCrash(s *state, r int8, lost bool) bool {
	if !s.r[r].up {
		return false
	}
	if s.a.relay == r {
		s.a.relay = -1
		s.a.out.Close()
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
		s.r[r].mem[i].Recut()
	}
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	s.r[r].up = false
	return true
}

func (s *state) atAgent(b batch) bool {
	return slices.ContainsFunc(s.a.d.log, func(x batch) bool { return x.lines == b.lines && x.span == b.span })
}

func (m *model) post(s *state, msg message) bool {
	if len(s.net) >= m.messages || slices.Contains(s.net, msg) {
		return false
	}
	s.net = append(s.net, msg)
	return true
}

// synced reports whether the relay's outputs may leave.
func (s *state) syncedRelay(r int8) bool {
	return s.r[r].up && sameIntakes(s.r[r].mem, s.r[r].disk)
}

func (m *model) claim(s *state, r int8, w uint8) bool {
	n := s.r[r].mem[w]
	if !s.syncedRelay(r) || !n.Wants() {
		return false
	}
	return m.post(s, message{kind: "claim", wal: w + 1, relay: r, term: n.Term, opened: n.Opened})
}

func (m *model) cut(s *state, r int8, w uint8) bool {
	n := &s.r[r].mem[w]
	if !s.syncedRelay(r) {
		return false
	}
	spans := n.Section(2)
	if len(spans) == 0 || len(s.net) >= m.messages {
		return false
	}
	msg := message{kind: "section", wal: w + 1, relay: r}
	for _, sp := range spans {
		b := s.r[r].batches[sp.Pos-1]
		for i := range len(b.lines) {
			if !n.Closed || b.lines[i] >= firstPush || m.mut == restCountsAll {
				msg.lines += b.lines[i : i+1]
			} else {
				msg.lines += "\x00" // its agent reads it again
			}
		}
		msg.pos = b.pos
	}
	msg.head = n.Commit(event.Unit{WAL: event.WALID(w + 1)}, fmt.Sprint(r), spans)
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	return m.post(s, msg)
}

// ask is the relay's question about a unit that it holds and that no session
// moves, and about sections that have no answer.
func (m *model) ask(s *state, r int8, w uint8) bool {
	n := &s.r[r].mem[w]
	if !s.syncedRelay(r) || len(n.Held) == 0 {
		return false
	}
	was := []Intake{*n}
	if m.mut == dropFenced && n.Fenced {
		n.Held = nil
	}
	o := s.owner[w]
	inFlight := slices.ContainsFunc(s.net, func(x message) bool { return x.wal == w+1 && x.relay == r })
	if inFlight {
		return false
	}
	n.Recut()
	var err error
	if o.Closed {
		err = n.Shut(o.Settled, o.Chain)
	} else {
		err = n.Applied(o.Settled, o.Chain)
	}
	m.judgeIntake(s, r, w, err)
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	return !sameIntakes(was, s.r[r].mem[w:w+1])
}

// judgeIntake acts on a divergence that a relay finds by the root's answer.
func (m *model) judgeIntake(s *state, r int8, w uint8, err error) {
	if err == nil {
		return
	}
	n := &s.r[r].mem[w]
	n.Held = nil // what contradicts the settled content can never settle
	n.CloseSession()
	if s.a.relay == r && s.a.d.wal == w+1 {
		s.newWAL()
	}
}

func (m *model) deliver(s *state, i int, keep bool) bool {
	msg := s.net[i]
	if (msg.kind == "granted" || msg.kind == "refused" || msg.kind == "answer") && !s.r[msg.relay].up {
		return false
	}
	if !keep {
		s.net = slices.Delete(s.net, i, i+1)
	}
	switch msg.kind {
	case "claim":
		m.rootClaim(s, msg)
	case "section":
		m.rootSection(s, msg)
	default:
		m.answer(s, msg)
	}
	return true
}

func (m *model) rootClaim(s *state, msg message) {
	o := &s.owner[msg.wal-1]
	reply := message{kind: "granted", wal: msg.wal, relay: msg.relay, term: msg.term, pos: s.pos}
	closes, err := s.origin.Claim(event.WALID(msg.wal), msg.opened, o.Closed && m.mut != closedReturns)
	if err != nil {
		o.Close()
	}
	if closes != 0 {
		s.owner[closes-1].Close()
	}
	if err := o.Claim(msg.term, fmt.Sprint(msg.relay)); err != nil {
		reply.kind = "refused"
	}
	reply.owner = *o
	s.net = append(s.net, reply)
}

func (m *model) rootSection(s *state, msg message) {
	o := &s.owner[msg.wal-1]
	if m.mut == noContiguity && msg.head.From != o.Settled+1 && !o.Closed {
		o.Settled, o.Chain = msg.head.From-1, msg.head.Before
	}
	v := o.Judge(msg.head)
	if v == Apply {
		for i := range len(msg.lines) {
			c := msg.lines[i : i+1]
			if c == "\x00" {
				continue
			}
			if strings.Contains(s.applied, c) {
				s.wrong = fmt.Sprintf("content %d applied twice", c[0])
			}
			if !m.held[[2]uint64{uint64(msg.wal), msg.head.From + uint64(i)}][c] {
				s.wrong = fmt.Sprintf("content %d applied at %d of WAL %d, where the agent never had it durable", c[0], msg.head.From+uint64(i), msg.wal)
			}
			s.applied += c
		}
		if !o.Closed && msg.pos != unread {
			s.pos = msg.pos
		}
	}
	s.net = append(s.net, message{kind: "answer", wal: msg.wal, relay: msg.relay, head: msg.head, owner: *o, v: v})
}

func (m *model) answer(s *state, msg message) {
	n := &s.r[msg.relay].mem[msg.wal-1]
	o := msg.owner
	var err error
	switch {
	case msg.kind == "refused" && o.Closed, msg.kind == "answer" && msg.v == SkipClosed:
		err = n.Shut(o.Settled, o.Chain)
		if err == nil && s.a.relay == msg.relay && s.a.d.wal == msg.wal && n.Live {
			s.lose(s.a.d.log)
			n.CloseSession()
			s.newWAL()
		}
	case msg.kind == "refused":
		n.Refused(msg.term)
		if n.Fenced && n.Live && s.a.relay == msg.relay && s.a.d.wal == msg.wal {
			s.a.d.epoch = max(s.a.d.epoch, o.Term.Epoch) // the agent raises its term
			s.a.session = max(s.a.session, o.Term.Session)
			s.hangUp()
		}
	case msg.kind == "granted":
		err = n.Granted(msg.term, o.Settled, o.Chain)
		if err == nil && n.Term == msg.term && s.a.relay == msg.relay && s.a.d.wal == msg.wal && !s.a.d.started {
			s.a.d.started, s.a.d.start = true, msg.pos
		}
	case msg.v == Apply:
		err = n.Applied(o.Settled, o.Chain)
	case msg.v == SkipTerm:
		n.Refused(msg.head.Term)
		err = n.Applied(o.Settled, o.Chain)
	case msg.v == RefuseDiverge:
		err = ErrDiverged
	default:
		err = n.Skipped(msg.head.To, o.Settled, o.Chain)
	}
	m.judgeIntake(s, msg.relay, msg.wal-1, err)
	s.r[msg.relay].disk = cloneIntakes(s.r[msg.relay].mem)
}
