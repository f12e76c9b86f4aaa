package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pando/transport"
)

const (
	heartbeat = 200 * time.Millisecond
	timeout   = 500 * time.Millisecond
)

// inMemory runs a test in virtual time with a listener on host r1 and a
// dialer on host a1.
func inMemory(t *testing.T, change func(listen, dial *transport.Options), test func(t *testing.T, m *transport.Memory, e *edge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		m := transport.NewMemory()
		e := a.edge(a.credentials("relay/eu/r1"), a.credentials("agent/eu/a1"), "r1:7000", func(listen, dial *transport.Options) {
			listen.Network, dial.Network = m.Host("r1"), m.Host("a1")
			for _, o := range []*transport.Options{listen, dial} {
				o.Heartbeat, o.Timeout, o.HandshakeTimeout = heartbeat, timeout, 5*time.Second
			}
			if change != nil {
				change(listen, dial)
			}
		})
		test(t, m, e)
	})
}

func TestIdleSessionLives(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, _ *transport.Memory, e *edge) {
		child, parent := e.open(transport.Hello{})
		time.Sleep(time.Hour)
		if child.Err() != nil || parent.Err() != nil {
			t.Errorf("after an idle hour: %v, %v", child.Err(), parent.Err())
		}
	})
}

func TestSilentPeerEndsTheSession(t *testing.T) {
	for name, stop := range map[string]func(m *transport.Memory){
		"both ways": func(m *transport.Memory) { m.Cut("a1", "r1") },
		"upwards":   func(m *transport.Memory) { m.Block("a1", "r1") },
		"downwards": func(m *transport.Memory) { m.Block("r1", "a1") },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, nil, func(t *testing.T, m *transport.Memory, e *edge) {
				child, parent := e.open(transport.Hello{})
				time.Sleep(10*time.Second + heartbeat/3)
				stop(m)
				start := time.Now()
				first := child
				select {
				case <-child.Done():
				case <-parent.Done():
					first = parent
				}
				if err := first.Err(); !errors.Is(err, transport.ErrPeerSilent) {
					t.Errorf("session ended with %v", err)
				}
				if took := time.Since(start); took > timeout || took < timeout-heartbeat {
					t.Errorf("noticed after %s, want within the timeout of %s and no heartbeat earlier", took, timeout)
				}
				ended(t, child)
				ended(t, parent)
				if took := time.Since(start); took > timeout+heartbeat {
					t.Errorf("the other side noticed after %s", took)
				}
			})
		})
	}
}

func TestSamplesMeasureTheDelay(t *testing.T) {
	samples := make(chan transport.Sample, 1000)
	start := time.Now()
	inMemory(t, func(listen, dial *transport.Options) {
		start = time.Now()
		listen.Time.Root = func() (int64, int64, bool) { return 1e15 + int64(time.Since(start)), 5, true }
		dial.Time.Now = func() int64 { return int64(time.Since(start)) }
		dial.Sample = func(_ *transport.Session, s transport.Sample) { samples <- s }
	}, func(t *testing.T, m *transport.Memory, e *edge) {
		m.Delay("a1", "r1", 30*time.Millisecond)
		m.Delay("r1", "a1", 10*time.Millisecond)
		child, _ := e.open(transport.Hello{})
		time.Sleep(10 * heartbeat)
		if got := child.RTT(); got != 40*time.Millisecond {
			t.Errorf("round trip %s, want 40ms", got)
		}
		if n := len(samples); n < 9 || n > 11 {
			t.Errorf("%d samples in 10 heartbeats", n)
		}
		for len(samples) > 0 {
			s := <-samples
			if up, down := s.T2-1e15-s.T1, s.T4-(s.T3-1e15); up != 30e6 || down != 10e6 || s.Bound != 5 || !s.OK {
				t.Errorf("sample %+v: %d ns up and %d ns down, want 30 ms and 10 ms", s, up, down)
			}
		}
	})
}

func TestHandshakeGivesUp(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, m *transport.Memory, e *edge) {
		// A connection that says nothing.
		mute, err := m.Host("a1").Dial(t.Context(), e.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
		// A HELLO whose second connection never comes.
		m.Delay("a1", "r1", time.Second)
		go func() {
			time.Sleep(4 * time.Second)
			m.Block("a1", "r1")
		}()
		_, err = transport.Dial(t.Context(), e.addr(), transport.Hello{}, e.dial)
		if err == nil || !strings.Contains(err.Error(), "handshake timed out") {
			t.Errorf("dial over a dying network: %v", err)
		}
		time.Sleep(10 * time.Second)
		if got := e.refusals(transport.CodeTimeout); got < 2 {
			t.Errorf("%v handshakes timed out at the listener, want the mute one and the half one; log:\n%s", got, e.log)
		}
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, m *transport.Memory, e *edge) {
		m.Cut("a1", "r1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := transport.Dial(ctx, e.addr(), transport.Hello{}, e.dial); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestCloseDoesNotWaitForADeadPeer(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, m *transport.Memory, e *edge) {
		child, _ := e.open(transport.Hello{})
		m.Cut("a1", "r1")
		start := time.Now()
		child.Close("going home")
		if took := time.Since(start); took > 2*timeout {
			t.Errorf("close took %s", took)
		}
	})
}

func TestMemoryConnectionsBehaveLikeSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := transport.NewMemory()
		listener, err := m.Host("b").Listen(":0")
		if err != nil {
			t.Fatal(err)
		}
		near, err := m.Host("a").Dial(t.Context(), listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := far.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read past its deadline: %v", err)
		}
		_ = far.SetReadDeadline(time.Time{})

		m.Cut("a", "b")
		if _, err := near.Write([]byte("kept")); err != nil {
			t.Errorf("write into a cut edge: %v", err)
		}
		_ = near.SetWriteDeadline(time.Now().Add(time.Minute))
		if n, err := near.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 1<<20 {
			t.Errorf("write beyond the buffers: %d bytes, %v", n, err)
		}
		m.Delay("a", "b", time.Second)
		m.Heal("a", "b")
		if n, err := io.ReadFull(far, buf[:4]); err != nil || string(buf[:n]) != "kept" {
			t.Errorf("after healing: %q, %v", buf[:n], err)
		}
		near.Close()
		start := time.Now()
		if _, err := io.Copy(io.Discard, far); err != nil || time.Since(start) != time.Second {
			t.Errorf("end of stream after %s, %v; the edge delays by 1s", time.Since(start), err)
		}
		if _, err := near.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		if _, err := far.Write(buf); err == nil {
			t.Error("wrote to a peer that is gone")
		}
		far.Close()
		listener.Close()
		if _, err := m.Host("a").Dial(t.Context(), listener.Addr().String()); err == nil {
			t.Error("dialed a closed listener")
		}
	})
}
