package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// controlWindow is the credit of the control channel in each direction.
	// The session grants it back as control messages are received.
	controlWindow Credit = 1 << 20

	// queued is how many messages of one channel wait for the writer. Their
	// bytes are bounded by credits; the writer needs only a few to fill its
	// buffer.
	queued = 256

	// stalls is how many timeouts a write may take before the peer counts as
	// one that has stopped reading.
	stalls = 10
)

// Session is one edge of the tree: two connections that live and die
// together. All methods are safe for concurrent use, and none of them blocks
// after the session has ended.
type Session struct {
	opts    Options
	metrics *metrics
	log     *slog.Logger
	dialer  bool // this side sent the HELLO and sends the PINGs
	peer    Identity
	hello   Hello
	welcome Welcome
	started time.Time // before the goroutines

	heartbeat time.Duration
	links     [Lanes]*link
	accounts  [channels]*account // what this side may send
	inboxes   [channels]*inbox   // what the peer has sent
	owed      atomic.Int64       // control credit received and not granted back yet
	rtt       atomic.Int64       // nanoseconds

	once  sync.Once
	err   error         // why the session ended; read after done
	done  chan struct{} // the session is dead
	ended chan struct{} // its goroutines are gone
}

// link is one of a session's two connections.
type link struct {
	conn   net.Conn // the TLS connection
	raw    net.Conn // what it runs on; closing it waits for nobody
	frames *frameReader
	pings  pings
	heard  atomic.Int64 // when the last frame came, nanoseconds since the session started
	out    *writer

	readDone, writeDone chan struct{}
}

// agreement is what the handshake found out.
type agreement struct {
	dialer       bool
	peer         Identity
	hello        Hello
	welcome      Welcome
	heartbeat    time.Duration
	mine, theirs [Lanes]Credit // what this side may send, what the peer may
}

// newSession makes a session of two connections that are through their
// handshake. It does nothing until start.
func newSession(opts Options, m *metrics, a agreement, first, second *opening) *Session {
	s := &Session{
		opts: opts, metrics: m, dialer: a.dialer, peer: a.peer, hello: a.hello, welcome: a.welcome,
		log:       opts.Logger.With("peer", a.peer.String(), "address", first.raw.RemoteAddr().String(), "term", a.hello.Term.String()),
		heartbeat: a.heartbeat,
		done:      make(chan struct{}), ended: make(chan struct{}),
	}
	for lane := range Lane(Lanes) {
		s.accounts[lane] = newAccount(a.mine[lane])
		s.inboxes[lane] = newInbox(a.theirs[lane])
	}
	s.accounts[control], s.inboxes[control] = newAccount(controlWindow), newInbox(controlWindow)
	for i, o := range []*opening{first, second} {
		l := &link{conn: o.tls, raw: o.raw, frames: o.frames, readDone: make(chan struct{}), writeDone: make(chan struct{})}
		l.out = newWriter(s, l, Lane(i))
		s.links[i] = l
	}
	return s
}

// start starts the session's goroutines, which the session's end ends.
func (s *Session) start() {
	side := "listen"
	if s.dialer {
		side = "dial"
	}
	s.started = time.Now()
	s.metrics.sessions.Inc()
	s.metrics.opened.WithLabelValues(side).Inc()
	for i, l := range s.links {
		go func() {
			defer close(l.writeDone)
			s.finish(l.out.run())
		}()
		go func() {
			defer close(l.readDone)
			s.finish(s.read(Lane(i)))
			// Unread bytes would turn the close into a reset, which can take
			// the reason away from the peer before it has read it.
			_, _ = io.Copy(io.Discard, l.conn)
		}()
	}
	go s.supervise()
}

// Peer is who is at the other end, from its certificate.
func (s *Session) Peer() Identity { return s.peer }

// Term is the term both connections carry.
func (s *Session) Term() Term { return s.hello.Term }

// Hello is what the dialing side said.
func (s *Session) Hello() Hello { return s.hello }

// Welcome is what the listening side answered.
func (s *Session) Welcome() Welcome { return s.welcome }

// RemoteAddr is the peer's address of the first connection.
func (s *Session) RemoteAddr() net.Addr { return s.links[0].raw.RemoteAddr() }

// RTT is the last measured round trip; zero on the listening side, which
// measures none.
func (s *Session) RTT() time.Duration { return time.Duration(s.rtt.Load()) }

// Done is closed when the session is dead.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err tells why the session ended; nil while it lives. [ErrPeerSilent],
// [ErrProtocol] and *[CloseError] can be told apart.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close ends the session, tells the peer why, and waits until its goroutines
// are gone, for about Options.Timeout at most if the peer does not answer. What was
// accepted by Send and is not on the wire yet is dropped. Calling it again is
// harmless.
func (s *Session) Close(reason string) {
	s.finish(&CloseError{Code: CodeClosed, Reason: reason})
	<-s.ended
}

// finish ends the session with its first error.
func (s *Session) finish(err error) {
	if err == nil {
		return
	}
	s.once.Do(func() {
		s.err = err
		close(s.done)
	})
}

// Send gives a message to a lane. It waits for credit on that lane and for
// room in its queue; another lane is never in the way. Messages of one lane
// arrive in the order in which their Sends were called. A nil error says only
// that the session has taken the message. Errors: the session's end, the
// context's, [ErrMessageTooLarge].
func (s *Session) Send(ctx context.Context, lane Lane, m Message) error {
	if lane >= Lanes {
		return fmt.Errorf("send to %s: no such %s", s.peer.Node(), lane)
	}
	return s.send(ctx, lane, m)
}

// SendControl gives a message to the control channel, which goes ahead of the
// critical lane on their connection and needs no credit from the peer's
// caller: it waits only while the peer does not receive control messages.
func (s *Session) SendControl(ctx context.Context, m Message) error {
	return s.send(ctx, control, m)
}

func (s *Session) send(ctx context.Context, lane Lane, m Message) error {
	fail := func(err error) error { return fmt.Errorf("send %s message to %s: %w", lane, s.peer.Node(), err) }
	if len(m.Body) > MaxMessage {
		return fail(fmt.Errorf("%w: %d bytes, limit %d", ErrMessageTooLarge, len(m.Body), MaxMessage))
	}
	if err := s.Err(); err != nil {
		return fail(err)
	}
	a := s.accounts[lane]
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return fail(context.Cause(ctx))
	case <-s.done:
		return fail(s.err)
	}
	defer func() { <-a.turn }()
	for !a.take(m.Cost()) {
		select {
		case <-a.more:
		case <-ctx.Done():
			return fail(context.Cause(ctx))
		case <-s.done:
			return fail(s.err)
		}
	}
	select {
	case s.queue(lane) <- m:
		return nil
	case <-ctx.Done():
		a.give(m.Cost())
		return fail(context.Cause(ctx))
	case <-s.done:
		return fail(s.err)
	}
}

// queue is where a channel's messages wait for the writer of its connection.
func (s *Session) queue(lane Lane) chan<- Message {
	if lane == LaneBulk {
		return s.links[LaneBulk].out.data.queue
	}
	if lane == control {
		return s.links[LaneCritical].out.control.queue
	}
	return s.links[LaneCritical].out.data.queue
}

// Receive returns the next message of a lane. Its credit stays spent until it
// is given back by Grant. After the session's end it returns what had arrived
// before, and then the session's error.
func (s *Session) Receive(ctx context.Context, lane Lane) (Message, error) {
	if lane >= Lanes {
		return Message{}, fmt.Errorf("receive from %s: no such %s", s.peer.Node(), lane)
	}
	return s.receive(ctx, lane)
}

// ReceiveControl returns the next control message.
func (s *Session) ReceiveControl(ctx context.Context) (Message, error) {
	m, err := s.receive(ctx, control)
	if err != nil {
		return m, err
	}
	// Granting in quarters of the window keeps CREDIT frames few.
	if s.owed.Add(int64(m.Cost())) >= int64(controlWindow/4) {
		s.grant(control, Credit(s.owed.Swap(0)))
	}
	return m, nil
}

func (s *Session) receive(ctx context.Context, lane Lane) (Message, error) {
	m, ok, err := s.inboxes[lane].receive(ctx, s.done)
	if err == nil && !ok {
		err = s.err
	}
	if err != nil {
		return m, fmt.Errorf("receive %s message from %s: %w", lane, s.peer.Node(), err)
	}
	return m, nil
}

// Grant gives the peer credit on a lane: the Cost of messages that this side
// has dealt with, or more to widen the lane. An amount that is not positive
// does nothing.
func (s *Session) Grant(lane Lane, n Credit) {
	if lane < Lanes && n > 0 {
		s.grant(lane, n)
	}
}

func (s *Session) grant(lane Lane, n Credit) {
	if n = s.inboxes[lane].allow(n); n > 0 {
		s.links[0].out.grant(lane, n)
	}
}

// supervise keeps the heartbeat and watches for silence; when the session is
// dead it takes leave of the peer and clears up.
func (s *Session) supervise() {
	s.watch()
	if code, reason, ok := s.farewell(); ok {
		s.takeLeave(code, reason)
	}
	for _, l := range s.links {
		l.raw.Close()
	}
	for _, l := range s.links {
		<-l.writeDone
		<-l.readDone
	}
	code := codeOf(s.err)
	s.metrics.sessions.Dec()
	s.metrics.ended.WithLabelValues(label(code)).Inc()
	var refused *refusedError
	if errors.As(s.err, &refused) {
		s.metrics.refused.WithLabelValues(label(code)).Inc()
		s.log.Warn("session refused", "reason", code, "error", s.err)
	}
	close(s.ended)
}

// watch returns when the session is dead.
func (s *Session) watch() {
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	silence := time.NewTimer(s.opts.Timeout)
	defer silence.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-beat.C:
			for _, l := range s.links {
				if s.dialer {
					l.out.ping()
				}
			}
		case <-silence.C:
			left := s.opts.Timeout
			for i, l := range s.links {
				quiet := time.Since(s.started) - time.Duration(l.heard.Load())
				if quiet >= s.opts.Timeout {
					s.finish(fmt.Errorf("%w: nothing from %s on the %s connection for %s", ErrPeerSilent, s.peer.Node(), Lane(i), quiet))
					return
				}
				left = min(left, s.opts.Timeout-quiet)
			}
			silence.Reset(left)
		}
	}
}

// farewell decides whether the peer is told about the end, and how: it is if
// this side decided it.
func (s *Session) farewell() (Code, string, bool) {
	var closed *CloseError
	var refused *refusedError
	switch {
	case errors.As(s.err, &closed):
		return closed.Code, closed.Reason, !closed.Remote
	case errors.As(s.err, &refused):
		return refused.code, refused.Error(), true
	}
	return "", "", false
}

// takeLeave writes CLOSE on the first connection and waits until the peer has
// closed its side, both for Options.Timeout at most.
func (s *Session) takeLeave(code Code, reason string) {
	l := s.links[0]
	until := time.Now().Add(s.opts.Timeout)
	patience := time.NewTimer(s.opts.Timeout)
	defer patience.Stop()
	select {
	case <-l.writeDone:
	case <-patience.C:
		return
	}
	_ = l.conn.SetWriteDeadline(until) // a failed deadline shows in the write
	bye := (&Refusal{Code: code, Reason: reason}).encode()
	if _, err := l.conn.Write(appendFrame(nil, frameClose, false, s.opts.Stamp.Send(), nil, bye)); err != nil {
		return
	}
	_ = l.conn.SetReadDeadline(until)
	<-l.readDone
}
