package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// protocol is offered by ALPN, so that a connection meant for Raft or for the
// API is refused before it says anything.
const protocol = "pando-tree/1"

// maxLeave bounds what is read and thrown away while a refusal travels.
const maxLeave = 256 << 10

// opening is one connection during its handshake. Its context bounds every
// step of it.
type opening struct {
	ctx    context.Context
	opts   *Options
	raw    net.Conn
	tls    *tls.Conn
	frames *frameReader
	peer   Identity
	stop   func() bool // lets go of the context
}

// open does the TLS handshake. It owns raw from the first moment.
func open(ctx context.Context, raw net.Conn, opts *Options, dialing bool) (*opening, error) {
	o := &opening{opts: opts, raw: raw}
	if dialing {
		o.tls = tls.Client(raw, opts.Credentials.ClientConfig(protocol))
	} else {
		o.tls = tls.Server(raw, opts.Credentials.ServerConfig(protocol))
	}
	o.frames = newFrameReader(o.tls, raw.RemoteAddr().String())
	o.bind(ctx)
	if err := o.tls.HandshakeContext(ctx); err != nil {
		return nil, o.fail("TLS handshake", err)
	}
	peer, err := ParseIdentity(o.tls.ConnectionState().PeerCertificates[0])
	if err != nil {
		return nil, o.fail("certificate", err)
	}
	o.peer = peer
	o.frames.peer = peer.Node()
	return o, nil
}

// bind makes the context's end the connection's end, until stop.
func (o *opening) bind(ctx context.Context) {
	o.ctx = ctx
	o.stop = context.AfterFunc(ctx, func() { _ = o.raw.SetDeadline(time.Unix(1, 0)) })
}

// close ends the connection at once.
func (o *opening) close() {
	o.stop()
	o.raw.Close()
}

// fail closes the connection and returns the error, told as the context's if
// that was the reason.
func (o *opening) fail(step string, err error) error {
	if cause := context.Cause(o.ctx); cause != nil {
		err = cause
	}
	o.close()
	return fmt.Errorf("%s: %w", step, err)
}

// release hands the connection to its session: the context no longer ends it.
func (o *opening) release() error {
	if !o.stop() {
		return o.fail("handshake", context.Cause(o.ctx))
	}
	return o.raw.SetDeadline(time.Time{})
}

// send writes a handshake message, in chunks.
func (o *opening) send(typ frameType, payload []byte) error {
	var buf []byte
	for more := true; more; {
		piece := payload[:min(len(payload), MaxChunk)]
		payload = payload[len(piece):]
		more = len(payload) > 0
		buf = appendFrame(buf, typ, more, o.opts.Stamp.Send(), nil, piece)
	}
	_, err := o.tls.Write(buf)
	if err == nil {
		return nil
	}
	// A peer that refuses before it reads makes writes fail; why it refused
	// is then still waiting to be read.
	if _, _, reason := o.receive(); reason != nil && !errors.Is(reason, io.EOF) {
		return reason
	}
	return err
}

// receive reads one handshake message of at most maxGreeting bytes. A REFUSE
// is returned as its *Refusal.
func (o *opening) receive() (frameType, []byte, error) {
	var typ frameType
	var message []byte
	for {
		f, err := o.frames.next()
		if err != nil {
			return 0, nil, err
		}
		if err := o.opts.Stamp.Receive(f.hlc); err != nil {
			return 0, nil, violation(CodeClock, "%s: %w", f.typ, err)
		}
		if typ == 0 {
			typ = f.typ
		}
		switch {
		case f.typ != typ || f.typ > frameAttached || f.more && len(f.payload) == 0:
			return 0, nil, violation(CodeMalformed, "%s of %d bytes in a handshake: %w", f.typ, len(f.payload), ErrProtocol)
		case len(message)+len(f.payload) > maxGreeting:
			return 0, nil, violation(CodeOversize, "%s above %d bytes: %w", f.typ, maxGreeting, ErrProtocol)
		}
		message = append(message, f.payload...)
		if f.more {
			continue
		}
		if typ != frameRefuse {
			return typ, message, nil
		}
		refusal, err := decodeRefusal(message)
		if err != nil {
			return 0, nil, err
		}
		return 0, nil, refusal
	}
}

// expect reads one handshake message of a type.
func (o *opening) expect(want frameType) ([]byte, error) {
	typ, message, err := o.receive()
	if err == nil && typ != want {
		err = violation(CodeMalformed, "%s where %s belongs: %w", typ, want, ErrProtocol)
	}
	return message, err
}

// leave writes a last handshake message, waits until the peer has read it,
// for Options.Timeout at most, and closes the connection.
func (o *opening) leave(typ frameType, payload []byte) {
	defer o.close()
	_ = o.raw.SetDeadline(time.Now().Add(o.opts.Timeout))
	if o.send(typ, payload) != nil || o.tls.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(o.tls, maxLeave))
}

// errHandshakeTimeout is the cause of a handshake's context that ran out.
var errHandshakeTimeout = errors.New("handshake timed out")
