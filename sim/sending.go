package sim

import (
	"io"

	"pando/agent"
	"pando/event"
	"pando/event/clock"
	"pando/transport"
	"pando/tree/wire"
)

// seek puts a lane's cursor before what is to be sent next.
func (u *uplink) seek(l event.Lane) {
	at, chain := u.a.core.Seek(l, u.a.hand.Outbox(l).Next)
	u.cursors[l] = cursor{max(uint64(at), u.a.tape.first), chain}
}

// pump sends what the lanes' credit allows.
func (u *uplink) pump() {
	if u.stopped || u.parent == nil || !u.parent.alive {
		return
	}
	for l := range event.Lane(event.Lanes) {
		ch := critical
		if l == event.Bulk {
			ch = bulk
		}
		for u.parent != nil && u.parent.credit[ch] > 0 && u.sendNext(l, ch) == nil {
		}
	}
}

// sendNext sends a lane's next batch; io.EOF means that there is none yet.
func (u *uplink) sendNext(l event.Lane, ch channel) error {
	a, c := u.a, &u.cursors[l]
	out := a.hand.Outbox(l)
	if !out.Open {
		return transport.ErrClosed
	}
	if c.at < a.tape.first {
		u.seek(l)
	}
	for ; c.at <= a.tape.last(); c.at++ {
		r := &a.tape.recs[c.at-a.tape.first]
		body := agent.Record{Kind: r.kind, Body: r.body}.Batch()
		if body == nil {
			continue
		}
		h, err := event.DecodeHeader(body)
		if err != nil {
			a.w.fault("%s: record %d: %v", a.name, c.at, err)
			return err
		}
		if h.Unit.Lane != l {
			continue
		}
		before := c.chain
		if h.First > out.Next {
			u.broken(agent.GapError(l, out.Next, h.First))
			return transport.ErrClosed
		}
		c.chain = event.Chain(before, body)
		if h.First < out.Next {
			continue
		}
		c.at++
		u.post(l, ch, &h, before, body)
		return nil
	}
	return io.EOF
}

func (u *uplink) post(l event.Lane, ch channel, h *event.Header, before event.Hash, body []byte) {
	a := u.a
	m := &wire.Batch{Before: before, Bytes: body}
	if h.Boot == a.clock.boot {
		if m.Map, m.Mapped = a.clock.mapping(); !m.Mapped {
			m.Map = clock.Mapping{Boot: h.Boot, At: a.clock.mono()}
		}
	} else {
		m.Map, m.Mapped = a.core.Clock(h.Boot)
	}
	m.DurableTo, _ = a.hand.Send(l, h.Last())
	t := wire.Encode(m)
	u.parent.credit[ch] -= len(t.Body)
	u.parent.send(ch, t)
}

// vouch tells what the disk holds, where no batch says so.
func (u *uplink) vouch() {
	if u.stopped || u.parent == nil || !u.parent.alive {
		return
	}
	for _, v := range u.a.hand.Vouches() {
		u.parent.send(control, wire.Encode(&v))
	}
}
