//go:build !zos

package relay

import (
	"pando/transport"
	"pando/tree/wire"
)

// pack makes the next digest of the sections that wait: of this relay's own
// and of each relay's below in turn, so that none waits for all that another
// one has. Sections of one source keep their order.
func (u *Outgoing) pack() (transport.Message, bool) {
	if u.digest != 0 {
		return transport.Message{}, false
	}
	var sections [][]byte
	b := u.below
	if b == nil {
		b = &below{}
	}
	sources := 1 + len(b.relays)
	for size, idle := 0, 0; idle < sources && len(sections) < maxSectionsPerDigest; {
		source := b.turn % sources
		section, from, ok := u.first(b, source)
		if !ok {
			b.turn++
			idle++
			continue
		}
		if size += len(section); size > maxDigest && len(sections) > 0 {
			break // it begins the next one
		}
		u.drop(b, source)
		sections, u.flight = append(sections, section), append(u.flight, from)
		b.turn++
		idle = 0
	}
	if len(sections) == 0 {
		return transport.Message{}, false
	}
	u.id++
	u.digest = u.id
	return wire.Encode(&wire.Digest{ID: u.id, Sections: sections}), true
}

// first is the section that waits longest of a source: 0 is this relay, others
// are those below. Sections wait for the expectations that they taught, which
// travel with findings: who takes an agent over knows what was settled.
func (u *Outgoing) first(b *below, source int) (section []byte, from *parcel, ok bool) {
	if source == 0 {
		if len(u.sections) == 0 || len(u.expect) > 0 {
			return nil, nil, false
		}
		return u.sections[0], nil, true
	}
	l := b.relays[source-1]
	if len(l.parcels) == 0 || l.parcels[0].behind != nil && !l.parcels[0].behind.sent {
		return nil, nil, false
	}
	return l.parcels[0].sections[0], l.parcels[0], true
}

// drop takes the first section of a source off its queue.
func (u *Outgoing) drop(b *below, source int) {
	if source == 0 {
		u.packed += uint64(len(u.sections[0]))
		u.sections = u.sections[1:]
		return
	}
	l := b.relays[source-1]
	p := l.parcels[0]
	n := len(p.sections[0])
	l.packed += uint64(n)
	l.release(n)
	b.count.Inc()
	if p.sections = p.sections[1:]; len(p.sections) == 0 {
		l.parcels = l.parcels[1:]
	}
}
