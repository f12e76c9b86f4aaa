package custody

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pando/event"
)

func (m *model) appendBatch(s *state, a, l int8, lines string, pos uint8) {
	d := &s.a[a].d.lane[l]
	before, last := event.Hash{}, uint64(0)
	if n := len(d.log); n > 0 {
		before, last = d.log[n-1].span.After, d.log[n-1].span.Last
	}
	b := batch{span: Span{First: last + 1, Last: last + uint64(len(lines)), Before: before, After: m.chain(before, lines)}, lines: lines, pos: pos}
	d.log = append(d.log, b)
	s.a[a].out[l].Append(b.span.Last)
	if m.coarse {
		m.agentSync(s, a)
	}
}

// readTo is how many lines of a lane's file are in the log, or were settled
// before the log began.
func (d *disk) readTo(l int8) uint8 {
	if d.started == 0 {
		return unread
	}
	if n := len(d.lane[l].log); n > 0 && d.lane[l].log[n-1].pos != unread {
		return d.lane[l].log[n-1].pos
	}
	return d.lane[l].start
}

func (m *model) read(s *state, a, l int8, n int) bool {
	at := s.a[a].d.readTo(l)
	if !s.a[a].up || s.a[a].d.started == 0 || int(at)+n > m.lines {
		return false
	}
	var lines []byte
	for i := range uint8(n) {
		lines = append(lines, m.content(a, l, at+i))
	}
	m.appendBatch(s, a, l, string(lines), at+uint8(n))
	return true
}

func (m *model) push(s *state, a int8) bool {
	x := &s.a[a]
	if !x.up || int(x.pushed) >= m.pushes {
		return false
	}
	m.appendBatch(s, a, 0, string([]byte{firstPush - firstLine + m.content(a, 0, x.pushed)}), x.d.readTo(0))
	x.pushed++
	return true
}

// heartbeat gives an idle lane something to send. It matters where the root
// knows less than was settled or has the unit closed, and where a relay holds
// what a rolled-back disk does not hold any more.
func (m *model) heartbeat(s *state, a, l int8) bool {
	x := &s.a[a]
	if !x.up || x.relay < 0 || x.out[l].Settled < x.out[l].Last {
		return false
	}
	u := m.unit(x.d.wal, l)
	if o := &s.root.owner[u]; !o.Closed && o.Settled >= x.out[l].Last && len(s.r[0].mem[u].Held)+len(s.r[1].mem[u].Held) == 0 {
		return false
	}
	m.appendBatch(s, a, l, string([]byte{beat}), x.d.readTo(l))
	return true
}

func (m *model) agentSync(s *state, a int8) bool {
	x := &s.a[a]
	if !x.up {
		return false
	}
	moved := false
	for l := range m.lanes {
		log := x.d.lane[l].log
		for _, b := range log[x.synced[l]:] {
			m.remember(m.unit(x.d.wal, l), b)
			moved = true
		}
		x.synced[l] = len(log)
		x.out[l].Sync(x.out[l].Last)
	}
	return moved
}

func (m *model) remember(u int, b batch) {
	for i := range len(b.lines) {
		k := [2]uint64{uint64(u), b.span.First + uint64(i)}
		if m.held[k] == nil {
			m.held[k] = map[byte]bool{}
		}
		m.held[k][b.lines[i]] = true
	}
}

func (m *model) open(s *state, a, r int8) bool {
	x := &s.a[a]
	if !x.up || x.relay >= 0 || !s.r[r].up || s.opens == 0 && (r > 0 || a > 0) { // they are alike
		return false
	}
	x.session++
	s.opens++
	t := Term{Epoch: x.d.epoch, Session: x.session}
	var trial [maxLanes]Intake
	for l := range m.lanes {
		n := &trial[l]
		*n = s.r[r].mem[m.unit(x.d.wal, l)]
		offer := x.out[l].Offer()
		offer.Started = x.d.started
		if m.mut == resumeElsewhere {
			offer.From = max(offer.From, x.durable[l]+1)
		}
		resume, err := n.OpenSession(t, s.opens, offer)
		if errors.Is(err, ErrOldTerm) {
			x.d.epoch = max(x.d.epoch, n.Term.Epoch) // raised, and tried again
			x.session = max(x.session, n.Term.Session)
			return true
		}
		if err == nil {
			err = x.out[l].Opened(resume)
		}
		if errors.Is(err, ErrDiverged) || errors.Is(err, ErrClosed) {
			m.giveUp(s, a)
			return true
		}
		if err != nil {
			s.wrong = "open: " + err.Error()
			return true
		}
	}
	for l := range m.lanes {
		s.r[r].mem[m.unit(x.d.wal, l)] = trial[l]
	}
	x.relay = r
	m.syncIfCoarse(s, r)
	return true
}

func (m *model) send(s *state, a, l int8) bool {
	x := &s.a[a]
	if x.relay < 0 {
		return false
	}
	for _, b := range x.d.lane[l].log {
		if b.span.First != x.out[l].Next {
			continue
		}
		if b.lines == "" {
			s.wrong = fmt.Sprintf("resume at %d, which was trimmed", b.span.First)
			return true
		}
		at := x.relay
		r := &s.r[at]
		r.batches = append(r.batches, b)
		sp := b.span
		sp.Pos = uint64(len(r.batches))
		n := m.intake(s, a, l)
		if err := n.Add(sp); errors.Is(err, ErrDiverged) {
			m.giveUp(s, a)
			return true
		} else if err != nil {
			s.wrong = "send: " + err.Error()
			return true
		}
		x.out[l].Sent(b.span.Last)
		n.Vouch(x.out[l].Synced)
		m.stepIntake(n)
		m.syncIfCoarse(s, at)
		return true
	}
	return false
}

func (m *model) stepIntake(n *Intake) {
	if m.mut == stepUnvouched {
		real := n.Vouched
		n.Vouched = n.End
		n.Step()
		n.Vouched = real
		return
	}
	n.Step()
}

func (m *model) vouch(s *state, a, l int8) bool {
	x := &s.a[a]
	if x.relay < 0 || m.intake(s, a, l).Vouched >= x.out[l].Synced {
		return false
	}
	n := m.intake(s, a, l)
	n.Vouch(x.out[l].Synced)
	m.stepIntake(n)
	m.syncIfCoarse(s, x.relay)
	return true
}

// ack carries both acknowledgements; the relay's outputs wait for its fsync.
func (m *model) ack(s *state, a int8) bool {
	x := &s.a[a]
	if x.relay < 0 {
		return false
	}
	was := x.out
	for l := range m.lanes {
		n := &s.r[x.relay].disk[m.unit(x.d.wal, l)]
		if n.Opened != m.intake(s, a, l).Opened {
			continue
		}
		if err := x.out[l].Ack(n.Durable(), n.Settled); errors.Is(err, ErrDiverged) {
			m.giveUp(s, a)
			return true
		} else if err != nil {
			s.wrong = "ack: " + err.Error()
		}
		if m.mut == resumeElsewhere {
			x.durable[l] = x.out[l].Durable
		}
	}
	return x.out != was || s.wrong != ""
}

func (m *model) trim(s *state, a int8) bool {
	x := &s.a[a]
	moved := false
	for l := range m.lanes {
		d, to := &x.d.lane[l], x.out[l].MayTrim()
		if m.mut == trimOnDurable {
			to = max(to, x.out[l].Durable)
		}
		if !x.up || to <= d.trimmed {
			continue
		}
		if top := s.top[m.unit(x.d.wal, l)]; m.mut == "" && to > top {
			s.wrong = fmt.Sprintf("trimmed to %d, settled is %d", to, top)
		}
		log := slices.Clone(d.log)
		for i := range log {
			if log[i].span.Last <= to {
				log[i].lines = ""
			}
		}
		d.log, d.trimmed, d.settled = log, to, x.out[l].Settled
		x.out[l].Trimmed(to + 1)
		moved = true
	}
	return moved
}

func (m *model) agentMoves(s *state, a int8) bool {
	if s.a[a].relay < 0 {
		return false
	}
	m.hangUp(s, a)
	return true
}

func (m *model) agentCrash(s *state, a int8) bool {
	x := &s.a[a]
	if !x.up {
		return false
	}
	m.hangUp(s, a)
	for l := range m.lanes {
		d := &x.d.lane[l]
		s.lose(d.log[x.synced[l]:])
		d.log = slices.Clip(d.log[:x.synced[l]])
	}
	x.up = false
	return true
}

// lose takes note of the syslog lines of a log that a fault took, unless they
// are settled or a relay's disk keeps them.
func (s *state) lose(log []batch) {
	for _, b := range log {
		if b.lines != "" && b.lines[0] >= firstPush && !strings.Contains(s.root.applied+s.lost, b.lines) && !s.atRelay(b, -1) {
			s.lost += b.lines
		}
	}
}

// atRelay reports whether the disk of a relay other than but holds a batch
// that its agent's disk once vouched for.
func (s *state) atRelay(b batch, but int8) bool {
	for r := range s.r {
		for _, n := range s.r[r].disk {
			for _, sp := range n.Held {
				if int8(r) != but && sp.After == b.span.After && sp.Last <= n.Vouched && s.r[r].batches[sp.Pos-1].lines == b.lines {
					return true
				}
			}
		}
	}
	return false
}

// atAgent reports whether an agent's log holds a batch.
func (s *state) atAgent(b batch) bool {
	for a := range s.a {
		for l := range s.a[a].d.lane {
			if slices.ContainsFunc(s.a[a].d.lane[l].log, func(x batch) bool { return x.lines == b.lines && x.span == b.span }) {
				return true
			}
		}
	}
	return false
}

func (m *model) agentStart(s *state, a int8) bool {
	x := &s.a[a]
	if x.up {
		return false
	}
	x.up, x.session = true, 0
	if x.d.wal == 0 {
		m.newWAL(s, a)
		return true
	}
	x.d.epoch++
	for l := range m.lanes {
		d, last := &x.d.lane[l], uint64(0)
		if n := len(d.log); n > 0 {
			last = d.log[n-1].span.Last
		}
		x.synced[l], x.out[l] = len(d.log), NewOutbox(d.trimmed+1, last, d.settled)
	}
	return true
}

func (m *model) agentDiskLost(s *state, a int8) bool {
	x := &s.a[a]
	if !x.up {
		return false
	}
	m.agentCrash(s, a)
	for l := range m.lanes {
		s.lose(x.d.lane[l].log)
	}
	x.d, x.broken = disk{}, true
	return true
}

func (m *model) agentImage(s *state, a int8) bool {
	x := &s.a[a]
	synced := 0
	for l := range m.lanes {
		if x.synced[l] != len(x.d.lane[l].log) {
			return false
		}
		synced += x.synced[l]
	}
	if !x.up || x.saved != nil || synced == 0 {
		return false
	}
	d := x.d
	x.saved = &d
	return true
}

func (m *model) agentRolledBack(s *state, a int8) bool {
	x := &s.a[a]
	if !x.up || x.saved == nil {
		return false
	}
	m.agentCrash(s, a)
	for c := range x.pushed { // accepted under sequence numbers that are given twice
		s.lost += string([]byte{firstPush - firstLine + m.content(a, 0, c)})
	}
	x.d, x.saved, x.broken = *x.saved, nil, true
	for l := range m.lanes {
		x.synced[l] = len(x.d.lane[l].log)
	}
	return true
}
