package sim

import (
	"maps"

	"pando/event"
	"pando/tree/wire"
)

// savedRelay is what a rollback brings back: the disk, and what is known of it.
type savedRelay struct {
	image    image
	bound    uint64
	contents map[event.Hash]uint64
	batches  map[unitSeq]uint64
}

// crash ends the process.
func (r *relayNode) crash(silently bool) {
	if !r.machine.up {
		return
	}
	r.machine.up, r.changed = false, r.w.now
	r.life++
	r.w.net.died(&r.machine, silently)
	if r.middle != nil {
		r.middle.clear()
		return
	}
	r.tape.crash()
	r.forget(r.tape.last())
}

// forget drops what is known of records behind last.
func (r *relayNode) forget(last uint64) {
	for k, at := range r.batches {
		if at > last {
			delete(r.batches, k)
		}
	}
	for k, at := range r.contents {
		if at > last {
			delete(r.contents, k)
		}
	}
}

// lose empties the disk.
func (r *relayNode) lose() {
	r.losses++
	clear(r.acked)
	r.tape.wipe()
	r.forget(0)
	r.clock.lose()
}

// save copies the disk, restore puts the copy back.
func (r *relayNode) save() {
	r.saved = &savedRelay{r.tape.image.clone(), r.clock.bound, maps.Clone(r.contents), maps.Clone(r.batches)}
}

func (r *relayNode) restore() {
	r.losses++
	clear(r.acked)
	r.tape.image = r.saved.image.clone()
	r.contents, r.batches = maps.Clone(r.saved.contents), maps.Clone(r.saved.batches)
	r.forget(r.tape.last())
	r.clock.lose()
	r.clock.bound = r.saved.bound
}

// checkAck looks whether an fsync covers what is acknowledged as durable.
func (r *relayNode) checkAck(c *child, body []byte) {
	var a wire.Ack
	if err := wire.Decode(body, &a); err != nil {
		r.w.fault("%s: %v", r.name, err)
		return
	}
	u := event.Unit{Origin: c.e.peer().m.name, WAL: c.wal, Lane: a.Lane}
	settled := r.w.oracle.settled[u]
	if a.Settled > settled {
		r.w.fault("%s: acknowledges %s as settled to %d, the roots have %d", r.name, u, a.Settled, settled)
	}
	held := c.unacked[a.Lane]
	for len(held) > 0 && held[0].last <= a.Durable {
		r.acked[held[0].after] = true
		held = held[1:]
	}
	c.unacked[a.Lane] = held
	if a.Durable <= settled {
		return
	}
	if at, ok := r.batches[unitSeq{u, a.Durable}]; !ok || at > r.tape.synced {
		r.w.fault("%s: acknowledges %s as durable to %d, which is record %d, synced %d", r.name, u, a.Durable, at, r.tape.synced)
	}
}
