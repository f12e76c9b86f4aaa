package transport

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// backlog is how many connections wait for Accept on a memory listener; a
// dial beyond it waits, as it would for a busy host.
const backlog = 128

// Memory is a network inside one process, for tests. Hosts have names,
// addresses are host:port, and what flows from one host to another can be
// delayed or stopped. A stopped edge behaves like a network that loses every
// packet: writers fill their buffers, nothing fails, and when the edge heals
// everything arrives. Its connections wait on channels only, so a testing/
// synctest bubble sees them as blocked. Safe for concurrent use.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
	edges     map[[2]string]*edge // from, to
	ports     int
}

// NewMemory returns a network without hosts; naming a host makes it.
func NewMemory() *Memory {
	return &Memory{listeners: make(map[string]*memoryListener), edges: make(map[[2]string]*edge)}
}

// Host is the network as seen from a host: what it dials comes from there, and
// it listens there.
func (m *Memory) Host(name string) Network { return memoryHost{m, name} }

// Cut stops both directions between two hosts.
func (m *Memory) Cut(a, b string) {
	m.Block(a, b)
	m.Block(b, a)
}

// Block stops what flows from one host to another.
func (m *Memory) Block(from, to string) { m.edge(from, to).set(func(e *edge) { e.blocked = true }) }

// Heal lets both directions flow again.
func (m *Memory) Heal(a, b string) {
	m.edge(a, b).set(func(e *edge) { e.blocked = false })
	m.edge(b, a).set(func(e *edge) { e.blocked = false })
}

// Delay makes what is written from now on take d from one host to another.
func (m *Memory) Delay(from, to string, d time.Duration) {
	m.edge(from, to).set(func(e *edge) { e.delay = d })
}

// edge is one direction between two hosts.
type edge struct {
	mu      sync.Mutex
	blocked bool
	delay   time.Duration
	changed chan struct{} // closed at the next change
}

func (m *Memory) edge(from, to string) *edge {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.edges[[2]string{from, to}]
	if e == nil {
		e = &edge{changed: make(chan struct{})}
		m.edges[[2]string{from, to}] = e
	}
	return e
}

func (e *edge) set(change func(*edge)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *edge) state() (blocked bool, delay time.Duration, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.blocked, e.delay, e.changed
}

type memoryHost struct {
	network *Memory
	name    string
}

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

// Listen listens on host:port; an empty host is this one, port 0 is a free
// one.
func (h memoryHost) Listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = h.name
	}
	m := h.network
	m.mu.Lock()
	defer m.mu.Unlock()
	if port == "0" {
		m.ports++
		port = fmt.Sprint(1<<16 + m.ports) // none that a caller would choose
	}
	if host != h.name {
		return nil, fmt.Errorf("memory network: %s cannot listen on %s", h.name, addr)
	}
	addr = net.JoinHostPort(host, port)
	if m.listeners[addr] != nil {
		return nil, fmt.Errorf("memory network: %s is in use", addr)
	}
	l := &memoryListener{network: m, addr: addr, incoming: make(chan net.Conn, backlog), closed: make(chan struct{})}
	m.listeners[addr] = l
	return l, nil
}

// Dial connects to host:port. Over a stopped edge it waits for the context.
func (h memoryHost) Dial(ctx context.Context, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	there, back := h.network.edge(h.name, host), h.network.edge(host, h.name)
	for _, e := range []*edge{there, back} {
		if err := e.cross(ctx); err != nil {
			return nil, fmt.Errorf("memory network: dial %s from %s: %w", addr, h.name, err)
		}
	}
	h.network.mu.Lock()
	l := h.network.listeners[addr]
	h.network.ports++
	from := net.JoinHostPort(h.name, fmt.Sprint(1<<16+h.network.ports))
	h.network.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("memory network: dial %s from %s: connection refused", addr, h.name)
	}
	up, down := newPipe(there), newPipe(back)
	select {
	case l.incoming <- newMemoryConn(down, up, addr, from):
		return newMemoryConn(up, down, from, addr), nil
	case <-l.closed:
		return nil, fmt.Errorf("memory network: dial %s from %s: connection refused", addr, h.name)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cross waits as long as one packet takes.
func (e *edge) cross(ctx context.Context) error {
	for {
		blocked, delay, changed := e.state()
		var arrived <-chan time.Time
		if !blocked {
			if delay == 0 {
				return ctx.Err()
			}
			arrived = time.After(delay)
		}
		select {
		case <-arrived:
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type memoryListener struct {
	network  *Memory
	addr     string
	incoming chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr(l.addr) }

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close stops listening; connections that nobody accepted are closed.
func (l *memoryListener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		err = nil
		l.network.mu.Lock()
		delete(l.network.listeners, l.addr)
		l.network.mu.Unlock()
		close(l.closed)
	})
	for {
		select {
		case c := <-l.incoming:
			c.Close()
		default:
			return err
		}
	}
}

// memoryConn is one end of two pipes.
type memoryConn struct {
	out, in       *pipe
	local, remote memoryAddr
	read, write   *deadline
	once          sync.Once
	closed        chan struct{}
}

func newMemoryConn(out, in *pipe, local, remote string) *memoryConn {
	return &memoryConn{out: out, in: in, local: memoryAddr(local), remote: memoryAddr(remote),
		read: newDeadline(), write: newDeadline(), closed: make(chan struct{})}
}

func (c *memoryConn) LocalAddr() net.Addr  { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

func (c *memoryConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

// Close ends both directions: the peer reads what is under way and then EOF.
func (c *memoryConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = nil
		close(c.closed)
		c.out.end()
		c.in.abandon()
	})
	return err
}

func (c *memoryConn) Read(b []byte) (int, error)  { return c.in.read(b, c.closed, c.read) }
func (c *memoryConn) Write(b []byte) (int, error) { return c.out.write(b, c.closed, c.write) }

// deadline is a time that waiting operations watch, and that may be moved
// while they wait.
type deadline struct {
	mu    sync.Mutex
	at    time.Time     // zero: never
	moved chan struct{} // closed when at changes
}

func newDeadline() *deadline { return &deadline{moved: make(chan struct{})} }

func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	close(d.moved)
	d.moved = make(chan struct{})
}

func (d *deadline) get() (time.Time, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at, d.moved
}

// expired reports a deadline that has passed as the error net promises.
func expired(at time.Time) error {
	if at.IsZero() || time.Now().Before(at) {
		return nil
	}
	return os.ErrDeadlineExceeded
}
