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
	unread uint64 // of these events those that cannot be read again and are not settled; before the agent said it, those that were settled of the rest
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
			u.estate.last, u.estate.unread = e.Last[l], e.Unread[l]-min(e.Unread[l], u.estate.unread)
			s.setUnit(id, u)
		}
	}
}

// restSettled takes note of a section of a closed unit.
func (u *unit) restSettled(h *custody.Head, rows *stream.Rows) {
	counted := rows.Events + rows.Heartbeats + rows.Losses
	if left := rows.Events + rows.Losses; u.estate.last > 0 {
		u.estate.unread -= min(u.estate.unread, left)
	} else {
		u.estate.unread += left
	}
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
// heartbeats included, and
//
//	Accepted = Settled + Held + Dropped + Unknown + Unaccounted
//
// where each is counted by somebody else: Accepted by its agent, which numbers
// events, Settled by what the relays' sections counted, Held by the agent's
// word on which numbers its log still has, Dropped by the loss ledger.
type Account struct {
	Origin   string `json:"origin"`
	WAL      string `json:"wal"`
	Lane     string `json:"lane"`
	Closed   bool   `json:"closed"`   // its WAL id was replaced
	Accepted uint64 `json:"accepted"` // by the agent, from its sources; what was read again under another WAL id counts there
	Settled  uint64 `json:"settled"`  // here
	Held     uint64 `json:"held"`     // on the agent's disk, and perhaps a relay's
	Dropped  uint64 `json:"dropped"`  // for good
	// Unknown is at most how many events are gone with an agent's disk: what it
	// had reported and is not settled. A relay may still settle some, and what
	// came from files is read again under the next WAL id.
	Unknown uint64 `json:"unknown"`
	// Unaccounted is what nobody can explain; 0 if all is well. Below 0, more
	// is settled than the agent says it accepted.
	Unaccounted int64  `json:"unaccounted"`
	Lost        []Loss `json:"lost,omitempty"` // what Dropped is made of, by reason
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
	outside := a.Dropped - min(u.forfeited, a.Dropped) // what was dropped before it had a number
	a.Settled = u.events + u.heartbeats + u.losses
	settled := u.owner.Settled
	numbers := settled - min(u.estate.reread, settled) // that the agent gave to events that count here
	rep, told := reported[unitName{a.Origin, a.WAL, a.Lane}]
	if told {
		a.AsOf = rep.at
	}
	switch {
	case u.estate.last > 0:
		if end := u.estate.last; end > settled {
			left := min(u.estate.unread, end-settled) // the others are read again
			numbers += left
			if now-u.at < graceNanos {
				a.Held = left
			} else if left > 0 {
				a.Dropped += left
				a.Lost = append(a.Lost, Loss{event.Replaced.String(), left, settled + 1, end, u.at, now})
			}
		}
		// A log that was rolled back leaves behind less than it once had.
		if end := max(u.estate.last, settled); told && rep.accepted > end {
			a.Unknown = rep.accepted - end
			numbers += a.Unknown
		}
	case told && rep.accepted < settled:
		// Reports are older than what was read: this one says nothing that was
		// not known, unless it is the younger.
		if !u.owner.Closed && rep.at > u.at+lagNanos {
			numbers -= min(settled-rep.accepted, numbers)
		}
	case told && u.owner.Closed: // its agent had no log left to say what is in it
		a.Unknown = rep.accepted - settled
		numbers += a.Unknown
	case told:
		// What the agent takes for settled it does not hold any more.
		a.Held = rep.accepted - min(max(rep.settled, settled), rep.accepted)
		numbers += rep.accepted - settled
	}
	a.Accepted = numbers + outside
	a.Unaccounted = int64(a.Accepted - a.Settled - a.Held - a.Dropped - a.Unknown)
	return a
}

// lagNanos is how much older than the events themselves a report may be that
// does not count them yet.
const lagNanos = int64(2e9)

// unitName names a unit as reports do.
type unitName struct{ origin, wal, lane string }

// acceptance is an agent's word on one unit.
type acceptance struct {
	accepted uint64
	settled  uint64 // as far as the agent knows
	at       int64
}
