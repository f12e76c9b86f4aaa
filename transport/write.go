package transport

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// flushAt is how many bytes the writer gathers for one write: a few TLS
	// records, so that many small messages share one system call, and little
	// enough that an urgent frame does not wait long behind it.
	flushAt = 48 << 10

	// prefixSize is the start of a message's first chunk: its kind and length.
	prefixSize = 5
)

// writer sends what one connection has to carry, most urgent first: the
// session's own frames, then one chunk of a control message, then one chunk
// of a data message.
type writer struct {
	session *Session
	link    *link
	wake    chan struct{} // capacity 1; a frame of the session's own is due
	control outlet        // closed on the second connection
	data    outlet
	buf     []byte // gathered frames; owned by run

	mu     sync.Mutex
	pingAt bool             // a PING is due
	pongs  []pong           // at most maxPings; the oldest is dropped
	grants [channels]Credit // not told to the peer yet
}

// outlet cuts the messages of one channel into chunks.
type outlet struct {
	typ     frameType
	queue   chan Message // nil if the connection does not carry the channel
	current Message
	sent    int
	busy    bool
	traffic traffic
}

func newWriter(s *Session, l *link, lane Lane) *writer {
	w := &writer{session: s, link: l, wake: make(chan struct{}, 1), buf: make([]byte, 0, flushAt+MaxChunk+2*headerSize)}
	w.data = outlet{typ: frameData, queue: make(chan Message, queued), traffic: s.metrics.traffic(lane, "sent")}
	w.control = outlet{typ: frameControl}
	if lane == LaneCritical {
		w.control.queue = make(chan Message, queued)
		w.control.traffic = s.metrics.traffic(control, "sent")
	}
	return w
}

// run writes until the session is dead and returns what went wrong, if that
// was the writing.
func (w *writer) run() error {
	for {
		w.urgent()
		more := w.control.chunk(w) || w.data.chunk(w)
		if len(w.buf) >= flushAt || !more && len(w.buf) > 0 {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if more {
			select {
			case <-w.session.done:
				return nil
			default:
			}
			continue
		}
		select {
		case <-w.session.done:
			return nil
		case <-w.wake:
		case m := <-w.control.queue:
			w.control.start(m)
		case m := <-w.data.queue:
			w.data.start(m)
		}
	}
}

func (w *writer) flush() error {
	s := w.session
	if err := w.link.conn.SetWriteDeadline(time.Now().Add(stalls * s.opts.Timeout)); err != nil {
		return lost("write to", s, err)
	}
	_, err := w.link.conn.Write(w.buf)
	w.buf = w.buf[:0]
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return violation(CodeStalled, "write to %s: peer has not read for %s: %w", s.peer.Node(), stalls*s.opts.Timeout, ErrProtocol)
	}
	if err != nil {
		return lost("write to", s, err)
	}
	return nil
}

func lost(what string, s *Session, err error) error {
	return fmt.Errorf("connection lost: %s %s: %w", what, s.peer.Node(), err)
}

// urgent appends the session's own frames.
func (w *writer) urgent() {
	w.mu.Lock()
	ping, pongs, grants := w.pingAt, w.pongs, w.grants
	w.pingAt, w.pongs, w.grants = false, nil, [channels]Credit{}
	w.mu.Unlock()
	stamp, clock := w.session.opts.Stamp.Send, w.session.opts.Time
	if ping {
		t1 := clock.Now()
		w.link.pings.add(t1)
		w.buf = appendFrame(w.buf, framePing, false, stamp(), nil, binary.BigEndian.AppendUint64(nil, uint64(t1)))
	}
	for _, p := range pongs {
		w.buf = appendFrame(w.buf, framePong, false, stamp(), nil, clock.leave(p).encode())
	}
	if grants != [channels]Credit{} {
		w.buf = appendFrame(w.buf, frameCredit, false, stamp(), nil, encodeGrants(grants))
	}
}

func encodeGrants(grants [channels]Credit) []byte {
	b := make([]byte, 0, 8*channels)
	for _, n := range grants {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func (w *writer) ping() {
	w.mu.Lock()
	w.pingAt = true
	w.mu.Unlock()
	signal(w.wake)
}

func (w *writer) pong(p pong) {
	w.mu.Lock()
	if len(w.pongs) == maxPings {
		w.pongs = w.pongs[1:]
	}
	w.pongs = append(w.pongs, p)
	w.mu.Unlock()
	signal(w.wake)
}

func (w *writer) grant(lane Lane, n Credit) {
	w.mu.Lock()
	w.grants[lane] += n
	w.mu.Unlock()
	signal(w.wake)
}

func (o *outlet) start(m Message) {
	o.current, o.sent, o.busy = m, 0, true
	o.traffic.count(m.Body)
}

// chunk appends the next frame of the channel, or reports that there is none.
func (o *outlet) chunk(w *writer) bool {
	if !o.busy {
		select {
		case m := <-o.queue:
			o.start(m)
		default:
			return false
		}
	}
	var prefix []byte
	if o.sent == 0 {
		var first [prefixSize]byte
		first[0] = o.current.Kind
		binary.BigEndian.PutUint32(first[1:], uint32(len(o.current.Body)))
		prefix = first[:]
	}
	rest := o.current.Body[o.sent:]
	piece := rest[:min(len(rest), MaxChunk)]
	o.sent += len(piece)
	more := len(piece) < len(rest)
	w.buf = appendFrame(w.buf, o.typ, more, w.session.opts.Stamp.Send(), prefix, piece)
	if !more {
		o.current, o.busy = Message{}, false
	}
	return true
}
