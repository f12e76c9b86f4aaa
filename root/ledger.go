//go:build !zos

package root

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/tree/custody"
	"pando/tree/wire"
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

// estate is what an agent said of a unit whose log it replaced. What of it is
// not settled is with a relay, or gone; time tells.
type estate struct {
	last   uint64 // last sequence number; 0 if the agent said nothing
	unread uint64 // events that cannot be read again and were not settled then
	reread uint64 // sequence numbers of the rest whose events are read again under the new WAL id
}

// inherit takes note of what a replaced log left behind.
func (s *state) inherit(o *origin, m *wire.Claim) {
	e := &m.Estate
	if e.WAL == 0 || e.WAL == m.WAL {
		return
	}
	s.openWAL(o, m.Origin, e.WAL)
	s.closeWAL(o, m.Origin, e.WAL)
	for l := range event.Lane(event.Lanes) {
		id := event.Unit{Origin: m.Origin, WAL: e.WAL, Lane: l}
		if u, ok := s.getUnit(id); ok && u.estate.last == 0 && e.Last[l] > 0 {
			u.estate = estate{last: e.Last[l], unread: e.Unread[l]}
			s.setUnit(id, u)
		}
	}
}

// restSettled takes note of a section of a closed unit.
func (u *unit) restSettled(h *custody.Head, rows *stream.Rows) {
	counted := rows.Events + rows.Heartbeats + rows.Losses
	u.estate.unread -= min(u.estate.unread, rows.Events+rows.Losses)
	if all := h.To - h.From + 1; all > counted {
		u.estate.reread += all - counted
	}
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
	Accepted uint64 `json:"accepted"`       // by the agent, from its sources; what was read again under another WAL id counts there
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

// Ledger accounts for every unit, in their order.
type Ledger struct {
	Accounts []Account `json:"accounts"`
	// Unreported counts the open units of which this root has no report: what
	// their agents hold and have not settled is missing in Held and Accepted.
	Unreported int    `json:"unreported"`
	Note       string `json:"note,omitempty"` // says so
}

// Ledger accounts for every unit. What is settled and dropped is read
// linearizably unless stale is set; what agents accepted is what they last
// reported, which only the leader hears. Another root says that it does not
// know, whatever it heard when it led.
func (r *Root) Ledger(ctx context.Context, stale bool) (Ledger, error) {
	var reported map[unitName]acceptance
	leading := r.Leading()
	if leading {
		reported = r.accepted()
	}
	v, err := r.read(ctx, stale)
	if err != nil {
		return Ledger{}, fmt.Errorf("ledger: %w", err)
	}
	return ledger(v, reported, leading, r.Leader()), nil
}

// ledger makes the ledger of a root that leads, or follows a leader.
func ledger(v *view, reported map[unitName]acceptance, leading bool, leader string) Ledger {
	l := Ledger{Accounts: accounts(v, reported)}
	open := 0
	for i := range l.Accounts {
		if a := &l.Accounts[i]; !a.Closed {
			open++
			if a.AsOf == 0 {
				l.Unreported++
			}
		}
	}
	switch {
	case l.Unreported == 0:
	case !leading:
		l.Note = fmt.Sprintf("agents report to the leader (%s), and this root is not it: what they hold is missing in held and accepted", cmp.Or(leader, "none is known"))
	default:
		l.Note = fmt.Sprintf("the agents of %d of %d open units have not reported since this root leads: what they hold is missing in held and accepted", l.Unreported, open)
	}
	return l
}

// accounts puts what is settled and what agents reported together.
func accounts(v *view, reported map[unitName]acceptance) []Account {
	out := make([]Account, 0, v.units.Len())
	v.units.Ascend(func(id event.Unit, u *unit) bool {
		out = append(out, u.account(id, reported, v.now))
		return true
	})
	return out
}

// graceNanos is how long a relay has, after a unit was closed or last settled,
// to settle the rest of it, before what is left of it counts as dropped.
const graceNanos = int64(600e9)

func (u *unit) account(id event.Unit, reported map[unitName]acceptance, now int64) Account {
	a := Account{Origin: id.Origin, WAL: id.WAL.String(), Lane: id.Lane.String(), Closed: u.owner.Closed}
	for _, l := range u.lost {
		a.Dropped += l.Count
		a.Lost = append(a.Lost, Loss{l.Reason.String(), l.Count, l.from, l.to, l.First, l.Last})
	}
	a.Settled = u.owner.Settled - min(u.forfeited+u.estate.reread, u.owner.Settled)
	if rep, ok := reported[unitName{a.Origin, a.WAL, a.Lane}]; ok {
		// Reports are older than what was read.
		a.Held, a.AsOf = max(rep.accepted, u.owner.Settled)-u.owner.Settled, rep.at
	}
	if end := u.estate.last; end > u.owner.Settled {
		left := min(u.estate.unread, end-u.owner.Settled) // the others are read again
		if now-u.at < graceNanos {
			a.Held = left
		} else if left > 0 {
			a.Dropped += left
			a.Lost = append(a.Lost, Loss{event.Replaced.String(), left, u.owner.Settled + 1, end, u.at, now})
		}
	}
	a.Accepted = a.Settled + a.Held + a.Dropped
	return a
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
