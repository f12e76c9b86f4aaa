//go:build !zos

package gossip

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// network connects transports in memory. It loses what a real one would lose:
// packets to nobody, to full queues, and across a cut.
type network struct {
	mu    sync.Mutex
	nodes map[string]*wire
	cut   func(from, to string) bool // nil while whole
}

func newNetwork() *network { return &network{nodes: make(map[string]*wire)} }

// partition separates the given addresses from all others; none heals.
func (n *network) partition(island ...string) {
	side := make(map[string]bool)
	for _, addr := range island {
		side[addr] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = func(from, to string) bool { return side[from] != side[to] }
}

// wire is one node's memberlist.Transport.
type wire struct {
	net     *network
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
}

func (n *network) attach(addr string) *wire {
	w := &wire{
		net: n, addr: netip.MustParseAddrPort(addr),
		packets: make(chan *memberlist.Packet, 256), streams: make(chan net.Conn, 16),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[addr] = w
	return w
}

func (w *wire) to(addr string) *wire {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	if w.net.cut != nil && w.net.cut(w.addr.String(), addr) {
		return nil
	}
	return w.net.nodes[addr]
}

func (w *wire) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	if peer := w.to(addr); peer != nil {
		from := net.UDPAddrFromAddrPort(w.addr)
		select {
		case peer.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: from, Timestamp: now}:
		default:
		}
	}
	return now, nil
}

func (w *wire) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	if peer := w.to(addr); peer != nil {
		near, far := net.Pipe()
		select {
		case peer.streams <- far:
			return near, nil
		default:
		}
	}
	time.Sleep(timeout)
	return nil, errors.New("dial timed out")
}

func (w *wire) Shutdown() error {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	if w.net.nodes[w.addr.String()] == w {
		delete(w.net.nodes, w.addr.String())
	}
	return nil
}

func (w *wire) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return w.addr.Addr().AsSlice(), int(w.addr.Port()), nil
}
func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }
func (w *wire) StreamCh() <-chan net.Conn           { return w.streams }
