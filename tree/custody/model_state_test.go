package custody

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

var seed1, seed2 = maphash.MakeSeed(), maphash.MakeSeed()

// key identifies a state up to what the future can see.
func (m *model) key(s *state) [2]uint64 {
	k := keyer{b: make([]byte, 0, 2048)}
	k.n(uint64(s.faults), s.opens)
	k.flags(s.restored, s.image != nil)
	for a := range s.a {
		m.keyAgent(&k, &s.a[a])
	}
	k.text(s.once)
	k.text(s.lost)
	for i := range s.r {
		k.flags(s.r[i].up)
		k.n(uint64(s.r[i].link))
		for u := range s.r[i].mem {
			k.intake(&s.r[i].mem[u])
			k.intake(&s.r[i].disk[u])
			if m.middle {
				k.n(uint64(s.r[i].flight[u]))
			}
		}
	}
	k.root(&s.root)
	if s.image != nil {
		k.root(s.image)
	}
	for i := range s.top {
		k.n(s.top[i], uint64(s.of[i/int(m.lanes)]))
	}
	k.flags(s.mid.up)
	k.n(uint64(s.mid.life), uint64(s.mid.ids))
	for _, list := range [][]passed{s.mid.queue, s.mid.wait} {
		k.n(uint64(len(list)))
		for i := range list {
			k.message(&list[i].msg)
			k.head(&list[i].joined.Head)
			k.n(uint64(len(list[i].joined.Ends)))
			k.n(list[i].joined.Ends...)
		}
	}
	var net [2]uint64 // a set: the sum does not depend on the order
	for i := range s.net {
		km := keyer{b: make([]byte, 0, 256)}
		km.message(&s.net[i])
		net[0] += maphash.Bytes(seed1, km.b)
		net[1] += maphash.Bytes(seed2, km.b)
	}
	return [2]uint64{maphash.Bytes(seed1, k.b) + net[0], maphash.Bytes(seed2, k.b) + net[1]}
}

type keyer struct{ b []byte }

func (m *model) keyAgent(k *keyer, a *agent) {
	k.flags(a.up, a.broken, a.saved != nil)
	k.n(a.session, uint64(a.relay+1), uint64(a.pushed))
	for l := range m.lanes {
		o := &a.out[l]
		k.n(uint64(a.synced[l]), a.durable[l], o.First, o.Last, o.Synced, o.Settled, o.Next, o.Durable)
		k.flags(o.Open)
	}
	m.keyDisk(k, &a.d)
	if a.saved != nil {
		m.keyDisk(k, a.saved)
	}
}

func (m *model) keyDisk(k *keyer, d *disk) {
	k.n(uint64(d.wal), d.epoch, d.started)
	for i := range m.lanes {
		l := &d.lane[i]
		k.n(uint64(l.start), l.trimmed, l.settled, uint64(len(l.log)))
		for i := range l.log {
			k.n(l.log[i].span.Last, uint64(l.log[i].pos))
			k.text(l.log[i].lines)
			k.b = append(k.b, l.log[i].span.After[:8]...)
		}
	}
}

func (k *keyer) n(vs ...uint64) {
	for _, v := range vs {
		k.b = binary.AppendUvarint(k.b, v)
	}
}

func (k *keyer) flags(list ...bool) {
	v := uint64(0)
	for i, b := range list {
		if b {
			v |= 1 << i
		}
	}
	k.n(v)
}

func (k *keyer) text(s string) { k.b = append(binary.AppendUvarint(k.b, uint64(len(s))), s...) }

func (k *keyer) term(t Term) { k.n(t.Epoch, t.Session) }

func (k *keyer) owner(o *Owner) {
	k.term(o.Term)
	k.n(o.Settled)
	k.flags(o.Closed)
	k.text(o.Relay)
	k.b = append(k.b, o.Chain[:8]...)
}

func (k *keyer) root(r *root) {
	k.flags(r.known...)
	for i := range r.owner {
		k.owner(&r.owner[i])
	}
	for i := range r.origin {
		k.n(uint64(r.origin[i].Current), r.origin[i].Opened, r.origin[i].Started)
	}
	k.b = append(k.b, r.pos...)
	k.text(r.applied)
	for _, g := range r.gone {
		k.n(uint64(g.unit), g.r.From, g.r.To)
	}
}

func (k *keyer) head(h *Head) {
	k.term(h.Term)
	k.n(h.From, h.To, uint64(h.Unit.WAL), uint64(h.Unit.Lane))
	k.flags(h.Rest, h.Resumes)
	k.text(h.Relay)
	k.b = append(append(k.b, h.Before[:8]...), h.After[:8]...)
}

func (k *keyer) message(m *message) {
	k.n(uint64(m.kind[0]), uint64(m.kind[1]), uint64(m.hop), uint64(m.wal), uint64(m.lane), uint64(m.relay),
		uint64(m.link), uint64(m.mid), uint64(m.id), m.opened, uint64(m.pos), uint64(m.v), uint64(m.start[0]), uint64(m.start[1]), m.began)
	k.term(m.term)
	k.head(&m.head)
	k.text(m.lines)
	for i := range m.owner {
		k.owner(&m.owner[i])
	}
}

func (k *keyer) intake(n *Intake) {
	k.term(n.Term)
	k.flags(n.Live, n.Claimed, n.Fenced, n.Closed, n.EndOK)
	k.n(n.Opened, n.Started, n.End, n.Vouched, n.Stepped, n.Settled, n.Cut, uint64(len(n.Held)))
	k.b = append(append(k.b, n.EndHash[:8]...), n.SettledHash[:8]...)
	for i := range n.Held {
		k.n(n.Held[i].First, n.Held[i].Last)
		k.b = append(k.b, n.Held[i].After[:8]...)
	}
}

func sameIntakes(a, b []Intake) bool {
	x, y := keyer{b: make([]byte, 0, 512)}, keyer{b: make([]byte, 0, 512)}
	for i := range a {
		x.intake(&a[i])
		y.intake(&b[i])
	}
	return bytes.Equal(x.b, y.b)
}
