package input

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"pando/event"
)

// messages makes items of one socket's messages. Its owner is the socket's
// goroutine.
type messages struct {
	s   *syslogSource
	x   *extractor
	out outbox
}

func (s *syslogSource) newMessages() *messages {
	return &messages{
		s: s, x: newExtractor(s.rules, s.counts, s.wall),
		out: outbox{sink: s.sink, stamps: s.stamps, counts: s.counts},
	}
}

// take adds one message, and puts what has gathered when it is enough.
func (m *messages) take(ctx context.Context, l *line, since seen) error {
	e, producer := m.x.event(l)
	at := event.Position{Source: m.s.spec.Name}
	m.out.add(Item{Event: e, Position: at}, len(l.bytes)+int(l.cut), since, producer)
	if !m.out.full() {
		return nil
	}
	return m.flush(ctx)
}

// flush puts what has gathered. One reader at a time: the clocks of producers
// are shared, and the sink takes one call of a source at a time.
func (m *messages) flush(ctx context.Context) error {
	m.s.putting.Lock()
	defer m.s.putting.Unlock()
	return m.out.flush(ctx)
}

// serve reads one connection until it ends. The only errors are the sink's.
func (s *syslogSource) serve(ctx context.Context, conn *net.TCPConn, r *reader) error {
	defer s.dismiss(r)
	defer conn.Close()
	unlink := context.AfterFunc(ctx, func() { conn.Close() })
	defer unlink()
	remote, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		remote = conn.RemoteAddr().String()
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	m := s.newMessages()
	f := framer{limit: s.spec.MaxLine}
	chunk := make([]byte, socketBytes)
	var began seen // when the incomplete message began, for its interval
	last := s.clock()
	for {
		if err := conn.SetReadDeadline(time.Now().Add(probeEvery)); err != nil {
			return nil
		}
		n, err := readSocket(raw, chunk, s.clock, func(at int64) { s.idle(r, at) })
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if f.partial() && s.clock()-last > stallAfter {
				err = errStalled
			} else {
				continue
			}
		}
		if n > 0 {
			since := s.busy(r)
			first := since
			if f.partial() {
				first = began
			}
			err := f.feed(chunk[:n], func(msg []byte, cut int64) error {
				at := first
				first = since
				return m.take(ctx, &line{bytes: msg, cut: cut, remote: remote}, at)
			})
			began, last = first, s.clock()
			if errors.Is(err, errFrame) {
				s.counts.count(lostFrame, 1)
				s.log.Warn("connection closed", "remote", remote, "error", err)
				return m.flush(ctx)
			}
			if err != nil {
				return err
			}
			if err := m.flush(ctx); err != nil {
				return err
			}
		}
		if err != nil || n == 0 {
			return s.finish(ctx, m, &f, remote, began, err)
		}
	}
}

// errStalled ends a connection whose sender stopped inside a message.
var errStalled = errors.New("sender stopped inside a message")

// finish hands on what a connection left when it ended.
func (s *syslogSource) finish(ctx context.Context, m *messages, f *framer, remote string, began seen, why error) error {
	if ctx.Err() != nil {
		return nil
	}
	if why != nil && !errors.Is(why, io.EOF) {
		s.log.Info("connection ended", "remote", remote, "error", why)
	}
	err := f.end(func(msg []byte, cut int64, short bool) error {
		return m.take(ctx, &line{bytes: msg, cut: cut, remote: remote, broken: short}, began)
	})
	if err != nil {
		return err
	}
	return m.flush(ctx)
}
