package input

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
)

func listening(t *testing.T, s Spec, sink Sink) (Source, string) {
	t.Helper()
	s.Name, s.Type, s.Listen = "sys", TypeSyslog, "127.0.0.1:0"
	src := running(t, Options{Spec: s, Sink: sink})
	until(t, "the listener", func() bool { return src.Status().Address != "" })
	return src, src.Status().Address
}

func dials(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func sends(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestSyslogOverTCP(t *testing.T) {
	sink := &memory{}
	src, address := listening(t, Spec{}, sink)
	// A sender that stops in the middle must not keep the others waiting.
	slow := dials(t, "tcp", address)
	sends(t, slow, "30 <14>1 - slow")
	c := dials(t, "tcp", address)
	for _, b := range []byte("<14>1 - a app - - - one\n23 <14>1 - b app - - - two") {
		sends(t, c, string(b)) // one byte at a time
	}
	until(t, "two messages", func() bool { return len(sink.taken()) == 2 })
	if it := sink.taken(); body(&it[0].Event) != "one" || it[1].Event.Entity != "b/app" || it[0].Position.Source != "sys" || it[0].Position.Replayable {
		t.Fatalf("items %+v", it)
	}
	st := src.Status()
	until(t, "time to go on", func() bool { s := src.Status(); return s.CaughtUp && s.AsOf > st.AsOf })
	slow.Close()
	until(t, "the broken message", func() bool { return len(sink.taken()) == 3 })
	if e := sink.taken()[2].Event; e.Signal != "syslog.malformed" || attr(&e, AttrCut) == "" {
		t.Fatalf("half a message: %+v", e)
	}
	sends(t, c, "9999999 <14>x")
	until(t, "the refusal", func() bool { return src.Status().Dropped["frame_too_long"] == 1 })
	if e := sink.taken()[0].Event; e.Stamp.Lo == 0 || e.Stamp.Lo > e.Stamp.Hi || e.Flags != 0 {
		t.Errorf("stamp %+v flags %b", e.Stamp, e.Flags)
	}
	sink.check(t)
}

func TestSyslogBackpressureReachesTheSender(t *testing.T) {
	sink := &memory{gate: make(chan struct{})}
	src, address := listening(t, Spec{}, sink)
	c := dials(t, "tcp", address)
	msg := "<14>1 - a app - - - " + strings.Repeat("x", 32<<10) + "\n"
	// More than the kernel's buffers hold: the sender is still writing when
	// nothing more is read.
	const messages = 2000
	written := make(chan error, 1)
	go func() {
		var err error
		for range messages {
			if _, err = c.Write([]byte(msg)); err != nil {
				break
			}
		}
		written <- err
	}()
	sink.gate <- struct{}{}
	until(t, "the first messages", func() bool { return len(sink.taken()) > 0 })
	until(t, "more of them", func() bool { return !src.Status().CaughtUp })
	select {
	case err := <-written:
		t.Fatalf("the sender did not have to wait: %v", err)
	default:
	}
	close(sink.gate)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	until(t, "every message", func() bool { return len(sink.taken()) == messages })
}

func TestSyslogOverUDP(t *testing.T) {
	sink := &memory{}
	src, address := listening(t, Spec{Protocol: ProtocolUDP, MaxLine: 1024}, sink)
	c := dials(t, "udp", address)
	sends(t, c, "<14>1 - a app - - - one\n")
	sends(t, c, "not syslog")
	sends(t, c, "<14>1 - a app - - - "+strings.Repeat("x", 2000))
	until(t, "three datagrams", func() bool { return len(sink.taken()) == 3 })
	it := sink.taken()
	if body(&it[0].Event) != "one" || it[1].Event.Signal != "syslog.malformed" || attr(&it[2].Event, AttrCut) != "996" {
		t.Fatalf("items %+v", it)
	}
	until(t, "caught up", func() bool { return src.Status().CaughtUp })
	sink.check(t)
}

func TestSyslogCountsWhatTheKernelDropped(t *testing.T) {
	sink := &memory{gate: make(chan struct{})}
	src, address := listening(t, Spec{Protocol: ProtocolUDP}, sink)
	c := dials(t, "udp", address)
	const sent = 30_000
	for i := range sent {
		sends(t, c, fmt.Sprintf("<14>1 - a app - - - %d %s", i, strings.Repeat("x", 1000)))
	}
	close(sink.gate)
	// The kernel tells with the next datagram.
	until(t, "every datagram accounted for", func() bool {
		sends(t, c, "<14>1 - b app - - - end")
		s := src.Status()
		if _, counts := overflowOf(nil); !counts && s.Dropped["udp_overflow"] == 0 {
			return len(sink.taken()) > 0
		}
		return s.Dropped["udp_overflow"] > 0
	})
}

func TestSyslogFromLogger(t *testing.T) {
	logger, err := exec.LookPath("logger")
	if err != nil {
		t.Skip("no util-linux logger here")
	}
	sink := &memory{}
	_, address := listening(t, Spec{}, sink)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for i, args := range [][]string{{"--rfc5424"}, {"--rfc3164"}, {"--rfc5424", "--octet-count"}} {
		args = append([]string{"-n", host, "-P", port, "-T", "-t", "pay", "-p", "user.err"}, append(args, "gateway timed out")...)
		if out, err := exec.Command(logger, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
		until(t, strings.Join(args, " "), func() bool { return len(sink.taken()) > i })
		e := sink.taken()[i].Event
		if body(&e) != "gateway timed out" || !strings.HasSuffix(e.Entity, "/pay") || e.Signal != "syslog.err" || e.SourceTime == 0 {
			t.Errorf("%v: %+v", args, e)
		}
	}
	sink.check(t)
}
