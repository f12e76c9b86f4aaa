//go:build !zos

package relay

import (
	"pando/event"
	"pando/transport"
	"pando/tree/wire"
)

// digests is what one lane has to say.
type digests struct {
	sections []section // of this relay's own, that wait
	turn     int       // of the sources
	id       uint64    // of the digest under way, or 0
	flight   []*parcel // whose its sections are; nil: the core's
}

// section is one of the core's.
type section struct {
	body   []byte
	unit   event.Unit
	behind uint64 // expectations that came before it
}

// pack makes a lane's next digest of the sections that wait: of this relay's
// own and of each relay's below in turn, so that none waits for all that another
// one has. Sections of one unit keep their order.
//
// A section waits until what it taught is committed, for who takes its agent
// over must know that, or be sent the events. Those of other agents pass it.
func (u *Outgoing) pack(lane event.Lane) (transport.Message, bool) {
	q := &u.lanes[lane]
	if q.id != 0 {
		return transport.Message{}, false
	}
	b := u.below
	if b == nil {
		b = &below{}
	}
	var sections [][]byte
	var waiting []section
	own := 0 // of q.sections: those before are looked through
	sources := 1 + len(b.relays)
	for size, idle := 0, 0; idle < sources && len(sections) < maxSectionsPerDigest; {
		var body []byte
		var from *parcel
		source := q.turn % sources
		if source == 0 {
			for ; own < len(q.sections) && u.untaught(&q.sections[own]); own++ {
				waiting = append(waiting, q.sections[own])
			}
			if own < len(q.sections) {
				body = q.sections[own].body
			}
		} else if list := b.relays[source-1].parcels[lane]; len(list) > 0 {
			from = list[0]
			body = from.sections[0]
		}
		if body == nil {
			q.turn++
			idle++
			continue
		}
		if size += len(body); size > maxDigest && len(sections) > 0 {
			break // it begins the next one
		}
		if from != nil {
			b.drop(from, lane)
		} else {
			u.packed += uint64(len(body))
			own++
		}
		sections, q.flight = append(sections, body), append(q.flight, from)
		q.turn++
		idle = 0
	}
	if q.sections = q.sections[own:]; len(waiting) > 0 {
		q.sections = append(waiting, q.sections...)
	}
	if len(sections) == 0 {
		return transport.Message{}, false
	}
	u.id++
	q.id = u.id
	return wire.Encode(&wire.Digest{ID: u.id, Sections: sections}), true
}

// drop takes the first section of a parcel off its relay's queue.
func (b *below) drop(p *parcel, lane event.Lane) {
	l := p.from
	n := len(p.sections[0])
	l.packed += uint64(n)
	l.release(lane, n)
	b.count.Inc()
	if p.sections = p.sections[1:]; len(p.sections) == 0 {
		l.parcels[lane] = l.parcels[lane][1:]
	}
}
