package transport

import (
	"encoding/binary"
	"errors"
	"time"
)

// read deals with the frames of one connection until it fails or the session
// is dead.
func (s *Session) read(lane Lane) error {
	l := s.links[lane]
	data, ctl := s.metrics.traffic(lane, "received"), s.metrics.traffic(control, "received")
	for {
		f, err := l.frames.next()
		if err != nil {
			if errors.Is(err, ErrProtocol) {
				return err
			}
			return lost("read from", s, err)
		}
		select {
		case <-s.done:
			return nil
		default:
		}
		if l.frames.took() {
			l.heard.Store(int64(time.Since(s.started)))
		}
		if err := s.opts.Stamp.Receive(f.hlc); err != nil {
			return violation(CodeClock, "%s from %s: %w", f.typ, s.peer.Node(), err)
		}
		switch {
		case f.typ == frameData:
			err = s.chunk(lane, f, data)
		case f.typ == frameControl && lane == LaneCritical:
			err = s.chunk(control, f, ctl)
		default:
			err = s.own(lane, f)
		}
		if err != nil {
			return err
		}
	}
}

// chunk adds a frame to the message its channel is receiving.
func (s *Session) chunk(channel Lane, f frame, t traffic) error {
	in, piece := s.inboxes[channel], f.payload
	if !in.open {
		if len(piece) < prefixSize {
			return violation(CodeMalformed, "%s of %d bytes begins a message: %w", f.typ, len(piece), ErrProtocol)
		}
		total := binary.BigEndian.Uint32(piece[1:])
		if total > MaxMessage {
			return violation(CodeOversize, "%s message of %d bytes from %s, limit %d: %w", channel, total, s.peer.Node(), MaxMessage, ErrProtocol)
		}
		if !in.charge(Credit(total) + messageOverhead) {
			return violation(CodeCredit, "%s message of %d bytes from %s without credit: %w", channel, total, s.peer.Node(), ErrProtocol)
		}
		in.partial, in.have, in.open = Message{Kind: piece[0], Body: make([]byte, total)}, 0, true
		piece = piece[prefixSize:]
	}
	body := in.partial.Body
	// An empty chunk before the last would let a peer send for ever.
	if len(piece) > len(body)-in.have || f.more && len(piece) == 0 || f.more == (in.have+len(piece) == len(body)) {
		return violation(CodeMalformed, "%s message of %d bytes from %s: chunk of %d after %d, more %t: %w",
			channel, len(body), s.peer.Node(), len(piece), in.have, f.more, ErrProtocol)
	}
	in.have += copy(body[in.have:], piece)
	if !f.more {
		t.count(body)
		in.push(in.partial)
		in.partial, in.open = Message{}, false
	}
	return nil
}

// own deals with the session's own frames.
func (s *Session) own(lane Lane, f frame) error {
	l := s.links[lane]
	switch {
	case f.more:
	case f.typ == framePing && !s.dialer:
		t1, err := decodePing(f.payload)
		if err != nil {
			return err
		}
		l.out.pong(s.opts.Time.arrive(t1))
		return nil
	case f.typ == framePong && s.dialer:
		p, err := decodePong(f.payload)
		if err != nil {
			return err
		}
		// The bulk connection's exchanges stand behind bulk data: they show
		// that it lives, and are no measure of time.
		if l.pings.take(p.t1) && lane == LaneCritical {
			s.sample(p, s.opts.Time.Now())
		}
		return nil
	case f.typ == frameCredit && lane == LaneCritical:
		return s.credit(f.payload)
	case f.typ == frameClose && lane == LaneCritical:
		refusal, err := decodeRefusal(f.payload)
		if err != nil {
			return err
		}
		return &CloseError{Code: refusal.Code, Reason: refusal.Reason, Remote: true}
	}
	return violation(CodeMalformed, "%s from %s in a session, on the %s connection: %w", f.typ, s.peer.Node(), lane, ErrProtocol)
}

func (s *Session) sample(p pong, t4 int64) {
	sample := Sample{T1: p.t1, T2: p.t2, T3: p.t3, T4: t4, Bound: p.bound, OK: p.ok}
	s.rtt.Store(sample.RTT())
	s.metrics.rtt.Observe(time.Duration(sample.RTT()).Seconds())
	if s.opts.Sample != nil {
		s.opts.Sample(s, sample)
	}
}

func (s *Session) credit(b []byte) error {
	if len(b) != 8*channels {
		return violation(CodeMalformed, "CREDIT of %d bytes from %s, want %d: %w", len(b), s.peer.Node(), 8*channels, ErrProtocol)
	}
	for lane := range Lane(channels) {
		n := binary.BigEndian.Uint64(b[8*lane:])
		if n > uint64(maxCredit) || n > 0 && !s.accounts[lane].give(Credit(n)) {
			return violation(CodeCredit, "CREDIT of %d on %s from %s: %w", n, lane, s.peer.Node(), ErrProtocol)
		}
	}
	return nil
}
