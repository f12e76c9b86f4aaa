package input

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// controlBytes holds the control messages asked for: one number.
const controlBytes = 64

// listenUDP receives datagrams, one message each (RFC 5426), until the socket
// fails or ctx ends.
func (s *syslogSource) listenUDP(ctx context.Context, cancel context.CancelCauseFunc) error {
	var config net.ListenConfig
	p, err := config.ListenPacket(ctx, "udp", s.spec.Listen)
	if err != nil {
		return err
	}
	defer p.Close()
	conn, ok := p.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("listen on %s: not UDP", s.spec.Listen)
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		s.log.Info("receive buffer not enlarged", "error", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if err := countOverflow(raw); err != nil {
		s.log.Warn("lost datagrams will not be counted", "error", err)
	}
	unlink := context.AfterFunc(ctx, func() { conn.Close() })
	defer unlink()
	s.opened(conn.LocalAddr())
	defer s.closed()
	r := s.admit(nil)
	defer s.dismiss(r)

	u := udpReader{s: s, r: r, m: s.newMessages(), ctx: ctx, cancel: cancel}
	b, control := make([]byte, socketBytes), make([]byte, controlBytes)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(probeEvery)); err != nil {
			return err
		}
		d, err := receive(raw, b, control, s.clock, u.empty)
		switch {
		case u.failed != nil:
			return u.failed
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		if err := u.take(b[:d.bytes], &d); err != nil {
			cancel(err)
			return err
		}
	}
}

// udpReader is the state of one UDP socket's goroutine.
type udpReader struct {
	s      *syslogSource
	r      *reader
	m      *messages
	ctx    context.Context // of the Run that the reader lives in
	cancel context.CancelCauseFunc

	overflow uint32 // as of the last datagram
	failed   error  // what the sink said while the socket was empty
}

// empty puts what has gathered once the socket holds no more.
func (u *udpReader) empty(at int64) {
	if u.failed = u.m.flush(u.ctx); u.failed != nil {
		u.cancel(u.failed)
		return
	}
	u.s.idle(u.r, at, false)
	u.s.acceptIdle(at)
}

func (u *udpReader) take(b []byte, d *datagram) error {
	if d.counted {
		u.s.counts.count(lostUDP, int64(d.overflow-u.overflow)) // the counter may wrap
		u.overflow = d.overflow
	}
	since := u.s.busy(u.r)
	msg := trimTrailer(b)
	l := line{bytes: msg, remote: d.from}
	if limit := u.s.spec.MaxLine; len(msg) > limit {
		l.bytes, l.cut = msg[:limit], int64(len(msg)-limit)
	}
	if d.cut {
		l.cut++ // how much more is not known
	}
	return u.m.take(u.ctx, &l, since)
}
