//go:build !zos

package root

import (
	"context"
	"fmt"
	"math"
	"time"

	"pando/internal/pack"
	"pando/transport"
)

// A pulse is what a root that follows tells the leader several times a second:
// how far it is, what it knows, where it is. By it the leader gives a vote to
// a root that has caught up, keeps the address book, and raises the logic.

const (
	pulseEvery = 200 * time.Millisecond
	// freshFor is how old a pulse may be before its root counts as silent:
	// five were missed.
	freshFor = time.Second
)

// pulse is what one root said last.
type pulse struct {
	applied uint64        // newest entry handed to its state machine
	contact time.Duration // since it heard the leader; negative: never
	logic   uint64        // newest that its program knows
	server  Server        // where it is, if its configuration says so
	at      time.Time     // when it came, on this process's clock
}

func (p *pulse) fresh() bool { return time.Since(p.at) <= freshFor }

// beat tells the leader how this root is.
func (r *Root) beat(ctx context.Context) {
	for pause(ctx, pulseEvery) {
		p := r.pulse()
		w := pack.NewWriter()
		w.Uint(p.applied)
		w.Int(int64(p.contact))
		w.Uint(p.logic)
		appendServer(w, p.server)
		r.link.send(ctx, transport.Message{Kind: kindPulse, Body: w.Bytes()})
	}
}

// pulse is this root's own.
func (r *Root) pulse() pulse {
	st := r.node.Stats()
	return pulse{applied: st.AppliedIndex, contact: st.LastContact, logic: r.fsm.logics.newest(), server: r.ownPlace(), at: time.Now()}
}

// feel takes another root's pulse. Only members are listened to, so there are
// never more than the group may have.
func (r *Root) feel(name string, body []byte) error {
	b := pack.NewReader(body)
	p := pulse{applied: b.Uint("applied", math.MaxUint64), contact: time.Duration(b.Int("contact")), logic: b.Uint("logic", math.MaxUint32),
		server: readServer(b), at: time.Now()}
	if err := b.Done(); err != nil {
		return fmt.Errorf("%w: pulse: %w", errMalformed, err)
	}
	p.server.Name = name // who it is stands in the certificate
	g := r.node.Group()
	r.mu.Lock()
	defer r.mu.Unlock()
	for known := range r.pulses {
		if _, member := g.Find(known); !member {
			delete(r.pulses, known)
		}
	}
	if _, member := g.Find(name); member {
		r.pulses[name] = p
	}
	return nil
}

// pulseOf returns a member's newest pulse.
func (r *Root) pulseOf(name string) (pulse, bool) {
	if name == r.name {
		return r.pulse(), true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.pulses[name]
	return p, ok
}
