package input

import (
	"context"
	"net"
	"time"
)

const (
	// quietAtLeast is how long a connection has been quiet before it may be
	// closed for another: with more senders that speak than places, closing
	// one that is only between two messages would lose what it sends next.
	quietAtLeast = int64(time.Second)

	// crowdEvery is the least time between two log lines about connections
	// that are too many.
	crowdEvery = 10 * time.Second
)

// reader is what is known of one socket. Its fields but the first two belong
// to the source's mutex.
type reader struct {
	conn   *net.TCPConn // nil for UDP
	answer chan bool    // capacity 1: whether it left when it was asked to

	idle    seen  // when it last had nothing complete that was not Put
	busy    bool  // it has something now
	partial bool  // it holds a part of a message
	spoke   int64 // when bytes last came, or it was accepted; monotonic
	leaving bool  // it was asked to make room and has not answered
}

// place finds a place for a connection. Where there is none, the connection
// that has been quiet longest and holds no part of a message is closed; if
// none may be, the new one is refused and the result nil.
func (s *syslogSource) place(ctx context.Context, conn *net.TCPConn) *reader {
	remote := conn.RemoteAddr().String()
	for {
		if r := s.admit(conn); r != nil {
			return r
		}
		victim := s.quietest()
		if victim == nil {
			s.counts.count(lostConnection, 1)
			s.crowded("connection refused: too many", "remote", remote)
			return nil
		}
		_ = victim.conn.SetReadDeadline(time.Unix(1, 0)) // it waits for bytes; wake it
		select {
		case left := <-victim.answer:
			if left {
				s.counts.count(closedIdle, 1)
				s.crowded("idle connection closed to make room", "remote", remote, "closed", victim.conn.RemoteAddr().String())
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *syslogSource) crowded(message string, attrs ...any) {
	if unlogged, ok := s.crowd.Allow(time.Now()); ok {
		s.log.Warn(message, append(attrs, "max_connections", s.spec.MaxConnections, "unlogged", unlogged)...)
	}
}

// admit takes a place for a socket, or returns nil. What it sends came after
// the listener last had nobody waiting.
func (s *syslogSource) admit(conn *net.TCPConn) *reader {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.readers) >= s.spec.MaxConnections {
		return nil
	}
	r := &reader{conn: conn, answer: make(chan bool, 1), idle: s.accept, busy: true, spoke: now}
	s.readers[r] = struct{}{}
	return r
}

// quietest is the connection that is asked to make room, or nil.
func (s *syslogSource) quietest() *reader {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var victim *reader
	for r := range s.readers {
		if r.busy || r.partial || now-r.spoke < quietAtLeast {
			continue
		}
		if victim == nil || r.spoke < victim.spoke {
			victim = r
		}
	}
	if victim != nil {
		victim.leaving = true
	}
	return victim
}

// asked reports whether a socket was asked to make room.
func (s *syslogSource) asked(r *reader) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.leaving
}

func (s *syslogSource) dismiss(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
	r.reply(true)
}

// reply answers who asked for room, if somebody did.
func (r *reader) reply(left bool) {
	if r.leaving {
		r.leaving = false
		r.answer <- left
	}
}

// idle notes that a socket had nothing complete left at that time.
func (s *syslogSource) idle(r *reader, at int64, partial bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.idle, r.busy, r.partial = seen{at, true}, false, partial
	s.advance()
}

// busy notes that bytes came. Who speaks is not asked to leave.
func (s *syslogSource) busy(r *reader) seen {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.busy, r.spoke = true, now
	r.reply(false)
	return r.idle
}

func (s *syslogSource) acceptIdle(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accept = seen{at, true}
	s.advance()
}

// advance raises asOf to the least of what the sockets know.
func (s *syslogSource) advance() {
	least := s.accept
	for r := range s.readers {
		if !r.idle.known || !least.known {
			return
		}
		least.at = min(least.at, r.idle.at)
	}
	if least.known {
		s.asOf = max(s.asOf, least.at)
	}
}
