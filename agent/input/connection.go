package input

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
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
		out: outbox{sink: s.sink, stamps: s.stamps, counts: s.counts, most: maxPutItems},
	}
}

// take adds one message, and puts what has gathered when it is enough.
func (m *messages) take(ctx context.Context, l *line, since seen) error {
	it := m.out.next()
	producer := m.x.event(&it.Event, l)
	it.Position = event.Position{Source: m.s.spec.Name}
	m.out.add(len(l.bytes)+int(l.cut), since, producer)
	if !m.out.full() {
		return nil
	}
	return m.flush(ctx)
}

// flush puts what has gathered. One reader at a time: the clocks of producers
// are shared, and the sink takes one call of a source at a time.
func (m *messages) flush(ctx context.Context) error {
	if len(m.out.items) == 0 {
		return nil // and need not wait for a reader whose Put blocks
	}
	m.s.putting.Lock()
	defer m.s.putting.Unlock()
	return m.out.flush(ctx)
}

// connection is the state of one connection's goroutine.
type connection struct {
	s      *syslogSource
	r      *reader
	conn   *net.TCPConn
	raw    syscall.RawConn
	m      *messages
	f      framer
	chunk  []byte
	remote string // address without port

	began seen  // lower end of the time of the incomplete message
	begun int64 // when its first byte came, monotonic
	last  int64 // when bytes last came, monotonic
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
	c := &connection{s: s, r: r, conn: conn, raw: raw, m: s.newMessages(), f: framer{limit: s.spec.MaxLine},
		chunk: make([]byte, socketBytes), remote: remote, last: s.clock()}
	for {
		n, err := c.read()
		if n > 0 {
			if ended, err := c.feed(ctx, c.chunk[:n]); ended || err != nil {
				return err
			}
		}
		waits := errors.Is(err, os.ErrDeadlineExceeded)
		if n > 0 && err == nil || waits {
			if err = c.overdue(); err == nil {
				continue
			}
			s.counts.count(closedStalled, 1)
		}
		return c.finish(ctx, err)
	}
}

// read waits for bytes, for probeEvery at most. At the end of the stream, and
// when this connection makes room for another, it returns none and no error.
func (c *connection) read() (int, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(probeEvery)); err != nil {
		return 0, err
	}
	if c.s.asked(c.r) {
		return c.leave()
	}
	return readSocket(c.raw, c.chunk, c.s.clock, func(at int64) { c.s.idle(c.r, at, c.f.partial()) })
}

// leave says farewell to a sender that has been quiet: it is told that nothing
// more will be read, and what the kernel holds of it by then is taken. Bytes
// that are still on their way are lost, as they are whenever a receiver of
// syslog over TCP goes away: the protocol has no acknowledgement (RFC 6587).
// A sender that has spoken after all stays.
func (c *connection) leave() (int, error) {
	n, err := readNow(c.raw, c.chunk)
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	_ = c.conn.CloseWrite()
	if n, err = readNow(c.raw, c.chunk); errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	return n, err
}

// feed takes bytes. ended tells that nothing more of the stream can be
// believed; an error is the sink's.
func (c *connection) feed(ctx context.Context, b []byte) (ended bool, err error) {
	since := c.s.busy(c.r)
	first := since
	fresh := !c.f.partial() // the message that is incomplete afterwards began with these bytes
	if !fresh {
		first = c.began
	}
	err = c.f.feed(b, func(msg []byte, cut int64) error {
		at := first
		first, fresh = since, true
		return c.m.take(ctx, &line{bytes: msg, cut: cut, remote: c.remote}, at)
	})
	c.began, c.last = first, c.s.clock()
	if fresh {
		c.begun = c.last
	}
	if errors.Is(err, errFrame) {
		c.s.counts.count(lostFrame, 1)
		c.s.log.Warn("connection closed", "remote", c.remote, "error", err)
		return true, c.m.flush(ctx)
	}
	if err != nil {
		return true, err
	}
	return false, c.m.flush(ctx)
}

// Reasons to end a connection whose sender does not complete a message.
var (
	errStalled = errors.New("sender stopped inside a message")
	errDribble = errors.New("sender takes longer for one message than idle_limit")
)

// overdue reports that a message has been incomplete for too long.
func (c *connection) overdue() error {
	now := c.s.clock()
	switch {
	case !c.f.partial():
		return nil
	case now-c.begun > int64(c.s.spec.IdleLimit):
		return errDribble
	case now-c.last > stallAfter:
		return errStalled
	}
	return nil
}

// finish hands on what a connection left when it ended.
func (c *connection) finish(ctx context.Context, why error) error {
	if ctx.Err() != nil {
		return nil
	}
	if why != nil && !errors.Is(why, io.EOF) {
		c.s.log.Info("connection ended", "remote", c.remote, "error", why)
	}
	given := errors.Is(why, errStalled) || errors.Is(why, errDribble) // up: what there is has no end
	err := c.f.end(func(msg []byte, cut int64, short bool) error {
		return c.m.take(ctx, &line{bytes: msg, cut: cut, remote: c.remote, broken: short || given}, c.began)
	})
	if err != nil {
		return err
	}
	return c.m.flush(ctx)
}
