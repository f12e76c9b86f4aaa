//go:build !zos

package root

import (
	"context"
	"fmt"
	"math"
	"slices"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
)

// loss is what is missing of a unit for one reason.
type loss struct {
	stream.Lost
	from, to uint64 // sequence numbers at or between which it is missing
}

// lose enters a loss of the unit into its ledger.
func (u *unit) lose(l loss) {
	at, found := slices.BinarySearchFunc(u.lost, l, func(a, b loss) int { return a.Compare(&b.Lost) })
	u.lost = slices.Clone(u.lost)
	if !found {
		u.lost = slices.Insert(u.lost, at, l)
		return
	}
	old := &u.lost[at]
	old.Add(&l.Lost)
	old.from, old.to = min(old.from, l.from), max(old.to, l.to)
}

// forfeit enters sequence numbers that nobody holds any more.
func (u *unit) forfeit(reason event.Reason, from, to uint64, now int64) {
	if from > to {
		return
	}
	u.forfeited += to - from + 1
	u.lose(loss{stream.Lost{Reason: reason, Count: to - from + 1, First: now, Last: now}, from, to})
}

func appendLosses(w *pack.Writer, list []loss) {
	w.Array(len(list))
	for _, l := range list {
		w.Uint(uint64(l.Reason))
		w.Uint(l.Count)
		w.Int(l.First)
		w.Int(l.Last)
		w.Uint(l.from)
		w.Uint(l.to)
	}
}

func readLosses(r *pack.Reader) []loss {
	var list []loss
	for n := r.Array("losses", event.Reasons); n > 0 && r.Err() == nil; n-- {
		l := loss{stream.Lost{Reason: event.Reason(r.Uint("reason", uint64(event.Reasons-1))), Count: r.Uint("lost", math.MaxInt64),
			First: r.Int("lost from"), Last: r.Int("lost to")}, r.Uint("first lost", math.MaxUint64), r.Uint("last lost", math.MaxUint64)}
		if k := len(list); k > 0 && list[k-1].Compare(&l.Lost) >= 0 {
			r.Fail("losses", fmt.Errorf("reason %s is out of order", l.Reason))
		}
		list = append(list, l)
	}
	return list
}

// Account is the ledger of one unit. All numbers are of events, the agent's
// heartbeats included, and Accepted = Settled + Held + Dropped.
type Account struct {
	Origin   string `json:"origin"`
	WAL      string `json:"wal"`
	Lane     string `json:"lane"`
	Closed   bool   `json:"closed"`         // its WAL id was replaced
	Accepted uint64 `json:"accepted"`       // by the agent, from its sources
	Settled  uint64 `json:"settled"`        // here
	Held     uint64 `json:"held"`           // on the agent's disk, and perhaps a relay's
	Dropped  uint64 `json:"dropped"`        // for good
	Lost     []Loss `json:"lost,omitempty"` // what Dropped is made of, by reason
	// AsOf is the root time of the agent's report on what it accepted; 0 if it
	// has not reported on this WAL id here: Accepted is then what the root
	// knows of.
	AsOf int64 `json:"as_of,omitempty"`
}

// Loss is what is missing for one reason.
type Loss struct {
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
	From   uint64 `json:"from"`  // sequence numbers at or between which it is missing
	To     uint64 `json:"to"`    //
	First  int64  `json:"first"` // root time, nanoseconds, between which it happened
	Last   int64  `json:"last"`
}

// Ledger accounts for every unit, in their order. What is settled and dropped
// is read linearizably unless stale is set; what agents accepted is what they
// last reported, which only the leader hears.
func (r *Root) Ledger(ctx context.Context, stale bool) ([]Account, error) {
	reported := r.accepted()
	v, err := r.read(ctx, stale)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return accounts(v, reported), nil
}

// accounts puts what is settled and what agents reported together.
func accounts(v *view, reported map[unitName]acceptance) []Account {
	out := make([]Account, 0, v.units.Len())
	v.units.Ascend(func(id event.Unit, u *unit) bool {
		a := Account{Origin: id.Origin, WAL: id.WAL.String(), Lane: id.Lane.String(), Closed: u.owner.Closed}
		last := u.owner.Settled
		if rep, ok := reported[unitName{a.Origin, a.WAL, a.Lane}]; ok {
			// Reports are older than what was read.
			last, a.AsOf = max(last, rep.accepted), rep.at
		}
		for _, l := range u.lost {
			a.Dropped += l.Count
			a.Lost = append(a.Lost, Loss{l.Reason.String(), l.Count, l.from, l.to, l.First, l.Last})
		}
		// What overflowed never had a sequence number.
		overflow := a.Dropped - min(a.Dropped, u.forfeited)
		a.Accepted, a.Settled, a.Held = last+overflow, u.owner.Settled-min(u.forfeited, u.owner.Settled), last-u.owner.Settled
		out = append(out, a)
		return true
	})
	return out
}

// unitName names a unit as reports do.
type unitName struct{ origin, wal, lane string }

// acceptance is an agent's word on one unit.
type acceptance struct {
	accepted uint64
	at       int64
}

// accepted is what agents say they accepted, by unit.
func (r *Root) accepted() map[unitName]acceptance {
	out := map[unitName]acceptance{}
	for _, n := range r.Tree().Nodes {
		for _, u := range n.Units {
			out[unitName{n.Name, n.WAL, u.Lane}] = acceptance{u.Accepted, n.AsOf}
		}
	}
	return out
}
