//go:build !zos

package gossip

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestStreamsAreBoundedInNumber(t *testing.T) {
	metrics, err := newMetrics(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(newNetwork().attach("10.0.0.1:1"), nil, newRefusals(metrics.refused, slog.New(slog.DiscardHandler)))
	defer g.Shutdown()
	stream := func() net.Conn {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close() })
		return far
	}
	open := make([]net.Conn, maxStreams)
	for i := range open {
		if open[i] = g.admit(stream()); open[i] == nil {
			t.Fatalf("stream %d refused", i+1)
		}
	}
	if g.admit(stream()) != nil {
		t.Fatal("one stream too many was admitted")
	}
	open[0].Close()
	open[0].Close() // gives back one slot, not two
	if g.admit(stream()) == nil {
		t.Error("refused although a stream has ended")
	}
	if g.admit(stream()) != nil {
		t.Error("a stream closed twice freed two slots")
	}
}

func TestStreamIsBoundedInSize(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	c := &boundedConn{Conn: far, left: maxStreamBytes, release: func() {}}
	go func() {
		near.Write(bytes.Repeat([]byte{1}, maxStreamBytes+1)) // ends when the reader closes
	}()
	n, err := io.Copy(io.Discard, c)
	c.Close()
	if n != maxStreamBytes || !errors.Is(err, errStreamTooLong) {
		t.Errorf("read %d bytes, then %v; want %d, then %v", n, err, maxStreamBytes, errStreamTooLong)
	}
}

func TestLogLevels(t *testing.T) {
	var out bytes.Buffer
	metrics, err := newMetrics(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	a := &logAdapter{logger: logger, refusals: newRefusals(metrics.refused, logger)}
	for _, line := range []string{
		"[DEBUG] memberlist: Stream connection from=x\n",
		"[ERR] memberlist: Push/Pull with n2 failed: refused\n",
		"[ERR] memberlist: Decrypt packet failed: no from=y\n",
		"[ERR] memberlist: Decrypt packet failed: no from=z\n", // counted, not logged again
		"[WARN] memberlist: ignoring alive message for 'n': no\n",
		"no level at all\n",
	} {
		if n, err := a.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	want := strings.Join([]string{
		`level=DEBUG msg=memberlist text="Stream connection from=x"`,
		`level=WARN msg=memberlist text="Push/Pull with n2 failed: refused"`,
		`level=WARN msg="gossip refused" reason=key detail="Decrypt packet failed: no from=y" unlogged=0`,
		`level=DEBUG msg=memberlist text="ignoring alive message for 'n': no"`,
		`level=INFO msg=memberlist text="no level at all"`,
		"",
	}, "\n")
	if out.String() != want {
		t.Errorf("log is\n%swant\n%s", out.String(), want)
	}
}
