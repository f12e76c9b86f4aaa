package transport

import (
	"encoding/binary"
	"sync"

	"pando/internal/pack"
)

// maxPings bounds the exchanges in flight: more PINGs than heartbeats of the
// longest sensible timeout are a flood.
const maxPings = 8

// pong answers a PING: T1 as it came, T2 and T3 in root time.
type pong struct {
	t1, t2, t3, bound int64
	ok                bool
}

func (p pong) write(w *pack.Writer) {
	w.Int(p.t1)
	w.Int(p.t2)
	w.Int(p.t3)
	w.Int(p.bound)
	w.Bool(p.ok)
}

func readPong(r *pack.Reader) pong {
	return pong{t1: r.Int("t1"), t2: r.Int("t2"), t3: r.Int("t3"), bound: r.Int("bound"), ok: r.Bool("ok")}
}

func decodePong(b []byte) (pong, error) {
	r := pack.NewReader(b)
	p := readPong(r)
	if err := r.Done(); err != nil {
		return pong{}, malformed(framePong, err)
	}
	return p, nil
}

func decodePing(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, violation(CodeMalformed, "PING of %d bytes, want 8: %w", len(b), ErrProtocol)
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// arrive takes T2 of an exchange.
func (t Time) arrive(t1 int64) pong {
	now, bound, ok := t.Root()
	return pong{t1: t1, t2: now, bound: bound, ok: ok}
}

// leave takes T3. The bound is the worse of both readings, since root time
// may have been estimated anew in between.
func (t Time) leave(p pong) pong {
	now, bound, ok := t.Root()
	p.t3, p.bound, p.ok = now, max(p.bound, bound), p.ok && ok
	return p
}

// pings remembers the T1 of the PINGs not answered yet, so that a peer can
// neither invent an exchange nor answer one twice.
type pings struct {
	mu   sync.Mutex
	sent []int64 // at most maxPings; the oldest is forgotten
}

func (p *pings) add(t1 int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sent) == maxPings {
		p.sent = append(p.sent[:0], p.sent[1:]...)
	}
	p.sent = append(p.sent, t1)
}

// take reports whether t1 was waiting. Answers come in order, so what is
// older will not be answered any more.
func (p *pings) take(t1 int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, sent := range p.sent {
		if sent == t1 {
			p.sent = append(p.sent[:0], p.sent[i+1:]...)
			return true
		}
	}
	return false
}

func (p pong) encode() []byte {
	w := pack.NewWriter()
	p.write(w)
	return w.Bytes()
}
