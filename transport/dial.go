package transport

import (
	"context"
	"errors"
	"fmt"
)

// Dial opens a session with the listener at addr: two connections, HELLO and
// WELCOME on the first, the second attached to it by the token in WELCOME.
// The first time sample is handed to Options.Sample before it returns. The
// context bounds the handshake only, not the session.
//
// Errors to tell apart: *[Refusal] (the listener said no and why),
// *[RedirectError], [ErrIdentity] (it is not who it should be).
func Dial(ctx context.Context, addr string, hello Hello, opts Options) (*Session, error) {
	opts, err := opts.complete()
	if err == nil {
		hello, err = hello.complete(opts)
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	metrics, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("dial %s: register metrics: %w", addr, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opts.HandshakeTimeout, errHandshakeTimeout)
	defer cancel()
	d := &dialing{ctx: ctx, addr: addr, hello: hello, opts: &opts}
	first, agreed, arrived, err := d.greet()
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	second, err := d.attach(first, agreed)
	if err != nil {
		first.close()
		return nil, fmt.Errorf("dial %s: second connection: %w", addr, err)
	}
	if err := errors.Join(first.release(), second.release()); err != nil {
		first.close()
		second.close()
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	s := newSession(opts, metrics, agreement{
		dialer: true, peer: first.peer, hello: hello, welcome: agreed.Welcome,
		heartbeat: min(agreed.heartbeat, opts.Heartbeat), mine: agreed.Credit, theirs: hello.Credit}, first, second)
	s.sample(agreed.pong, arrived)
	s.start()
	return s, nil
}

// complete checks the caller's part of a HELLO and fills in the rest.
func (h Hello) complete(opts Options) (Hello, error) {
	if h.Versions == (Versions{}) {
		h.Versions = Versions{MinVersion, Version}
	}
	if len(h.Body) > MaxBody {
		return h, fmt.Errorf("HELLO body of %d bytes, limit %d", len(h.Body), MaxBody)
	}
	credit, err := completeCredit(h.Credit, opts.Credit)
	h.Credit = credit
	return h, err
}

func completeCredit(credit, fallback [Lanes]Credit) ([Lanes]Credit, error) {
	for lane, n := range credit {
		if n < 0 || n > maxCredit {
			return credit, fmt.Errorf("%s credit %d is outside 0 to %d", Lane(lane), n, maxCredit)
		}
		if n == 0 {
			credit[lane] = fallback[lane]
		}
	}
	return credit, nil
}

// dialing is one attempt to open a session.
type dialing struct {
	ctx   context.Context
	addr  string
	hello Hello
	opts  *Options
}

// connect makes one connection and judges who answers.
func (d *dialing) connect() (*opening, error) {
	raw, err := d.opts.Network.Dial(d.ctx, d.addr)
	if err != nil {
		if cause := context.Cause(d.ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, err
	}
	o, err := open(d.ctx, raw, d.opts, true)
	if err != nil {
		return nil, err
	}
	if err := d.judge(o.peer); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (d *dialing) judge(peer Identity) error {
	if d.hello.Want != "" && peer.Node() != d.hello.Want {
		return fmt.Errorf("%w: %s answers, want %s", ErrIdentity, peer, d.hello.Want)
	}
	if d.opts.Admit != nil {
		return d.opts.Admit(peer, d.hello)
	}
	return Admit(peer, d.opts.Credentials.Identity())
}

// greet exchanges HELLO and WELCOME and returns the arrival time of the
// latter.
func (d *dialing) greet() (*opening, reply, int64, error) {
	o, err := d.connect()
	if err != nil {
		return nil, reply{}, 0, err
	}
	g := greeting{Hello: d.hello, heartbeat: d.opts.Heartbeat, t1: d.opts.Time.Now()}
	if err := o.send(frameHello, g.encode()); err != nil {
		return nil, reply{}, 0, o.fail("HELLO", err)
	}
	message, err := o.expect(frameWelcome)
	t4 := d.opts.Time.Now()
	if err != nil {
		return nil, reply{}, 0, o.fail("WELCOME", err)
	}
	agreed, err := decodeReply(message)
	if err == nil && agreed.pong.t1 != g.t1 {
		err = violation(CodeMalformed, "WELCOME answers another time: %w", ErrProtocol)
	}
	if err == nil && agreed.Redirect != "" {
		err = &RedirectError{Peer: o.peer, Addr: agreed.Redirect, Body: agreed.Body}
	}
	if err != nil {
		return nil, reply{}, 0, o.fail("WELCOME", err)
	}
	return o, agreed, t4, nil
}

// attach makes the second connection.
func (d *dialing) attach(first *opening, agreed reply) (*opening, error) {
	o, err := d.connect()
	if err != nil {
		return nil, err
	}
	if o.peer.String() != first.peer.String() {
		return nil, o.fail("certificate", fmt.Errorf("%w: %s answers, the first connection reached %s", ErrIdentity, o.peer, first.peer))
	}
	a := attachment{version: agreed.Version, term: d.hello.Term, token: agreed.token}
	if err := o.send(frameAttach, a.encode()); err != nil {
		return nil, o.fail("ATTACH", err)
	}
	if _, err := o.expect(frameAttached); err != nil {
		return nil, o.fail("ATTACHED", err)
	}
	return o, nil
}
