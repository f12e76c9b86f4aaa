package agent

import (
	"fmt"
	"testing"

	"pando/event"
	"pando/internal/durable/faulty"
	"pando/tree/journal"
	"pando/tree/wire"
)

// netLog puts a log on the disk with events that came over the network, of
// which nothing is settled, and returns what it leaves behind.
func (r *rig) netLog(disk *faulty.Disk, events int) wire.Estate {
	r.t.Helper()
	r.opts.FS = disk
	a, err := New(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	j, _, err := journal.Open(journal.Options{WAL: a.walOptions(), Rank: Rank, Deliver: func([]journal.Output) {},
		Core: func(id uint64, _ journal.Fetch) (journal.Core, error) { return NewCore(a.name, id), nil }})
	if err != nil {
		r.t.Fatal(err)
	}
	e := wire.Estate{WAL: event.WALID(j.Log().ID())}
	e.Last[event.Bulk], e.Unread[event.Bulk] = uint64(events), uint64(events)
	b := event.Batch{Unit: event.Unit{Origin: a.name, WAL: e.WAL, Lane: event.Bulk}, First: 1, Boot: a.clock.Boot()}
	for i := range events {
		stamp, err := a.clock.Stamp()
		if err != nil {
			r.t.Fatal(err)
		}
		b.Events = append(b.Events, event.Event{Seq: uint64(i + 1), HLC: stamp, Kind: event.Log, Criticality: 2, Entity: "host", Signal: "line", Source: "net"})
	}
	body, err := b.Encode(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, rec := range []Record{StartRecord(), BatchRecord(event.Bulk, body)} {
		if _, err := appendRecord(j, rec); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		r.t.Fatal(err)
	}
	return e
}

// Whatever moment the machine crashes at while a log is replaced, the next one
// says what the old one left behind, to the number.
func TestEstateOutlivesACrashAtEveryStep(t *testing.T) {
	r := newRig(t)
	image := faulty.New()
	want := r.netLog(image, 7)
	r.led.closed = want.WAL
	opened := func() bool {
		r.led.mu.Lock()
		defer r.led.mu.Unlock()
		return r.led.current != 0
	}
	// Heartbeats may be added to the old log before it is replaced.
	right := func() bool {
		r.led.mu.Lock()
		defer r.led.mu.Unlock()
		e := r.led.estate
		return e.WAL == want.WAL && e.Unread == want.Unread && e.Last[event.Bulk] >= want.Last[event.Bulk]
	}
	anew := func() { // each end is a history of its own
		r.led.mu.Lock()
		defer r.led.mu.Unlock()
		r.led.current, r.led.estate, r.led.units = 0, wire.Estate{}, map[event.Unit]*ledgerUnit{}
	}
	for n := 1; ; n++ {
		disk := image.Clone()
		disk.CrashAt(n)
		anew()
		r.live(disk, opened)
		through := opened()
		if through && !right() {
			t.Fatalf("no crash before operation %d: the new log says %+v, want %+v", n, r.led.estate, want)
		}
		for keep, fate := range map[string]faulty.Fate{"nothing": {}, "half": {Keep: 50, Seed: uint64(n)}, "all": {Keep: 100}} {
			t.Run(fmt.Sprintf("%d/%s", n, keep), func(t *testing.T) {
				anew()
				again := disk.Reboot(fate)
				r.live(again, opened)
				if !right() {
					t.Errorf("after a crash at operation %d that kept %s, the new log says %+v, want %+v", n, keep, r.led.estate, want)
				}
			})
		}
		if through {
			return
		}
	}
}
