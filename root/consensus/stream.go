//go:build !zos

package consensus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// maxConns bounds the connections that other members have open here.
	// Each keeps a handful; the rest is headroom for half-open ones.
	maxConns = 128
	// handshakeLimit bounds a TLS handshake, so that a stranger cannot hold
	// a connection by saying nothing.
	handshakeLimit = 5 * time.Second
)

// stream carries Raft's messages. It implements [raft.StreamLayer]: TCP or
// what the caller gave, TLS on top, and a Close that ends every connection at
// once, and every dial, which Raft's own transport does not do.
type stream struct {
	listener  net.Listener
	advertise net.Addr
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	open      context.Context // until Close
	shut      context.CancelFunc
	server    *tls.Config
	client    *tls.Config
	// whereIs and verify are set together, before the first Dial: what is
	// dialled then is not an address but a member's id.
	whereIs func(id string) []string
	verify  func(id string, state tls.ConnectionState) error

	mu     sync.Mutex
	conns  map[*conn]struct{} // both directions
	found  map[string]string  // by id: the address that answered last
	closed bool
}

var errStreamClosed = errors.New("raft transport closed")

// textAddr is an address by its text; Raft only ever prints it.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

func newStream(o Options) (*stream, error) {
	s := &stream{listener: o.Listener, dial: o.Dial, server: o.TLSServer, client: o.TLSClient, verify: o.Verify,
		conns: map[*conn]struct{}{}, found: map[string]string{}}
	if s.listener == nil {
		l, err := net.Listen("tcp", o.Bind)
		if err != nil {
			return nil, err
		}
		s.listener = l
	}
	if s.dial == nil {
		s.dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	s.open, s.shut = context.WithCancel(context.Background())
	s.advertise = s.listener.Addr()
	if o.Advertise != "" {
		s.advertise = textAddr(o.Advertise)
	}
	return s, nil
}

// conn removes itself from its stream when it is closed.
type conn struct {
	net.Conn
	owner *stream
	// handshake finishes a server's TLS handshake under its own limit, at
	// the first read: reading is what gives the connection a goroutine.
	handshake func() error
	once      sync.Once
	err       error
}

func (c *conn) Read(p []byte) (int, error) {
	if c.handshake != nil {
		c.once.Do(func() { c.err = c.handshake() })
		if c.err != nil {
			return 0, c.err
		}
	}
	return c.Conn.Read(p)
}

func (c *conn) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.conns, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// adopt registers a connection, or closes it if there are too many or the
// stream is closed.
func (s *stream) adopt(c *conn, limit int) error {
	s.mu.Lock()
	full := len(s.conns) >= limit
	if !s.closed && !full {
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	_ = c.Conn.Close()
	if full {
		return errors.New("too many raft connections")
	}
	return errStreamClosed
}

// Accept waits for a connection from another member. What exceeds the bound
// is closed at once.
func (s *stream) Accept() (net.Conn, error) {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, owner: s}
		if s.server != nil {
			t := tls.Server(raw, s.server)
			c.Conn = t
			c.handshake = func() error {
				ctx, cancel := context.WithTimeout(context.Background(), handshakeLimit)
				defer cancel()
				return t.HandshakeContext(ctx)
			}
		}
		switch err := s.adopt(c, maxConns); {
		case err == nil:
			return c, nil
		case errors.Is(err, errStreamClosed):
			return nil, err
		}
	}
}

// Dial implements [raft.StreamLayer]. Of a member's addresses the one that
// answered last is tried first.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if s.whereIs == nil {
		return s.dialOne("", string(address), timeout)
	}
	id := string(address)
	list := s.candidates(id)
	if len(list) == 0 {
		return nil, fmt.Errorf("address of raft member %s is not known", id)
	}
	var faults []error
	for _, addr := range list {
		c, err := s.dialOne(id, addr, timeout/time.Duration(len(list)))
		if err == nil {
			s.mu.Lock()
			s.found[id] = addr
			s.mu.Unlock()
			return c, nil
		}
		faults = append(faults, fmt.Errorf("raft member %s at %s: %w", id, addr, err))
	}
	return nil, errors.Join(faults...)
}

// candidates lists a member's addresses in the order in which to try them.
func (s *stream) candidates(id string) []string {
	list := slices.Clone(s.whereIs(id))
	s.mu.Lock()
	last := s.found[id]
	s.mu.Unlock()
	if i := slices.Index(list, last); i > 0 {
		list[0], list[i] = list[i], list[0]
	}
	return list
}

// dialOne connects to an address, where the member id must be, if it is given.
func (s *stream) dialOne(id, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.open, timeout)
	defer cancel()
	raw, err := s.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, owner: s}
	if s.client != nil {
		t, err := s.secure(ctx, raw, id, address)
		if err != nil {
			_ = raw.Close()
			return nil, err
		}
		c.Conn = t
	}
	// Our own dials are bounded by Raft's pool; only closing matters here.
	if err := s.adopt(c, 2*maxConns); err != nil {
		return nil, err
	}
	return c, nil
}

// secure shakes hands as a client.
func (s *stream) secure(ctx context.Context, raw net.Conn, id, address string) (net.Conn, error) {
	cfg := s.client.Clone()
	if cfg.ServerName == "" && !cfg.InsecureSkipVerify {
		var err error
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
	}
	t := tls.Client(raw, cfg)
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if id != "" && s.verify != nil {
		if err := s.verify(id, t.ConnectionState()); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Close ends the listener and every connection. Closing again does nothing.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.shut()
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	err := s.listener.Close()
	for _, c := range open {
		// The raw close of a TLS connection would first try to send an alert
		// and may block on a dead peer; a deadline in the past prevents it.
		_ = c.SetDeadline(time.Unix(1, 0))
		_ = c.Close()
	}
	return err
}

// Addr is what the other members reach this one at.
func (s *stream) Addr() net.Addr { return s.advertise }
