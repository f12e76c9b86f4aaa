package custody

import (
	"fmt"
	"slices"
)

// step is one transition: do changes the state and reports whether it applied.
// If it did not, it left the state as it was.
type step struct {
	name  string
	fault bool
	do    func(s *state) bool
}

func (m *model) steps(s *state) []step {
	var out []step
	add := func(do func(s *state) bool, name string, args ...any) {
		out = append(out, step{fmt.Sprintf(name, args...), false, do})
	}
	fault := func(do func(s *state) bool, name string, args ...any) {
		out = append(out, step{fmt.Sprintf(name, args...), true, do})
	}
	for a := range m.agents {
		m.agentSteps(a, add, fault)
	}
	for r := range int8(relays) {
		m.relaySteps(s, r, add, fault)
	}
	if m.middle {
		add(m.forward, "middle forwards")
		add(m.midStart, "middle starts")
		for _, vanish := range []bool{false, true} {
			fault(func(s *state) bool { return m.midCrash(s, vanish) }, "middle crashes, messages vanish: %v", vanish)
			fault(func(s *state) bool { return m.midLosesRoot(s, vanish) }, "middle loses the root, messages vanish: %v", vanish)
		}
	}
	if m.restores {
		add(m.rootImage, "snapshot")
		fault(func(s *state) bool { return m.rootRestored(s, false) }, "root restored")
		fault(func(s *state) bool { return m.rootRestored(s, true) }, "root begins anew")
	}
	for i := range s.net {
		x := &s.net[i]
		add(func(s *state) bool { return m.deliver(s, i, false) }, "deliver %s of %d by %d, leg %d", x.kind, x.wal, x.relay, x.hop)
		if !m.middle || x.hop == toRoot {
			fault(func(s *state) bool { return m.deliver(s, i, true) }, "double %s of %d", x.kind, x.wal)
		}
		if !m.middle {
			fault(func(s *state) bool { s.net = slices.Delete(s.net, i, i+1); return true }, "lose %s of %d", x.kind, x.wal)
		}
	}
	return out
}

type adder func(do func(s *state) bool, name string, args ...any)

func (m *model) agentSteps(a int8, add, fault adder) {
	for l := range m.lanes {
		for n := 1; n <= m.batch; n++ {
			add(func(s *state) bool { return m.read(s, a, l, n) }, "agent %d reads %d into lane %d", a, n, l)
		}
		add(func(s *state) bool { return m.send(s, a, l) }, "agent %d sends of lane %d", a, l)
		if !m.coarse {
			add(func(s *state) bool { return m.vouch(s, a, l) }, "agent %d vouches for lane %d", a, l)
		}
	}
	add(func(s *state) bool { return m.push(s, a) }, "agent %d gets a push", a)
	if !m.coarse {
		add(func(s *state) bool { return m.agentSync(s, a) }, "agent %d syncs", a)
	}
	for r := range int8(relays) {
		add(func(s *state) bool { return m.open(s, a, r) }, "agent %d opens at %d", a, r)
	}
	add(func(s *state) bool { return m.ack(s, a) }, "agent %d is told", a)
	add(func(s *state) bool { return m.trim(s, a) }, "agent %d trims", a)
	add(func(s *state) bool { return m.agentStart(s, a) }, "agent %d starts", a)
	fault(func(s *state) bool { return m.agentMoves(s, a) }, "agent %d moves", a)
	fault(func(s *state) bool { return m.agentCrash(s, a) }, "agent %d crashes", a)
	if m.disks {
		fault(func(s *state) bool { return m.agentDiskLost(s, a) }, "agent %d loses its disk", a)
	}
	if m.rollbacks {
		add(func(s *state) bool { return m.agentImage(s, a) }, "image of agent %d", a)
		fault(func(s *state) bool { return m.agentRolledBack(s, a) }, "agent %d rolled back", a)
	}
}

func (m *model) relaySteps(s *state, r int8, add, fault adder) {
	if !m.coarse {
		add(func(s *state) bool { return m.relaySync(s, r) }, "relay %d syncs", r)
	}
	for w := range uint8(len(s.of)) {
		add(func(s *state) bool { return m.claim(s, r, w) }, "relay %d claims %d", r, w+1)
		for l := range m.lanes {
			add(func(s *state) bool { return m.cut(s, r, w, l) }, "relay %d cuts lane %d of %d", r, l, w+1)
			add(func(s *state) bool { return m.ask(s, r, w, l) }, "relay %d asks of lane %d of %d", r, l, w+1)
		}
	}
	fault(func(s *state) bool { return m.relayCrash(s, r, false) }, "relay %d crashes", r)
	if m.disks {
		fault(func(s *state) bool { return m.relayCrash(s, r, true) }, "relay %d loses its disk", r)
	}
	add(func(s *state) bool { return s.relayStart(r) }, "relay %d starts", r)
	if m.middle {
		fault(func(s *state) bool { return m.linkLost(s, r) }, "relay %d loses the middle", r)
	}
}

func (s *state) relayStart(r int8) bool {
	ok := !s.r[r].up
	s.r[r].up = true
	return ok
}

func (m *model) midStart(s *state) bool {
	ok := !s.mid.up
	s.mid.up = true
	return ok
}

// deliver lets a message arrive; keep leaves a copy of it on its way.
func (m *model) deliver(s *state, i int, keep bool) bool {
	msg := s.net[i]
	if msg.hop == toRelay && !s.r[msg.relay].up || (msg.hop == toMiddle || msg.hop == fromRoot) && !s.mid.up {
		return false
	}
	if !keep {
		s.net = slices.Delete(s.net, i, i+1)
	}
	switch msg.hop {
	case toRelay:
		m.answered(s, msg)
	case toMiddle:
		m.take(s, msg)
	case fromRoot:
		m.passDown(s, msg)
	default:
		reply := message{}
		if msg.kind == "claim" {
			reply = m.rootClaim(s, msg)
		} else {
			reply = m.rootSection(s, msg)
		}
		switch {
		case !m.middle:
			reply.hop = toRelay
			s.net = append(s.net, reply)
		case msg.mid == s.mid.life:
			reply.hop = fromRoot
			s.net = append(s.net, reply)
		}
	}
	return true
}

// fair takes the first step of a fixed order of preference that changes
// something. None of them is a fault.
func (m *model) fair(s *state) bool {
	big := *m
	big.messages = 100
	for a := range m.agents {
		if big.agentStart(s, a) {
			return true
		}
	}
	if s.relayStart(0) || s.relayStart(1) || big.midStart(s) || len(s.net) > 0 && big.deliver(s, 0, false) || m.middle && big.forward(s) {
		return true
	}
	for a := range m.agents {
		if big.agentSync(s, a) {
			return true
		}
	}
	if big.relaySync(s, 0) || big.relaySync(s, 1) {
		return true
	}
	for a := range m.agents {
		if big.open(s, a, 0) || big.push(s, a) {
			return true
		}
		for l := range m.lanes {
			if big.read(s, a, l, 1) || big.send(s, a, l) || big.vouch(s, a, l) {
				return true
			}
		}
		if big.ack(s, a) {
			return true
		}
	}
	for r := range int8(relays) {
		for w := range uint8(len(s.of)) {
			if big.claim(s, r, w) {
				return true
			}
			for l := range m.lanes {
				if big.cut(s, r, w, l) || big.ask(s, r, w, l) {
					return true
				}
			}
		}
	}
	for a := range m.agents {
		for l := range m.lanes {
			if big.heartbeat(s, a, l) {
				return true
			}
		}
	}
	return false
}
