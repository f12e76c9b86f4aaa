package sim

import (
	"fmt"
	"slices"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/root"
	"pando/tree/custody"
	"pando/tree/wire"
)

// oracle knows what really happened: every batch that an agent ever appended,
// by the chain value behind it, and what became of every line.
type oracle struct {
	w        *world
	byValue  map[float64]int // line by its value
	batches  map[event.Hash]*batch
	units    []event.Unit // in the order of their first batch
	ofOrigin map[string][]event.Unit
	state    []fate
	closed   map[event.Unit]uint64 // how far a unit was settled when it was closed
	settled  map[event.Unit]uint64 // as committed
	owners   map[event.Unit]custody.Owner
	timeless map[string]bool // origins whose events a relay placed without root time
	kept     []keeping       // batches that only relays have, which acknowledged them as durable
	stepped  bool            // root time began anew: no root was left that knew it
	slack    int64           // that changes of leader add to the error of times
	rules    []rule          // of root time, oldest first
}

// batch is one batch as its agent appended it.
type batch struct {
	unit   event.Unit
	before event.Hash
	first  uint64
	events []event.Event
	lines  [][]int         // of each event: one line, or those that a loss counts
	reread map[string]bool // sources that can be read again, by the batch's positions
	synced bool            // its agent's disk held it
}

func (b *batch) last() uint64 { return b.first + uint64(len(b.events)) - 1 }

// fate is what may have happened to a line that is not settled.
type fate struct {
	accepted  bool // an agent took it
	destroyed bool // a fault took the only copy of a line that cannot be read again
}

func newOracle(w *world) *oracle {
	o := &oracle{w: w, byValue: make(map[float64]int, len(w.plan.lines)), batches: map[event.Hash]*batch{}, ofOrigin: map[string][]event.Unit{}, timeless: map[string]bool{},
		state: make([]fate, len(w.plan.lines)), closed: map[event.Unit]uint64{},
		settled: map[event.Unit]uint64{}, owners: map[event.Unit]custody.Owner{}}
	for i := range w.plan.lines {
		o.byValue[w.plan.lines[i].value] = i
	}
	return o
}

// fault notes a violated invariant; the run ends with it.
func (w *world) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.say("CHECK", "%s", text)
	w.broken = append(w.broken, text)
}

// accepted takes note that an agent took a line.
func (o *oracle) accepted(v float64) { o.state[o.byValue[v]].accepted = true }

// destroyed takes note that a fault took a copy of these lines. Only those that
// cannot be read again may be missing because of it.
func (o *oracle) destroyed(lines []int, reread map[string]bool) {
	for _, l := range lines {
		if !reread[o.w.plan.lines[l].source] {
			o.state[l].destroyed = true
		}
	}
}

// files are the sources that can be read again.
var files = map[string]bool{"app": true}

// appended takes note of a batch in an agent's log. Lost are, by source, the
// lines that losses among the events may count.
func (o *oracle) appended(b *event.Batch, before, after event.Hash, lost map[string][]int) *batch {
	x := &batch{unit: b.Unit, before: before, first: b.First, events: slices.Clone(b.Events), lines: make([][]int, len(b.Events)), reread: map[string]bool{}}
	for _, p := range b.Positions {
		x.reread[p.SourceName()] = p.Replayable
	}
	for i := range b.Events {
		switch e := &b.Events[i]; e.Kind {
		case event.Log:
			x.lines[i] = []int{o.byValue[e.Value]}
		case event.Loss:
			n, _ := e.Lost()
			if have := lost[e.Source]; uint64(len(have)) != n {
				o.w.fault("%s: a loss of %s says %d, %d lines were dropped", b.Unit, e.Source, n, len(have))
			}
			x.lines[i] = lost[e.Source]
			delete(lost, e.Source)
		}
	}
	o.batches[after] = x
	if b.First == 1 && !slices.Contains(o.ofOrigin[b.Unit.Origin], b.Unit) {
		o.ofOrigin[b.Unit.Origin] = append(o.ofOrigin[b.Unit.Origin], b.Unit)
		o.units = append(o.units, b.Unit)
	}
	return x
}

// gone takes note that batches left an agent's disk without being settled.
func (o *oracle) gone(after event.Hash, b *batch) {
	for _, r := range o.w.relays {
		if at, ok := r.contents[after]; ok && r.acked[after] && at <= r.tape.synced && b.last() > o.settled[b.unit] {
			o.kept = append(o.kept, keeping{b, r, r.losses})
		}
	}
	for _, lines := range b.lines {
		o.destroyed(lines, files)
	}
}

// history returns a unit's batches up to a chain value, oldest first; false if
// no agent ever wrote them.
func (o *oracle) history(chain event.Hash) (list []*batch, ok bool) {
	for chain != (event.Hash{}) {
		b := o.batches[chain]
		if b == nil {
			return nil, false
		}
		list = append(list, b)
		chain = b.before
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list, true
}

// rule is a span in which one root's clock was root time, and was not set. All
// of it are copies, which reckon as the root did then.
type rule struct {
	from   int64 // true time
	by     *rootNode
	clock  clockwork
	keeper root.Timekeeper
}

// slewSlack is how far root time may part from what estimators reckon with
// after a change of leader: it is slewed ten times faster than clocks drift,
// and a sample counts for sixteen exchanges.
const slewSlack = 16 * pingEvery / 1_000_000 * clock.DefaultSlewPPM

// stepLimit is above what a new leader's estimate of root time may miss by.
const stepLimit = second

// rule takes note that a root leads from now on.
func (o *oracle) rule(r *rootNode) {
	if was, ok := o.rootTime(o.w.now); ok {
		now := r.rootTime()
		step := max(now-was, was-now)
		o.slack += step + slewSlack
		o.stepped = o.stepped || step > stepLimit
	}
	o.rules = append(o.rules, rule{o.w.now, r, *r.clock, r.keeper})
}

// clockSet takes note that a root's wall clock was set. If root time hangs on
// it, it is slewed from now on.
func (o *oracle) clockSet(r *rootNode) {
	if n := len(o.rules); n > 0 && o.rules[n-1].by == r {
		o.rules = append(o.rules, rule{o.w.now, r, *r.clock, r.keeper})
	}
}

// rootTime is what root time was at a true time.
func (o *oracle) rootTime(t int64) (int64, bool) {
	for i := len(o.rules) - 1; i >= 0; i-- {
		if x := &o.rules[i]; x.from <= t || i == 0 {
			k, at := x.keeper, max(t, x.from) // before the first leader there was none: reckoned back from it
			return k.Now(root.Reading{Mono: x.clock.monoAt(at), Wall: x.clock.wallAt(at)}) - (at - t), true
		}
	}
	return 0, false
}

// checkTimes looks whether the true times of a batch's lines lie within the
// intervals that the mapping beside it states.
func (w *world) checkTimes(who string, m *wire.Batch) {
	b := w.oracle.batches[event.Chain(m.Before, m.Bytes)]
	if b == nil {
		return
	}
	if !m.Mapped {
		return
	}
	for i := range b.events {
		if b.events[i].Kind != event.Log {
			continue
		}
		at, ok := w.oracle.rootTime(epoch + w.plan.lines[b.lines[i][0]].at)
		iv, _ := b.events[i].Time(m.Map)
		if slack := w.oracle.slack; !ok || at+slack >= iv.Lo && at-slack <= iv.Hi {
			continue
		}
		w.fault("%s: event %d of %s was at root time %d, its interval is [%d, %d]", who, b.first+uint64(i), b.unit, at-epoch, iv.Lo-epoch, iv.Hi-epoch)
		return
	}
}

// Kinds of commands that change units; see docs/FORMATS.md.
const (
	commandClaim  = 1
	commandDigest = 2
)

// committed looks at what a command did, when it is applied first.
func (o *oracle) committed(f *root.FSM, cmd []byte) {
	r := pack.NewReader(cmd)
	kind, _, _ := r.Uint("kind", 255), r.Uint("version", 255), r.Int("now")
	r.String("relay", 256)
	switch kind {
	case commandClaim:
		var m wire.Claim
		if wire.Decode(r.Bin("claim", len(cmd)), &m) != nil {
			return
		}
		for _, u := range o.ofOrigin[m.Origin] {
			o.look(f, u)
		}
		for l := range event.Lane(event.Lanes) {
			o.look(f, event.Unit{Origin: m.Origin, WAL: m.WAL, Lane: l})
		}
	case commandDigest:
		for range r.Array("sections", 4096) {
			if s, err := wire.DecodeSection(r.Bin("section", len(cmd))); err == nil {
				o.look(f, s.Head.Unit)
			}
		}
	}
}

// look compares a unit's owner with what it was.
func (o *oracle) look(f *root.FSM, u event.Unit) {
	now, ok := f.Owner(u)
	if !ok {
		return
	}
	was := o.owners[u]
	o.owners[u] = now
	switch {
	case now.Term.Compare(was.Term) < 0:
		o.w.fault("%s: the owner's term fell from %s to %s", u, was.Term, now.Term)
	case now.Settled < was.Settled:
		o.w.fault("%s: settled fell from %d to %d", u, was.Settled, now.Settled)
	case was.Closed && !now.Closed:
		o.w.fault("%s: it was closed and is open", u)
	case now.Closed && !was.Closed:
		o.closed[u] = now.Settled
	}
	if now.Settled == was.Settled {
		return
	}
	o.settled[u] = now.Settled
	for h := now.Chain; h != was.Chain; {
		b := o.batches[h]
		switch {
		case b == nil || b.unit != u || b.first <= was.Settled:
			o.w.fault("%s: settled from %d to %d, which no agent wrote", u, was.Settled, now.Settled)
			return
		case h == now.Chain && b.last() != now.Settled:
			o.w.fault("%s: settled to %d within a batch", u, now.Settled)
			return
		case !b.synced:
			o.w.fault("%s: batch %d to %d is settled and was never on its agent's disk", u, b.first, b.last())
			return
		}
		h = b.before
	}
}

// keeping is a batch that its agent lost and a relay has on its disk.
type keeping struct {
	b      *batch
	r      *relayNode
	losses int // of the relay's disks by then
}

// continues reports whether a batch lies ahead of what is settled of its unit,
// in the same history.
func (o *oracle) continues(b *batch) bool {
	settled := o.owners[b.unit].Chain
	for h := b.before; h != settled; {
		p := o.batches[h]
		if p == nil {
			return false
		}
		h = p.before
	}
	return true
}
