//go:build !zos

package root

import (
	"context"
	"errors"
	"net"
	"sync"

	"pando/transport"
)

// island is a network that can be cut off from the rest, in both directions
// and for all connections at once.
// Stalled, it stays connected and lets nothing through; deaf or mute, it lets
// nothing in or nothing out.
type island struct {
	mu    sync.Mutex
	cut   bool
	in    chan struct{} // while nothing comes in: closed when that ends
	out   chan struct{} // the same of what goes out
	conns map[net.Conn]struct{}
}

var errCut = errors.New("cut off by the test")

func newIsland() *island { return &island{conns: map[net.Conn]struct{}{}} }

func (n *island) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	if cut {
		for c := range n.conns {
			_ = c.Close()
		}
		clear(n.conns)
	}
}

func (n *island) setStalled(stalled bool) {
	n.setDeaf(stalled)
	n.setMute(stalled)
}

func (n *island) setDeaf(deaf bool) { n.setGate(&n.in, deaf) }
func (n *island) setMute(mute bool) { n.setGate(&n.out, mute) }

func (n *island) setGate(gate *chan struct{}, shut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if *gate != nil {
		close(*gate)
		*gate = nil
	}
	if shut {
		*gate = make(chan struct{})
	}
}

// pass waits until a gate is open.
func (n *island) pass(gate *chan struct{}) {
	n.mu.Lock()
	shut := *gate
	n.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// gated is a connection of an island.
type gated struct {
	net.Conn
	n *island
}

func (c gated) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.pass(&c.n.in)
	return n, err
}

func (c gated) Write(p []byte) (int, error) {
	c.n.pass(&c.n.out)
	return c.Conn.Write(p)
}

func (n *island) adopt(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		_ = c.Close()
		return nil, errCut
	}
	n.conns[c] = struct{}{}
	return gated{c, n}, nil
}

func (n *island) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := transport.TCP().Dial(ctx, addr)
	return n.adopt(c, err)
}

func (n *island) Listen(addr string) (net.Listener, error) {
	l, err := transport.TCP().Listen(addr)
	if err != nil {
		return nil, err
	}
	return &islandListener{l, n}, nil
}

type islandListener struct {
	net.Listener
	n *island
}

func (l *islandListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, err = l.n.adopt(c, nil); err == nil {
			return c, nil
		}
	}
}
