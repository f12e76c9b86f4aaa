package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Bounds of the pause after a failed accept: a node out of file descriptors
// must neither spin nor be deaf for long.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Listener takes sessions. Its goroutines end with Close.
type Listener struct {
	opts    Options
	metrics *metrics
	inner   net.Listener
	ctx     context.Context // until Close
	cancel  context.CancelFunc
	lobby   *lobby        // bounds connections whose first message has not been answered
	ready   chan *Session // complete, not accepted yet
	log     refusalLog
	wg      sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]*half // by the peer's URI; at most MaxPending
}

// half is a session whose second connection has not come.
type half struct {
	term       Term
	token      [tokenSize]byte
	version    uint16
	second     chan *opening // capacity 1; filled by whoever removes it from waiting
	superseded chan struct{} // closed when a newer term removed it
}

// Listen opens a listener; addr is a Network's address.
func Listen(addr string, opts Options) (*Listener, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	metrics, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: register metrics: %w", addr, err)
	}
	inner, err := opts.Network.Listen(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	l := &Listener{
		opts: opts, metrics: metrics, inner: inner,
		lobby: newLobby(&opts), ready: make(chan *Session, opts.MaxPending),
		log: refusalLog{logger: opts.Logger}, waiting: make(map[string]*half),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Go(l.listen)
	return l, nil
}

// Addr is the address in use, with the real port.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept returns the next complete session, which is then the caller's to
// close. The error is the context's, or [ErrClosed].
func (l *Listener) Accept(ctx context.Context) (*Session, error) {
	select {
	case s := <-l.ready:
		return s, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("accept: %w", context.Cause(ctx))
	case <-l.ctx.Done():
		return nil, fmt.Errorf("accept: %w", ErrClosed)
	}
}

// Close stops listening, ends handshakes and sessions nobody has accepted,
// and waits until that is done. Accepted sessions live on.
func (l *Listener) Close() error {
	l.cancel()
	err := l.inner.Close()
	l.wg.Wait()
	var left sync.WaitGroup
	for {
		select {
		case s := <-l.ready:
			left.Go(func() { s.Close("listener closed") })
			continue
		default:
		}
		break
	}
	left.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// listen accepts connections while the lobby has places for them, or makes
// some; more wait in the system's own queue.
func (l *Listener) listen() {
	pause := minAcceptPause
	for {
		raw, err := l.inner.Accept()
		if err == nil {
			pause = minAcceptPause
			l.receive(raw)
			continue
		}
		if l.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		l.opts.Logger.Error("accept failed", "address", l.inner.Addr().String(), "pause", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
			return
		}
		pause = min(2*pause, maxAcceptPause)
	}
}

// receive lets a connection in and starts its handshake, or closes it.
func (l *Listener) receive(raw net.Conn) {
	ctx, evict := context.WithCancelCause(l.ctx)
	p := &place{host: hostOf(raw.RemoteAddr()), remote: raw.RemoteAddr().String(), evict: evict}
	evicted, err := l.lobby.enter(ctx, p)
	if err != nil {
		evict(nil)
		raw.Close()
		l.refused(p.remote, Identity{}, err)
		return
	}
	if evicted != nil {
		l.refused(evicted.remote, evicted.peer, errEvicted)
	}
	l.wg.Go(func() {
		defer evict(nil)
		l.handle(ctx, raw, p)
	})
}

// handle takes a connection through its handshake.
func (l *Listener) handle(ctx context.Context, raw net.Conn, p *place) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.opts.HandshakeTimeout, errHandshakeTimeout)
	defer cancel()
	free := func() { l.lobby.leave(p) }
	defer free()
	o, err := open(ctx, raw, &l.opts, false)
	if err != nil {
		l.ended(p.remote, Identity{}, err)
		return
	}
	l.lobby.prove(p, o.peer)
	typ, message, err := o.receive()
	arrived := l.opts.Time.arrive(0)
	l.lobby.work(p)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		err = violation(CodeMalformed, "REFUSE begins a connection: %w", ErrProtocol)
	case err != nil:
	case typ == frameHello:
		err = l.hello(o, message, arrived, free)
	case typ == frameAttach:
		err = l.attach(o, message)
	default:
		err = violation(CodeMalformed, "%s begins a connection: %w", typ, ErrProtocol)
	}
	if err == nil {
		return
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	l.ended(p.remote, o.peer, err)
	if l.ctx.Err() == nil && tellable(err) {
		o.leave(frameRefuse, asRefusal(err, CodeRefused).encode())
	}
	o.close()
}

// tellable: after a broken connection there is nobody to tell.
func tellable(err error) bool {
	code := codeOf(err)
	return code != CodeLost && code != CodeTLS && code != CodeEvicted
}

// ended is refused for a handshake; one that was evicted has been counted.
func (l *Listener) ended(remote string, peer Identity, err error) {
	if !isEvicted(err) {
		l.refused(remote, peer, err)
	}
}

// refused logs and counts a connection that came to nothing. A listener that
// closes does not refuse.
func (l *Listener) refused(remote string, peer Identity, err error) {
	if l.ctx.Err() != nil {
		return
	}
	code := codeOf(err)
	// Every code here is this node's own word, Answer's included.
	l.metrics.refused.WithLabelValues(string(code)).Inc()
	l.log.note(code, remote, peer, err)
}

// hello answers a HELLO and waits for the second connection. An error is for
// handle to tell the peer; otherwise the connection is the session's.
func (l *Listener) hello(o *opening, message []byte, exchange pong, free func()) error {
	g, version, err := decodeGreeting(message)
	if err != nil {
		return err
	}
	if err := l.admit(o.peer, g.Hello); err != nil {
		return err
	}
	h, err := l.reserve(o.peer, g.Term, version)
	if err != nil {
		return err
	}
	defer l.release(o.peer, h)
	welcome, err := l.answer(o.peer, g.Hello)
	if err != nil {
		return err
	}
	exchange.t1 = g.t1
	r := reply{Welcome: welcome, token: h.token, heartbeat: min(g.heartbeat, l.opts.Heartbeat), pong: l.opts.Time.leave(exchange)}
	r.Version = version
	if welcome.Redirect != "" {
		o.leave(frameWelcome, r.encode())
		return nil
	}
	if err := o.send(frameWelcome, r.encode()); err != nil {
		return fmt.Errorf("WELCOME: %w", err)
	}
	free()
	select {
	case second := <-h.second:
		return l.complete(o, second, agreement{
			peer: o.peer, hello: g.Hello, welcome: r.Welcome, heartbeat: r.heartbeat, mine: g.Credit, theirs: r.Credit})
	case <-h.superseded:
		return &Refusal{Code: CodeTerm, Reason: "a newer session of this node took its place"}
	case <-o.ctx.Done():
		return fmt.Errorf("second connection: %w", context.Cause(o.ctx))
	}
}

func (l *Listener) admit(peer Identity, hello Hello) error {
	err := error(nil)
	if l.opts.Admit != nil {
		err = l.opts.Admit(peer, hello)
	} else {
		err = Admit(l.opts.Credentials.Identity(), peer)
	}
	if err == nil {
		return nil
	}
	return asRefusal(err, CodeIdentity)
}

// answer asks the caller and checks what it says.
func (l *Listener) answer(peer Identity, hello Hello) (Welcome, error) {
	welcome, err := l.opts.Answer(peer, hello)
	if err != nil {
		return welcome, asRefusal(err, CodeRefused)
	}
	if len(welcome.Body) > MaxBody || len(welcome.Redirect) > maxAddress {
		return welcome, fmt.Errorf("WELCOME body of %d bytes, redirect of %d, limits %d and %d",
			len(welcome.Body), len(welcome.Redirect), MaxBody, maxAddress)
	}
	welcome.Credit, err = completeCredit(welcome.Credit, l.opts.Credit)
	return welcome, err
}

// reserve makes a place for a session's second connection. A newer term takes
// the place of an older one of the same node, never the other way round.
func (l *Listener) reserve(peer Identity, term Term, version uint16) (*half, error) {
	h := &half{term: term, version: version, second: make(chan *opening, 1), superseded: make(chan struct{})}
	if _, err := rand.Read(h.token[:]); err != nil {
		return nil, fmt.Errorf("session token: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := peer.String()
	if older := l.waiting[key]; older != nil {
		if term.Compare(older.term) <= 0 {
			return nil, &Refusal{Code: CodeTerm, Reason: fmt.Sprintf("term %s is not above %s, which is opening", term, older.term),
				Hint: "raise the session number at each HELLO"}
		}
		close(older.superseded)
	} else if len(l.waiting) >= l.opts.MaxPending {
		return nil, &Refusal{Code: CodeBusy, Reason: fmt.Sprintf("%d sessions are opening", len(l.waiting)), Hint: "try again later"}
	}
	l.waiting[key] = h
	return h, nil
}

// release gives the place up if it is still held. A second connection that
// came too late for hello to see is closed.
func (l *Listener) release(peer Identity, h *half) {
	l.mu.Lock()
	if l.waiting[peer.String()] == h {
		delete(l.waiting, peer.String())
	}
	l.mu.Unlock()
	select {
	case late := <-h.second:
		late.close()
	default:
	}
}

// attach gives a second connection to the session that waits for it.
func (l *Listener) attach(o *opening, message []byte) error {
	a, err := decodeAttachment(message)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.waiting[o.peer.String()]
	switch {
	case h == nil:
		return &Refusal{Code: CodeToken, Reason: "no session waits for this connection", Hint: "begin with HELLO"}
	case a.term != h.term:
		return &Refusal{Code: CodeTerm, Reason: fmt.Sprintf("connection of term %s, the session has %s", a.term, h.term)}
	case a.token != h.token || a.version != h.version:
		return &Refusal{Code: CodeToken, Reason: "not the token of the session's WELCOME"}
	}
	if !o.stop() { // from here on the first connection's context counts
		return context.Cause(o.ctx)
	}
	delete(l.waiting, o.peer.String())
	h.second <- o
	return nil
}

// complete starts the session and offers it to Accept.
func (l *Listener) complete(first, second *opening, a agreement) error {
	second.bind(first.ctx)
	if err := second.send(frameAttached, nil); err != nil {
		second.close()
		return fmt.Errorf("ATTACHED: %w", err)
	}
	if err := errors.Join(first.release(), second.release()); err != nil {
		second.close()
		return err
	}
	s := newSession(l.opts, l.metrics, a, first, second)
	s.start()
	select {
	case l.ready <- s:
		return nil
	default:
	}
	s.finish(&CloseError{Code: CodeBusy, Reason: fmt.Sprintf("%d sessions wait to be accepted", cap(l.ready))})
	<-s.ended
	l.metrics.refused.WithLabelValues(label(CodeBusy)).Inc()
	return nil
}
