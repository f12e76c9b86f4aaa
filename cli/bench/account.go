//go:build !zos

package bench

import (
	"fmt"

	"pando/root"
)

// Account is what was sent in one unit, for the comparison with what the root
// says of the same unit.
type Account struct {
	Origin, WAL, Lane string
	Events            uint64 // heartbeats not included
	Sum               string // of the events' values, exactly

	// What only the sender of batches knows; no chain: unknown.
	Heartbeats, Last uint64 // Last is a sequence number
	Chain            string
}

// key names a unit.
type key struct{ origin, wal, lane string }

// compare takes what the root holds against what was sent, unit by unit. Fewer
// are lost, more are doubled; where as many have another sum or another chain,
// one stands in another's place.
func (f *Figures) compare(sent []Account, held []root.Unit) {
	units := map[key]root.Unit{}
	for _, u := range held {
		units[key{u.Origin, u.WAL, u.Lane}] = u
	}
	for _, a := range sent {
		at := key{a.Origin, a.WAL, a.Lane}
		u := units[at]
		delete(units, at)
		lost, doubled := difference(a.Events, u.Events)
		wrong := a.Events > 0 && a.Sum != u.SumExact
		if a.Chain != "" { // all of the unit is known, not only what was read into it
			beatsLost, beatsDoubled := difference(a.Heartbeats, u.Heartbeats)
			lost, doubled = lost+beatsLost, doubled+beatsDoubled
			wrong = wrong || a.Last > 0 && (a.Chain != u.Chain || a.Last != u.Settled)
		}
		if lost+doubled == 0 && wrong {
			lost, doubled = 1, 1
		}
		f.Events.Sent += a.Events
		f.Events.Settled += u.Events
		f.Lost += lost
		f.Doubled += doubled
	}
	for _, u := range units { // nobody sent them
		f.Events.Settled += u.Events
		f.Doubled += u.Events
	}
}

func difference(want, have uint64) (lost, doubled uint64) {
	if have < want {
		return want - have, 0
	}
	return 0, have - want
}

// verdict is an error if events were lost or doubled.
func (f *Figures) verdict() error {
	if f.Lost+f.Doubled == 0 {
		return nil
	}
	return fmt.Errorf("of %d events %d were lost and %d doubled on the way to the root", f.Events.Sent, f.Lost, f.Doubled)
}
