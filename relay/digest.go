//go:build !zos

package relay

import (
	"fmt"

	"pando/transport"
	"pando/tree/wire"
)

// pack makes the next digest of the sections that wait: of this relay's own
// and of each relay's below in turn, so that none waits for all that another
// one has. Sections of one source keep their order.
func (u *upstream) pack() (transport.Message, bool) {
	if u.digest != 0 {
		return transport.Message{}, false
	}
	var sections [][]byte
	sources := 1 + len(u.below.relays)
	for size, idle := 0, 0; idle < sources && len(sections) < maxSectionsPerDigest; {
		source := u.below.turn % sources
		section, from, ok := u.first(source)
		if !ok {
			u.below.turn++
			idle++
			continue
		}
		if size += len(section); size > maxDigest && len(sections) > 0 {
			break // it begins the next one
		}
		u.drop(source)
		sections, u.flight = append(sections, section), append(u.flight, from)
		if from != nil {
			u.r.count.passed.Inc()
		}
		u.below.turn++
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
// are those below.
func (u *upstream) first(source int) (section []byte, from *parcel, ok bool) {
	if source == 0 {
		if len(u.sections) == 0 {
			return nil, nil, false
		}
		return u.sections[0], nil, true
	}
	l := u.below.relays[source-1]
	if len(l.parcels) == 0 {
		return nil, nil, false
	}
	return l.parcels[0].sections[0], l.parcels[0], true
}

// drop takes the first section of a source off its queue.
func (u *upstream) drop(source int) {
	if source == 0 {
		u.sections = u.sections[1:]
		return
	}
	l := u.below.relays[source-1]
	p := l.parcels[0]
	l.release(len(p.sections[0]))
	if p.sections = p.sections[1:]; len(p.sections) == 0 {
		l.parcels = l.parcels[1:]
	}
}

// judged gives each section's judgement to whoever cut it.
func (u *upstream) judged(a *wire.DigestAnswer) error {
	u.mu.Lock()
	if a.ID != u.digest {
		u.mu.Unlock()
		return nil
	}
	flight := u.flight
	u.digest, u.flight = 0, nil
	if len(a.Judgements) != len(flight) {
		u.mu.Unlock()
		return fmt.Errorf("%d sections have %d judgements", len(flight), len(a.Judgements))
	}
	own := &wire.DigestAnswer{ID: a.ID}
	for i, p := range flight {
		if p == nil {
			own.Judgements = append(own.Judgements, a.Judgements[i])
			continue
		}
		p.judge(a.Judgements[i])
	}
	u.mu.Unlock()
	u.nudge()
	if len(own.Judgements) == 0 {
		return nil
	}
	return u.record(recJudged, wire.Encode(own).Body)
}
