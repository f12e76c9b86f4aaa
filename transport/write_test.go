package transport

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// gate is a connection that lets one write through at a time, and tells when
// all of a number of bytes are through.
type gate struct {
	net.Conn
	written  bytes.Buffer
	want     int
	entered  chan struct{}
	leave    chan struct{}
	complete chan struct{}
}

func (g *gate) SetWriteDeadline(time.Time) error { return nil }

func (g *gate) Write(b []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.leave
	n, err := g.written.Write(b)
	if g.written.Len() == g.want {
		close(g.complete)
	}
	return n, err
}

func TestUrgentFramesOvertakeAtAChunk(t *testing.T) {
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Time: Time{Now: func() int64 { return 0 }}, Stamp: Stamp{Send: func() uint64 { return 0 }}}
	s := &Session{opts: opts, metrics: m, done: make(chan struct{})}
	const data, ctl = 64, 3 // chunks
	conn := &gate{entered: make(chan struct{}), leave: make(chan struct{}), complete: make(chan struct{}),
		want: (data+ctl)*(headerSize+MaxChunk) + 2*prefixSize + headerSize + 8}
	w := newWriter(s, &link{conn: conn}, LaneCritical)
	w.data.queue <- Message{Body: make([]byte, data*MaxChunk)}
	stopped := make(chan error)
	go func() { stopped <- w.run() }()

	<-conn.entered // the writer is busy with the first chunks
	w.control.queue <- Message{Body: make([]byte, ctl*MaxChunk)}
	w.ping()
	conn.leave <- struct{}{}
	for through := false; !through; {
		select {
		case <-conn.entered:
			conn.leave <- struct{}{}
		case <-conn.complete:
			through = true
		}
	}
	close(s.done)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}

	var order []frameType
	reader := newFrameReader(&conn.written, "writer")
	for {
		f, err := reader.next()
		if err != nil {
			break
		}
		if len(order) == 0 || order[len(order)-1] != f.typ {
			order = append(order, f.typ)
		}
	}
	want := []frameType{frameData, framePing, frameControl, frameData}
	if len(order) != len(want) {
		t.Fatalf("order %v, want %v", order, want)
	}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("order %v, want %v", order, want)
		}
	}
}
