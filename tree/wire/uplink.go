package wire

import (
	"fmt"

	"pando/internal/pack"
)

// MaxPath bounds the nodes above one node: no tree is that deep, but a circle
// of relays is.
const MaxPath = 16

// Uplink tells a relay how its parent, a relay too, is connected upwards. The
// parent says so when the session begins, whenever it changes, and when it is
// asked by an empty one.
type Uplink struct {
	// Life counts the parent's connections to the root; 0: it has none now.
	// When it changes, requests without an answer will get none: they are
	// made again once there is a new one.
	Life uint64
	Path []string // the nodes above the parent, nearest first
}

func (m *Uplink) append(w *pack.Writer) {
	w.Uint(m.Life)
	w.Array(len(m.Path))
	for _, name := range m.Path {
		w.String(name)
	}
}

func (m *Uplink) read(r *pack.Reader) {
	m.Life = r.Uint("life", maxSeq)
	m.Path = nil
	for range r.Array("path", MaxPath) {
		m.Path = append(m.Path, r.String("node", maxName))
		if r.Err() != nil {
			return
		}
	}
}

// Request decodes a request that a relay may pass on for another one, and
// returns where its id stands: the answer carries the id that it travels with.
func Request(kind uint8, body []byte) (m Message, id *uint64, err error) {
	switch kind {
	case KindClaim:
		x := &Claim{}
		m, id = x, &x.ID
	case KindAsk:
		x := &Ask{}
		m, id = x, &x.ID
	case KindFindings:
		x := &Findings{}
		m, id = x, &x.ID
	default:
		return nil, nil, errKind(kind)
	}
	return m, id, Decode(body, m)
}

// Answer decodes an answer to one of these requests, likewise.
func Answer(kind uint8, body []byte) (m Message, id *uint64, err error) {
	switch kind {
	case KindClaimAnswer:
		x := &ClaimAnswer{}
		m, id = x, &x.ID
	case KindDigestAnswer:
		x := &DigestAnswer{}
		m, id = x, &x.ID
	case KindDone:
		x := &Done{}
		m, id = x, &x.ID
	default:
		return nil, nil, errKind(kind)
	}
	return m, id, Decode(body, m)
}

func errKind(kind uint8) error {
	return fmt.Errorf("%w: message of kind %d does not travel so", pack.ErrMalformed, kind)
}
