package input

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// timed is a syslog source over TCP whose clock only the test moves.
type timed struct {
	*testing.T
	src     *syslogSource
	address string
	sink    *memory
	now     atomic.Int64
}

func newTimed(t *testing.T, spec Spec) *timed {
	t.Helper()
	h := &timed{T: t, sink: &memory{}}
	h.now.Store(int64(time.Hour))
	spec.Name, spec.Type, spec.Listen = "sys", TypeSyslog, "127.0.0.1:0"
	h.src = running(t, Options{Spec: spec, Sink: h.sink, Clock: h.now.Load}).(*syslogSource)
	until(t, "the listener", func() bool { return h.src.Status().Address != "" })
	h.address = h.src.Status().Address
	return h
}

func (h *timed) waits(d time.Duration) { h.now.Add(int64(d)) }

// says sends on a connection and waits until all of it was dealt with.
func (h *timed) says(c net.Conn, text string) {
	h.Helper()
	h.now.Add(1) // so that what was read before is told from this
	sends(h.T, c, text)
	until(h.T, "what was sent to be read", func() bool {
		h.src.mu.Lock()
		defer h.src.mu.Unlock()
		for r := range h.src.readers {
			if r.conn.RemoteAddr().String() == c.LocalAddr().String() {
				return !r.busy && r.spoke == h.now.Load()
			}
		}
		return false
	})
}

// bodies are the texts that were taken.
func (h *timed) bodies() (list []string) {
	for _, it := range h.sink.taken() {
		list = append(list, body(&it.Event))
	}
	return list
}

// hungUp waits for the source's end of a connection.
func hungUp(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the connection is open: %v", err)
	}
}

func refusals(h *timed) uint64 { return h.src.Status().Dropped["connections_refused"] }

// Senders that open a connection and say no more would have kept all places
// for ever.
func TestSyslogQuietestMakesRoom(t *testing.T) {
	h := newTimed(t, Spec{MaxConnections: 2})
	first, second := dials(t, "tcp", h.address), dials(t, "tcp", h.address)
	h.says(first, "<14>1 - a app - - - one\n")
	h.waits(time.Second)
	h.says(second, "<14>1 - b app - - - two\n")
	h.waits(2 * time.Second)
	third := dials(t, "tcp", h.address)
	h.says(third, "<14>1 - c app - - - three\n")
	hungUp(t, first)
	h.says(second, "<14>1 - b app - - - four\n")
	if got, want := h.bodies(), []string{"one", "two", "three", "four"}; !slices.Equal(got, want) {
		t.Errorf("took %q, want %q", got, want)
	}
	if n := h.src.Status().Closed["idle"]; n != 1 || refusals(h) != 0 {
		t.Errorf("%d connections made room and %d were refused, want 1 and 0", n, refusals(h))
	}
}

// Who speaks, and who is inside a message, keeps his place.
func TestSyslogRefusesRatherThanCut(t *testing.T) {
	for name, sent := range map[string]string{"just spoke": "<14>1 - a app - - - one\n", "inside a message": "<14>1 - a app - - - o"} {
		t.Run(name, func(t *testing.T) {
			h := newTimed(t, Spec{MaxConnections: 1})
			c := dials(t, "tcp", h.address)
			h.says(c, sent)
			if strings.HasSuffix(sent, "o") {
				h.waits(30 * time.Second)
			}
			hungUp(t, dials(t, "tcp", h.address))
			if refusals(h) != 1 {
				t.Errorf("%d connections were refused, want 1", refusals(h))
			}
			h.says(c, "ne more\n")
			if n := len(h.sink.taken()); !strings.Contains(strings.Join(h.bodies(), " "), "ne more") || len(h.src.Status().Closed) != 0 {
				t.Errorf("%d messages: %q", n, h.bodies())
			}
		})
	}
}

// What the kernel holds when a connection is asked to make room is read, and
// then the connection stays.
func TestSyslogConnectionThatSpokeStays(t *testing.T) {
	h := newTimed(t, Spec{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sender := dials(t, "tcp", l.Addr().String())
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	conn := accepted.(*net.TCPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := h.src.admit(conn)
	defer h.src.dismiss(r)
	h.src.idle(r, h.now.Load(), false)
	h.waits(time.Minute)
	c := &connection{s: h.src, r: r, conn: conn, raw: raw, m: h.src.newMessages(), f: framer{limit: MaxLine}, chunk: make([]byte, socketBytes)}
	if h.src.quietest() != r {
		t.Fatal("the only connection is not the quietest")
	}
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	const text = "<14>1 - a app - - - one\n"
	sends(t, sender, text)
	until(t, "the kernel to hold it", func() (arrived bool) {
		_ = raw.Control(func(fd uintptr) {
			n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
			arrived = err == nil && n > 0
		})
		return arrived
	})
	n, err := c.leave()
	if err != nil || n != len(text) {
		t.Fatalf("%d bytes of %d, %v", n, len(text), err)
	}
	if _, err := c.feed(context.Background(), c.chunk[:n]); err != nil {
		t.Fatal(err)
	}
	if left := <-r.answer; left || h.src.asked(r) || len(h.sink.taken()) != 1 {
		t.Error("a connection that had spoken was told to leave")
	}
	h.src.idle(r, h.now.Load(), false)
	h.waits(time.Minute)
	h.src.quietest()
	if n, err := c.leave(); n != 0 || err != nil {
		t.Errorf("leaving: %d bytes, %v", n, err)
	}
	hungUp(t, sender)
}

// A sender that adds a byte now and then to a message without an end would
// have kept its place for ever.
func TestSyslogDribblerIsEnded(t *testing.T) {
	for name, sent := range map[string]string{"line": "<14>1 - a app - - - endless", "counted": "90 <14>1 - a app - - - endless"} {
		t.Run(name, func(t *testing.T) {
			h := newTimed(t, Spec{IdleLimit: 10 * time.Second})
			c := dials(t, "tcp", h.address)
			h.says(c, "<14>1 - a app - - - whole\n"+sent)
			for range 3 {
				h.waits(3 * time.Second)
				h.says(c, "s")
			}
			h.waits(2 * time.Second)
			hungUp(t, c)
			until(t, "the part of the message", func() bool { return len(h.sink.taken()) == 2 })
			e := h.sink.taken()[1].Event
			if e.Signal != "syslog.malformed" || !strings.HasSuffix(body(&e), "endlesssss") {
				t.Errorf("the part: signal %s, body %q", e.Signal, body(&e))
			}
			if n := h.src.Status().Closed["stalled"]; n != 1 {
				t.Errorf("%d connections were ended for it, want 1", n)
			}
			h.sink.check(t)
		})
	}
}

// A slow message that is complete in time is one like any other.
func TestSyslogSlowMessageIsWhole(t *testing.T) {
	h := newTimed(t, Spec{IdleLimit: 10 * time.Second})
	c := dials(t, "tcp", h.address)
	for i, part := range []string{"<14>1 - a app", " - - - one\n<14>1 - a app", " - - - two\n", "<14>1 - a app - - - three\n"} {
		h.waits(time.Duration(i) * 2 * time.Second)
		h.says(c, part)
	}
	if got, want := h.bodies(), []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("took %q, want %q", got, want)
	}
}
