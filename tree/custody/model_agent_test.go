package custody

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pando/event"
)

func (m *model) appendBatch(s *state, lines string, pos uint8) {
	d := &s.a.d
	before, last := event.Hash{}, uint64(0)
	if n := len(d.log); n > 0 {
		before, last = d.log[n-1].span.After, d.log[n-1].span.Last
	}
	b := batch{span: Span{First: last + 1, Last: last + uint64(len(lines)), Before: before, After: m.chain(before, lines)}, lines: lines, pos: pos}
	d.log = append(d.log, b)
	s.a.out.Append(b.span.Last)
}

// readTo is how many lines of the file are in the log, or were settled before
// the log began.
func (d *disk) readTo() uint8 {
	if !d.started {
		return unread
	}
	if n := len(d.log); n > 0 && d.log[n-1].pos != unread {
		return d.log[n-1].pos
	}
	return d.start
}

func (m *model) read(s *state, n int) bool {
	at := s.a.d.readTo()
	if !s.a.up || !s.a.d.started || int(at)+n > m.lines {
		return false
	}
	lines := ""
	for i := range n {
		lines += string(rune(firstLine + int(at) + i))
	}
	m.appendBatch(s, lines, at+uint8(n))
	return true
}

func (m *model) push(s *state) bool {
	if !s.a.up || int(s.a.pushed) >= m.pushes {
		return false
	}
	m.appendBatch(s, string([]byte{firstPush + s.a.pushed}), s.a.d.readTo())
	s.a.pushed++
	return true
}

func (m *model) agentSync(s *state) bool {
	if !s.a.up || s.a.synced == len(s.a.d.log) {
		return false
	}
	for _, b := range s.a.d.log[s.a.synced:] {
		m.remember(s.a.d.wal, b)
	}
	s.a.synced = len(s.a.d.log)
	s.a.out.Sync(s.a.out.Last)
	return true
}

func (m *model) remember(wal uint8, b batch) {
	for i := range len(b.lines) {
		k := [2]uint64{uint64(wal), b.span.First + uint64(i)}
		if m.held[k] == nil {
			m.held[k] = map[string]bool{}
		}
		m.held[k][b.lines[i:i+1]] = true
	}
}

func (m *model) open(s *state, r int8) bool {
	if !s.a.up || s.a.relay >= 0 || !s.r[r].up || r == 1 && s.opens == 0 { // the relays are alike
		return false
	}
	n := s.intake(r)
	s.a.session++
	s.opens++
	t := Term{Epoch: s.a.d.epoch, Session: s.a.session}
	offer := s.a.out.Offer()
	if m.mut == resumeElsewhere {
		offer.From = max(offer.From, s.a.durable+1)
	}
	resume, err := n.OpenSession(t, s.opens, offer)
	if errors.Is(err, ErrOldTerm) {
		s.a.d.epoch = max(s.a.d.epoch, n.Term.Epoch) // raised, and tried again
		s.a.session = max(s.a.session, n.Term.Session)
		return true
	}
	if err == nil {
		err = s.a.out.Opened(resume)
	}
	if errors.Is(err, ErrDiverged) || errors.Is(err, ErrClosed) {
		n.CloseSession()
		s.newWAL()
		return true
	}
	if err != nil {
		s.wrong = "open: " + err.Error()
		return true
	}
	s.a.relay = r
	return true
}

func (m *model) send(s *state) bool {
	if s.a.relay < 0 {
		return false
	}
	for _, b := range s.a.d.log {
		if b.span.First != s.a.out.Next {
			continue
		}
		if b.lines == "" {
			s.wrong = fmt.Sprintf("resume at %d, which was trimmed", b.span.First)
			return true
		}
		r := &s.r[s.a.relay]
		r.batches = append(r.batches, b)
		sp := b.span
		sp.Pos = uint64(len(r.batches))
		n := s.intake(s.a.relay)
		if err := n.Add(sp); errors.Is(err, ErrDiverged) {
			n.CloseSession()
			s.newWAL()
			return true
		} else if err != nil {
			s.wrong = "send: " + err.Error()
			return true
		}
		s.a.out.Sent(b.span.Last)
		n.Vouch(s.a.out.Synced)
		m.stepIntake(n)
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

func (m *model) vouch(s *state) bool {
	if s.a.relay < 0 || s.intake(s.a.relay).Vouched >= s.a.out.Synced {
		return false
	}
	n := s.intake(s.a.relay)
	n.Vouch(s.a.out.Synced)
	m.stepIntake(n)
	return true
}

// ack carries both acknowledgements; the relay's outputs wait for its fsync.
func (m *model) ack(s *state) bool {
	if s.a.relay < 0 {
		return false
	}
	n := &s.r[s.a.relay].disk[s.a.d.wal-1]
	if n.Term != s.intake(s.a.relay).Term {
		return false
	}
	was := s.a.out
	if err := s.a.out.Ack(n.Durable(), n.Settled); errors.Is(err, ErrDiverged) {
		s.hangUp()
		s.newWAL()
		return true
	} else if err != nil {
		s.wrong = "ack: " + err.Error()
	}
	if m.mut == resumeElsewhere {
		s.a.durable = s.a.out.Durable
	}
	return s.a.out != was || s.wrong != ""
}

func (m *model) trim(s *state) bool {
	to := s.a.out.MayTrim()
	if m.mut == trimOnDurable {
		to = max(to, s.a.out.Durable)
	}
	if !s.a.up || to <= s.a.d.trimmed {
		return false
	}
	if m.mut == "" && to > s.owner[s.a.d.wal-1].Settled {
		s.wrong = fmt.Sprintf("trimmed to %d, settled is %d", to, s.owner[s.a.d.wal-1].Settled)
	}
	log := slices.Clone(s.a.d.log)
	for i := range log {
		if log[i].span.Last <= to {
			log[i].lines = ""
		}
	}
	s.a.d.log, s.a.d.trimmed, s.a.d.settled = log, to, s.a.out.Settled
	s.a.out.Trimmed(to + 1)
	return true
}

func (m *model) agentCrash(s *state) bool {
	if !s.a.up {
		return false
	}
	s.lose(s.a.d.log[s.a.synced:])
	s.hangUp()
	s.a.d.log = slices.Clip(s.a.d.log[:s.a.synced])
	s.a.up = false
	return true
}

// lose takes note of the syslog lines of a log that a fault took, unless they
// are settled or a relay's disk keeps them.
func (s *state) lose(log []batch) {
	for _, b := range log {
		if b.lines != "" && b.lines[0] >= firstPush && !strings.Contains(s.applied+s.lost, b.lines) && !s.atRelay(b, -1) {
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

func (m *model) agentStart(s *state) bool {
	if s.a.up {
		return false
	}
	s.a.up, s.a.session = true, 0
	if s.a.d.wal == 0 {
		s.newWAL()
		return true
	}
	s.a.d.epoch++
	last := uint64(0)
	if n := len(s.a.d.log); n > 0 {
		last = s.a.d.log[n-1].span.Last
	}
	s.a.synced = len(s.a.d.log)
	s.a.out = NewOutbox(s.a.d.trimmed+1, last, s.a.d.settled)
	return true
}

func (m *model) agentDiskLost(s *state) bool {
	if !s.a.up {
		return false
	}
	m.agentCrash(s)
	s.lose(s.a.d.log)
	s.a.d = disk{}
	return true
}

func (m *model) agentRolledBack(s *state) bool {
	if !s.a.up || s.a.saved == nil {
		return false
	}
	m.agentCrash(s)
	for c := range s.a.pushed { // accepted under sequence numbers that are given twice
		s.lost += string([]byte{firstPush + c})
	}
	s.a.d, s.a.saved = *s.a.saved, nil
	s.a.synced = len(s.a.d.log)
	return true
}
