//go:build !zos

package gossip

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Limits on streams. memberlist reads up to 20 MiB from whoever connects,
// before it knows a key, and takes any number at once.
const (
	// maxStreams is how many inbound streams may be open: each lives for at
	// most streamTimeout, and a pool of maxMembers opens a few in a second.
	maxStreams = 64
	// maxStreamBytes bounds what one stream may bring: the whole state of
	// maxMembers takes under 800 bytes for each.
	maxStreamBytes = 1 << 20
	// bindTries is for port 0: the TCP port the kernel chose may be taken
	// for UDP.
	bindTries = 10
)

var errStreamTooLong = errors.New("stream is too long")

// listen binds the TCP and UDP sockets of one pool.
func listen(bind netip.AddrPort, logger *log.Logger) (*memberlist.NetTransport, error) {
	tries := 1
	if bind.Port() == 0 {
		tries = bindTries
	}
	for {
		t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{bind.Addr().String()},
			BindPort:  int(bind.Port()),
			Logger:    logger,
		})
		if err == nil {
			return t, nil
		}
		if tries--; tries == 0 || !strings.Contains(err.Error(), "address already in use") {
			return nil, fmt.Errorf("listen on %s: %w", bind, err)
		}
	}
}

// guard stands before a transport: it drops what comes from outside the
// allowed networks and bounds streams in number and size. It owns the two
// goroutines that pass things on; Shutdown joins them.
type guard struct {
	memberlist.Transport
	allowed  []netip.Prefix // empty allows all
	refusals *refusals

	packets chan *memberlist.Packet
	streams chan net.Conn
	slots   chan struct{} // one token for each open inbound stream
	stop    chan struct{}
	done    sync.WaitGroup
	once    sync.Once
	err     error // of the inner Shutdown; written under once
}

func newGuard(inner memberlist.Transport, allowed []netip.Prefix, refusals *refusals) *guard {
	g := &guard{
		Transport: inner,
		allowed:   allowed,
		refusals:  refusals,
		packets:   make(chan *memberlist.Packet),
		streams:   make(chan net.Conn),
		slots:     make(chan struct{}, maxStreams),
		stop:      make(chan struct{}),
	}
	g.done.Go(g.passPackets)
	g.done.Go(g.passStreams)
	return g
}

// PacketCh implements memberlist.Transport.
func (g *guard) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh implements memberlist.Transport.
func (g *guard) StreamCh() <-chan net.Conn { return g.streams }

// DialTimeout implements memberlist.Transport.
func (g *guard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	conn, err := g.Transport.DialTimeout(addr, timeout)
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: conn, left: maxStreamBytes, release: func() {}}, nil
}

// Shutdown implements memberlist.Transport. The inner transport ends first:
// its listeners may be waiting for the goroutines here.
func (g *guard) Shutdown() error {
	g.once.Do(func() {
		g.err = g.Transport.Shutdown()
		close(g.stop)
		g.done.Wait()
	})
	return g.err
}

func (g *guard) passPackets() {
	for {
		select {
		case <-g.stop:
			return
		case packet := <-g.Transport.PacketCh():
			if !g.allows(packet.From) {
				continue
			}
			select {
			case g.packets <- packet:
			case <-g.stop:
				return
			}
		}
	}
}

func (g *guard) passStreams() {
	for {
		select {
		case <-g.stop:
			return
		case conn := <-g.Transport.StreamCh():
			if conn = g.admit(conn); conn == nil {
				continue
			}
			select {
			case g.streams <- conn:
			case <-g.stop:
				conn.Close()
				return
			}
		}
	}
}

// admit returns conn bounded, or closes it and returns nil.
func (g *guard) admit(conn net.Conn) net.Conn {
	if !g.allows(conn.RemoteAddr()) {
		conn.Close()
		return nil
	}
	select {
	case g.slots <- struct{}{}:
		return &boundedConn{Conn: conn, left: maxStreamBytes, release: func() { <-g.slots }}
	default:
		g.refusals.note(reasonBusy, fmt.Sprintf("%d streams are open, refused %s", maxStreams, conn.RemoteAddr()))
		conn.Close()
		return nil
	}
}

func (g *guard) allows(from net.Addr) bool {
	if len(g.allowed) == 0 {
		return true
	}
	addr, err := netip.ParseAddrPort(from.String())
	if err == nil {
		for _, network := range g.allowed {
			if network.Contains(addr.Addr().Unmap().WithZone("")) {
				return true
			}
		}
	}
	g.refusals.note(reasonNetwork, "traffic from "+from.String())
	return false
}

// boundedConn yields at most left bytes and gives its slot back when closed.
type boundedConn struct {
	net.Conn
	left    int // bytes that may still be read; one goroutine reads
	release func()
	once    sync.Once
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, fmt.Errorf("read gossip: %w: more than %d bytes", errStreamTooLong, maxStreamBytes)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *boundedConn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}
