package transport_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pando/transport"
)

// grace is what a half-open connection has before it must make room.
const grace = 500 * time.Millisecond

// mute opens connections from hosts that say nothing.
func mute(t *testing.T, m *transport.Memory, addr string, hosts ...string) []net.Conn {
	t.Helper()
	var list []net.Conn
	for _, host := range hosts {
		c, err := m.Host(host).Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		list = append(list, c)
	}
	return list
}

func hosts(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(prefix, i))
	}
	return list
}

// closed reports whether the other side has ended a connection.
func closed(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// With all places taken by connections that say nothing, every wave of them
// kept all others out for a whole handshake timeout.
func TestMuteConnectionsKeepNobodyOut(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, m *transport.Memory, e *edge) {
		mute(t, m, e.addr(), hosts("m", 256)...)
		time.Sleep(time.Millisecond)
		start := time.Now()
		e.open(transport.Hello{})
		if took := time.Since(start); took > grace {
			t.Errorf("a node waited %s behind connections that say nothing, want at most their grace of %s", took, grace)
		}
		if e.refusals(transport.CodeEvicted) == 0 {
			t.Error("no eviction was counted")
		}
		e.log.wait(t, "reason=evicted")
		e.log.wait(t, "address=m0:")
	})
}

// One address has its share and no more; the others do not even wait.
func TestOneAddressHasItsShare(t *testing.T) {
	change := func(listen, _ *transport.Options) { listen.MaxPendingPerHost = 8 }
	inMemory(t, change, func(t *testing.T, m *transport.Memory, e *edge) {
		var same []string
		for range 20 {
			same = append(same, "m")
		}
		mute(t, m, e.addr(), same...)
		start := time.Now()
		e.open(transport.Hello{})
		if took := time.Since(start); took != 0 {
			t.Errorf("a node of another address waited %s", took)
		}
		if n := e.refusals(transport.CodeCrowded); n != 12 {
			t.Errorf("%v connections of one address were refused, want 12 of 20", n)
		}
		time.Sleep(grace)
		mute(t, m, e.addr(), "m")
		time.Sleep(time.Millisecond)
		if n := e.refusals(transport.CodeEvicted); n != 1 {
			t.Errorf("%v were evicted for a newcomer of their own address after the grace, want 1", n)
		}
	})
}

// dialAgain dials until the listener is not busy.
func dialAgain(t *testing.T, addr string, o transport.Options) (*transport.Session, error) {
	for {
		s, err := transport.Dial(within(t), addr, transport.Hello{}, o)
		var refusal *transport.Refusal
		if !errors.As(err, &refusal) || refusal.Code != transport.CodeBusy {
			return s, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A burst of honest nodes must not turn itself out.
func TestBurstOfNodesGetsInWhole(t *testing.T) {
	const nodes = 40
	synctest.Test(t, func(t *testing.T) {
		a, m := newAuthority(t), transport.NewMemory()
		e := a.edge(a.credentials("relay/eu/r1"), a.credentials("agent/eu/a"), "r1:7000", func(listen, _ *transport.Options) {
			listen.Network, listen.MaxPending, listen.HandshakeTimeout = m.Host("r1"), 8, 10*grace
		})
		var all sync.WaitGroup
		for i := range nodes {
			o, host := options(a.credentials(fmt.Sprintf("agent/eu/a%d", i))), fmt.Sprint("h", i)
			o.Network = m.Host(host)
			m.Delay("r1", host, 20*time.Millisecond)
			m.Delay(host, "r1", 20*time.Millisecond)
			all.Go(func() {
				s, err := dialAgain(t, e.addr(), o)
				if err != nil {
					t.Errorf("node %d: %v", i, err)
					return
				}
				defer s.Close("in")
				<-s.Done()
			})
		}
		for i := range nodes {
			s, err := e.listener.Accept(within(t))
			if err != nil {
				t.Errorf("after %d nodes: %v; log:\n%s", i, err, e.log)
				break
			}
			all.Go(func() { s.Close("seen") }) // room for the next one
		}
		all.Wait()
		if n := e.refusals(transport.CodeEvicted) + e.refusals(transport.CodeCrowded); n != 0 {
			t.Errorf("%v of their connections were turned out", n)
		}
	})
}

// Who has proved to be a node of the tree goes last, but goes.
func TestNodesOutlastStrangers(t *testing.T) {
	change := func(listen, _ *transport.Options) { listen.MaxPending, listen.HandshakeTimeout = 2, 10*grace }
	inMemory(t, change, func(t *testing.T, m *transport.Memory, e *edge) {
		proved := func(host string) net.Conn {
			c := tls.Client(mute(t, m, e.addr(), host)[0], e.dial.Credentials.ClientConfig(transport.Protocol))
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			return c
		}
		node := proved("a1")
		stranger := mute(t, m, e.addr(), "m")[0]
		time.Sleep(grace)
		second := proved("a2")
		if closed(node) || !closed(stranger) {
			t.Fatal("the stranger did not make room")
		}
		time.Sleep(grace)
		third := proved("a3")
		if !closed(node) || closed(second) || closed(third) {
			t.Error("the oldest of two silent nodes did not make room for the third")
		}
		e.log.wait(t, "peer=spiffe://bank.example/agent/eu/a1")
	})
}
