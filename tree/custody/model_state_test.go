package custody

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

var seed1, seed2 = maphash.MakeSeed(), maphash.MakeSeed()

// key identifies a state up to what the future can see.
func (s *state) key() [2]uint64 {
	k := keyer{b: make([]byte, 0, 1024)}
	k.n(flag01(s.a.up), uint64(s.a.synced), s.a.session, uint64(s.a.relay+1), uint64(s.a.pushed), uint64(s.faults), uint64(s.wals), uint64(s.pos), s.opens, s.a.durable)
	k.n(uint64(s.origin.Current), s.origin.Opened)
	o := s.a.out
	k.n(o.First, o.Last, o.Synced, o.Settled, flag01(o.Open), o.Next, o.Durable)
	k.disk(&s.a.d)
	if s.a.saved != nil {
		k.disk(s.a.saved)
	}
	k.b = append(append(append(k.b, s.applied...), '|'), s.lost...)
	for i := range s.r {
		k.n(flag01(s.r[i].up))
		for w := range s.r[i].mem {
			k.intake(&s.r[i].mem[w])
			k.intake(&s.r[i].disk[w])
		}
	}
	for w := range s.owner {
		k.owner(&s.owner[w])
	}
	var net [2]uint64 // a set: the sum does not depend on the order
	for i := range s.net {
		m, km := &s.net[i], keyer{}
		km.n(uint64(m.kind[0])|uint64(m.kind[1])<<8, uint64(m.wal), uint64(m.relay), m.opened, uint64(m.pos), uint64(m.v))
		km.term(m.term)
		km.term(m.head.Term)
		km.n(m.head.From, m.head.To, flag01(m.head.Rest))
		km.b = append(append(append(km.b, m.head.Before[:8]...), m.head.After[:8]...), m.lines...)
		km.owner(&m.owner)
		net[0] += maphash.Bytes(seed1, km.b)
		net[1] += maphash.Bytes(seed2, km.b)
	}
	return [2]uint64{maphash.Bytes(seed1, k.b) + net[0], maphash.Bytes(seed2, k.b) + net[1]}
}

type keyer struct{ b []byte }

func flag01(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (k *keyer) n(vs ...uint64) {
	for _, v := range vs {
		k.b = binary.AppendUvarint(k.b, v)
	}
}

func (k *keyer) term(t Term) { k.n(t.Epoch, t.Session) }

func (k *keyer) owner(o *Owner) {
	k.term(o.Term)
	k.n(o.Settled, flag01(o.Closed))
	k.b = append(append(k.b, o.Relay...), o.Chain[:8]...)
}

func (k *keyer) disk(d *disk) {
	k.n(uint64(d.wal), d.epoch, flag01(d.started), uint64(d.start), d.trimmed, d.settled, uint64(len(d.log)))
	for i := range d.log {
		k.n(d.log[i].span.Last, uint64(d.log[i].pos), uint64(len(d.log[i].lines)))
		k.b = append(append(k.b, d.log[i].lines...), d.log[i].span.After[:8]...)
	}
}

func (k *keyer) intake(n *Intake) {
	k.term(n.Term)
	k.n(n.Opened, flag01(n.Live)|flag01(n.Claimed)<<1|flag01(n.Fenced)<<2|flag01(n.Closed)<<3|flag01(n.EndOK)<<4,
		n.End, n.Vouched, n.Stepped, n.Settled, n.Cut, uint64(len(n.Held)))
	k.b = append(append(k.b, n.EndHash[:8]...), n.SettledHash[:8]...)
	for i := range n.Held {
		k.n(n.Held[i].First, n.Held[i].Last)
		k.b = append(k.b, n.Held[i].After[:8]...)
	}
}

func sameIntakes(a, b []Intake) bool {
	var x, y keyer
	for i := range a {
		x.intake(&a[i])
		y.intake(&b[i])
	}
	return bytes.Equal(x.b, y.b)
}
