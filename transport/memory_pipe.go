package transport

import (
	"io"
	"net"
	"sync"
	"time"
)

// pipeBuffer is what one direction of a memory connection holds, like a
// socket's buffers: beyond it the writer waits.
const pipeBuffer = 256 << 10

// pipe is one direction of a memory connection.
type pipe struct {
	edge *edge

	mu       sync.Mutex
	segments []segment
	bytes    int
	gone     bool          // the reader has closed its end
	changed  chan struct{} // closed at the next change
}

// segment is one write under way. One without bytes is the end of the stream.
type segment struct {
	bytes []byte
	due   time.Time
}

func newPipe(e *edge) *pipe { return &pipe{edge: e, changed: make(chan struct{})} }

// notify wakes whoever waits; the caller holds mu.
func (p *pipe) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// end appends the end of the stream.
func (p *pipe) end() {
	_, delay, _ := p.edge.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.segments = append(p.segments, segment{due: time.Now().Add(delay)})
	p.notify()
}

// abandon says that nobody will read any more.
func (p *pipe) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone, p.segments, p.bytes = true, nil, 0
	p.notify()
}

func (p *pipe) write(b []byte, closed <-chan struct{}, limit *deadline) (int, error) {
	written := 0
	for {
		blocked, delay, edgeChanged := p.edge.state()
		at, moved := limit.get()
		if err := firstError(closed, at); err != nil {
			return written, err
		}
		p.mu.Lock()
		if p.gone && !blocked { // over a stopped edge the reset does not come back
			p.mu.Unlock()
			return written, io.ErrClosedPipe
		}
		if room := min(len(b), pipeBuffer-p.bytes); room > 0 && !p.gone {
			p.segments = append(p.segments, segment{append([]byte(nil), b[:room]...), time.Now().Add(delay)})
			p.bytes += room
			b, written = b[room:], written+room
			p.notify()
		}
		changed := p.changed
		p.mu.Unlock()
		if len(b) == 0 {
			return written, nil
		}
		wait(at, closed, moved, edgeChanged, changed)
	}
}

func (p *pipe) read(b []byte, closed <-chan struct{}, limit *deadline) (int, error) {
	for {
		blocked, _, edgeChanged := p.edge.state()
		at, moved := limit.get()
		if err := firstError(closed, at); err != nil {
			return 0, err
		}
		p.mu.Lock()
		changed := p.changed
		if len(p.segments) > 0 && !blocked {
			head := &p.segments[0]
			if now := time.Now(); now.Before(head.due) {
				if at.IsZero() || head.due.Before(at) {
					at = head.due
				}
			} else if head.bytes == nil {
				p.mu.Unlock()
				return 0, io.EOF // stays for the next read
			} else {
				n := copy(b, head.bytes)
				p.bytes -= n
				if head.bytes = head.bytes[n:]; len(head.bytes) == 0 {
					p.segments = p.segments[1:]
				}
				p.notify()
				p.mu.Unlock()
				return n, nil
			}
		}
		p.mu.Unlock()
		wait(at, closed, moved, edgeChanged, changed)
	}
}

func firstError(closed <-chan struct{}, at time.Time) error {
	select {
	case <-closed:
		return net.ErrClosed
	default:
		return expired(at)
	}
}

// wait returns at the time given, or when one of the channels is closed.
func wait(at time.Time, closed, moved, edgeChanged, changed <-chan struct{}) {
	var due <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-closed:
	case <-moved:
	case <-edgeChanged:
	case <-changed:
	}
}
