package custody

import "slices"

// hop is the leg of its way on which a message is.
type hop uint8

const (
	toRoot   hop = iota // to the root, from the relay below it
	toRelay             // to the relay that asked
	toMiddle            // up, to the middle relay
	fromRoot            // down, to the middle relay
)

// middle is a relay between the others and the root. It keeps no position of
// any unit: what it has in hand is gone with it, and with its session upwards.
type middle struct {
	up    bool
	life  uint8 // number of its session to the root
	ids   uint8
	queue []passed // sections that are not passed on yet
	wait  []passed // sections and claims without an answer
}

// passed is a section or claim in the middle relay's hands.
type passed struct {
	msg    message
	joined Joined
}

func (x *middle) clone() middle {
	c := *x
	c.queue, c.wait = slices.Clone(x.queue), slices.Clone(x.wait)
	for _, list := range [][]passed{c.queue, c.wait} {
		for i := range list {
			list[i].joined.Ends = slices.Clip(list[i].joined.Ends)
		}
	}
	return c
}

// waits reports whether the same claim is under way already.
func (x *middle) waits(msg *message) bool {
	return slices.ContainsFunc(x.wait, func(p passed) bool {
		return p.msg.kind == msg.kind && p.msg.wal == msg.wal && p.msg.relay == msg.relay && p.msg.link == msg.link && p.msg.term == msg.term
	})
}

// take has the middle relay take a message from below.
func (m *model) take(s *state, msg message) {
	x := &s.mid
	if msg.kind == "claim" {
		m.pass(s, passed{msg: msg})
		return
	}
	if m.mut == answersEarly {
		early := msg
		early.kind, early.hop, early.v = "answer", toRelay, Apply
		early.owner[0] = Owner{Term: msg.head.Term, Settled: msg.head.To, Chain: msg.head.After}
		s.net = append(s.net, early)
	}
	if n := len(x.queue); n > 0 {
		last, h := &x.queue[n-1], msg.head
		switch m.mut {
		case joinsTerms:
			h.Term = last.joined.Head.Term
		case joinsRelays:
			h.Term, h.Relay = last.joined.Head.Term, last.joined.Head.Relay
		case joinsGaps:
			if h.Unit == last.joined.Head.Unit && h.Term == last.joined.Head.Term {
				h.From, h.Before, h.Resumes = last.joined.Head.To+1, last.joined.Head.After, false
			}
		}
		if last.msg.link == msg.link && last.joined.Add(h) {
			last.msg.lines += msg.lines
			last.msg.pos = msg.pos
			return
		}
	}
	p := passed{msg: msg}
	p.joined.Add(msg.head)
	x.queue = append(x.queue, p)
}

// forward passes on the section that waits longest.
func (m *model) forward(s *state) bool {
	if !s.mid.up || len(s.mid.queue) == 0 || len(s.net) >= m.messages {
		return false
	}
	p := s.mid.queue[0]
	s.mid.queue = slices.Delete(s.mid.queue, 0, 1)
	p.msg.head = p.joined.Head
	m.pass(s, p)
	return true
}

func (m *model) pass(s *state, p passed) {
	x := &s.mid
	x.ids++
	p.msg.hop, p.msg.id, p.msg.mid = toRoot, x.ids, x.life
	s.net = append(s.net, p.msg)
	p.msg.lines = ""
	x.wait = append(x.wait, p)
}

// passDown gives an answer to the relay that asked, or to each section that
// was joined. One that nobody waits for any more is dropped.
func (m *model) passDown(s *state, msg message) {
	x := &s.mid
	at := slices.IndexFunc(x.wait, func(p passed) bool { return p.msg.id == msg.id && msg.mid == x.life })
	if at < 0 {
		return
	}
	p := x.wait[at]
	x.wait = slices.Delete(x.wait, at, at+1)
	if p.msg.link != s.r[p.msg.relay].link || m.mut == dropsSkips && msg.v != Apply || m.mut == answersEarly && msg.kind == "answer" {
		return
	}
	msg.hop, msg.relay, msg.id, msg.mid = toRelay, p.msg.relay, 0, 0
	if msg.kind != "answer" {
		s.net = append(s.net, msg)
		return
	}
	ends := p.joined.Ends
	if m.mut == answersLast {
		ends = ends[len(ends)-1:]
	}
	for _, to := range ends {
		msg.head.To = to
		s.net = append(s.net, msg)
	}
}

// midLosesRoot is the loss of the middle relay's session upwards. It ends those
// from below: whoever cut a section cuts it again. What is on its way to the
// root may still arrive there.
func (m *model) midLosesRoot(s *state, vanish bool) bool {
	if !s.mid.up {
		return false
	}
	x := &s.mid
	x.life++
	x.queue, x.wait = nil, nil
	s.net = slices.DeleteFunc(s.net, func(y message) bool { return y.hop == fromRoot || vanish && y.hop == toRoot })
	for r := range int8(relays) {
		m.cutOff(s, r)
	}
	return true
}

func (m *model) midCrash(s *state, vanish bool) bool {
	ok := m.midLosesRoot(s, vanish)
	s.mid.up = false
	return ok
}

// linkLost is the loss of the session between a relay and the middle relay,
// which passes on what it took before.
func (m *model) linkLost(s *state, r int8) bool {
	if !s.r[r].up || !s.mid.up {
		return false
	}
	m.cutOff(s, r)
	return true
}
