package sim

import (
	"fmt"
	"strings"

	"pando/agent"
	"pando/event"
	"pando/internal/exact"
	"pando/root"
	"pando/stream"
	"pando/tree/journal"
)

// unsettled says what is still on its way, or nothing.
func (w *world) unsettled() string {
	var left []string
	say := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	for _, a := range w.agents {
		if !a.machine.up || a.gather == nil || a.tape.core == nil {
			say("%s does not run", a.name)
			continue
		}
		if n := a.gather.Waiting(); n > 0 {
			say("%s has %d events that are not in its log", a.name, n)
		}
		for l := range event.Lane(event.Lanes) {
			if out := a.hand.Outbox(l); out.Settled != out.Last {
				say("%s %s lane is settled to %d of %d", a.name, l, out.Settled, out.Last)
			}
		}
		for _, s := range a.sources {
			if s.plan.file && s.next < len(s.plan.lines) {
				say("%s has read %d of %d lines", a.name, s.next, len(s.plan.lines))
			}
		}
		if !a.core.Resumed() {
			say("%s does not know where to read its files", a.name)
		}
		if len(left) > 0 && w.plan.large {
			return left[0]
		}
	}
	for _, r := range w.relays {
		if r.middle != nil {
			continue
		}
		if !r.machine.up {
			say("%s does not run", r.name)
			continue
		}
		if x := r.core.Extent(); x.Batches > 0 || x.Findings > 0 || r.out.Waiting() > 0 {
			say("%s holds %d batches, %d findings, %d messages", r.name, x.Batches, x.Findings, r.out.Waiting())
		}
	}
	return strings.Join(left, "; ")
}

// check verifies every invariant that can be judged at the end.
func (w *world) check() {
	if len(w.broken) > 0 {
		return
	}
	if left := w.unsettled(); left != "" {
		w.fault("not settled %.0f s after the faults ended: %s", float64(w.elapsed()-w.plan.quiet)/float64(second), left)
		return
	}
	w.checkLevels()
	if len(w.plan.faults) > 0 || w.plan.seed%4 == 0 {
		w.checkReplays()
		w.raft.checkReplay()
	}
	fsm := w.newest().raft.fsm
	l := w.newLedger()
	w.ledger = l
	l.tally(fsm)
	l.compareUnits(fsm)
	l.compareSeries(fsm)
	l.compareLines()
	l.compareKept()
}

// compareKept looks whether what only a relay still had was settled by it. A
// disk that was rolled back may have written, and settled, something else under
// the same numbers first.
func (l *ledger) compareKept() {
	for _, k := range l.w.oracle.kept {
		if !l.w.oracle.continues(k.b) {
			continue
		}
		for i := range k.b.events {
			if k.r.losses != k.losses || k.b.events[i].Kind != event.Log || files[k.b.events[i].Source] {
				continue
			}
			if line := k.b.lines[i][0]; l.settled[line] == 0 {
				l.w.fault("line %d of %s was in the custody of %s and is lost: batch %d to %d", line, k.b.unit, k.r.name, k.b.first, k.b.last())
				return
			}
		}
	}
}

// newest is a root that has applied everything.
func (w *world) newest() *rootNode {
	best := w.roots[0]
	for _, r := range w.roots {
		if r.raft.applied > best.raft.applied {
			best = r
		}
	}
	return best
}

// checkLevels looks whether queues and custody are back at their level.
func (w *world) checkLevels() {
	for _, r := range w.relays {
		if r.middle != nil {
			continue
		}
		if x := r.core.Extent(); x.Units > event.Lanes*x.Sessions || x.Sessions > len(w.agents) {
			w.fault("%s keeps %d units of %d sessions when all is settled", r.name, x.Units, x.Sessions)
		}
		if n := len(r.tape.queue); n > 64 {
			w.fault("%s: %d outputs wait for the disk", r.name, n)
		}
	}
	if n := w.net.queued(); n > 0 {
		w.fault("%d messages wait for a way", n)
	}
	if n, most := len(w.net.conns), 3*len(w.agents)+2*len(w.relays); n > most {
		w.fault("%d sessions, at most %d are of use", n, most)
	}
}

// checkReplays replays every log.
func (w *world) checkReplays() {
	for _, a := range w.agents {
		if err := a.tape.verify(func() (journal.Core, error) { return agent.NewCore(a.name, a.tape.id), nil }); err != nil {
			w.fault("%s: %v", a.name, err)
		}
	}
	for _, r := range w.relays {
		if r.middle != nil {
			continue
		}
		if err := r.tape.verify(r.newCore); err != nil {
			w.fault("%s: %v", r.name, err)
		}
	}
}

// ledger is what the roots must hold, by the oracle.
type ledger struct {
	w       *world
	units   map[string]*root.Unit
	sums    map[string]exact.Sum
	series  map[stream.Series]*total
	settled []uint8 // of each line, how often
	dropped []uint8
	over    map[string]uint64 // overflow, by unit
}

type total struct {
	count uint64
	sum   exact.Sum
}

func (w *world) newLedger() *ledger {
	return &ledger{w: w, units: map[string]*root.Unit{}, sums: map[string]exact.Sum{}, series: map[stream.Series]*total{},
		settled: make([]uint8, len(w.plan.lines)), dropped: make([]uint8, len(w.plan.lines)), over: map[string]uint64{}}
}

func unitKey(origin, wal, lane string) string { return origin + "@" + wal + "/" + lane }

// tally goes through the history of every unit as far as it is settled.
func (l *ledger) tally(f *root.FSM) {
	for _, u := range l.w.oracle.units {
		owner, ok := f.Owner(u)
		if !ok {
			continue
		}
		history, ok := l.w.oracle.history(owner.Chain)
		if !ok {
			l.w.fault("%s: settled under a chain value that no agent wrote", u)
			return
		}
		key := u.String()
		t := &root.Unit{}
		l.units[key] = t
		last := map[string]int{}
		for _, b := range history {
			rest := owner.Closed && b.first > l.w.oracle.closed[u]
			for i := range b.events {
				t.Settled++
				if e := &b.events[i]; !rest || !b.reread[e.Source] {
					l.count(key, t, b, i)
				}
				if b.events[i].Kind == event.Log {
					l.ordered(u, last, b, i)
				}
			}
		}
		if t.Settled != owner.Settled {
			l.w.fault("%s: settled is %d, its chain proves %d events", u, owner.Settled, t.Settled)
		}
	}
}

// ordered checks that the lines of a source keep their order in the unit.
func (l *ledger) ordered(u event.Unit, last map[string]int, b *batch, i int) {
	line := b.lines[i][0]
	source := b.events[i].Source
	if prev, ok := last[source]; ok && l.w.plan.lines[prev].at > l.w.plan.lines[line].at {
		l.w.fault("%s: line %d comes after line %d", u, line, prev)
	}
	last[source] = line
}

// count counts one event as the roots must have.
func (l *ledger) count(key string, t *root.Unit, b *batch, i int) {
	e := &b.events[i]
	switch e.Kind {
	case event.Heartbeat:
		t.Heartbeats++
	case event.Loss:
		t.Losses++
		n, _ := e.Lost()
		l.over[key] += n
		for _, line := range b.lines[i] {
			l.dropped[line]++
		}
	default:
		t.Events++
		l.settled[b.lines[i][0]]++
		v, _ := exact.FromFloat(e.Value)
		l.sums[key] = l.sums[key].Add(v)
		s := stream.Series{Entity: e.Entity, Signal: e.Signal}
		if l.series[s] == nil {
			l.series[s] = &total{}
		}
		l.series[s].count++
		l.series[s].sum = l.series[s].sum.Add(v)
	}
}

func (l *ledger) compareUnits(f *root.FSM) {
	for _, got := range f.Units() {
		key := unitKey(got.Origin, got.WAL, got.Lane)
		want := l.units[key]
		if want == nil {
			if got.Settled > 0 {
				l.w.fault("%s: settled to %d, no agent has written to it", key, got.Settled)
			}
			continue
		}
		if got.Events != want.Events || got.Heartbeats != want.Heartbeats || got.Losses != want.Losses || got.SumExact != l.sums[key].String() {
			l.w.fault("%s: %d events, %d heartbeats, %d losses, sum %s; settled were %d, %d, %d, %s", key, got.Events, got.Heartbeats,
				got.Losses, got.SumExact, want.Events, want.Heartbeats, want.Losses, l.sums[key])
		}
	}
	for _, a := range f.Accounts() {
		key := unitKey(a.Origin, a.WAL, a.Lane)
		var over uint64
		for _, x := range a.Lost {
			switch x.Reason {
			case event.Overflow.String():
				over += x.Count
			case event.Restored.String(), event.Forgotten.String():
				l.w.fault("%s: %d events from %d to %d count as %s", key, x.Count, x.From, x.To, x.Reason)
			}
		}
		if over != l.over[key] {
			l.w.fault("%s: the ledger has %d dropped, %d were", key, over, l.over[key])
		}
	}
}

// compareSeries compares each series, and all of them with what was folded
// counted in.
func (l *ledger) compareSeries(f *root.FSM) {
	var all, other uint64
	for _, got := range f.Series() {
		all += got.Count
		if got.Entity == stream.Other {
			other += got.Count
			continue
		}
		want := l.series[stream.Series{Entity: got.Entity, Signal: got.Signal}]
		if want == nil || got.Count > want.count || other == 0 && (got.Count != want.count || got.SumExact != want.sum.String()) {
			l.w.fault("series %s %s: %d, sum %s; settled were %v", got.Entity, got.Signal, got.Count, got.SumExact, want)
		}
	}
	var want uint64
	for _, t := range l.series {
		want += t.count
	}
	if all != want {
		l.w.fault("all series count %d, settled were %d", all, want)
	}
}

// compareLines looks whether each line is settled once, or is missing with
// reason.
func (l *ledger) compareLines() {
	for i := range l.settled {
		line, fate := &l.w.plan.lines[i], l.w.oracle.state[i]
		n := l.settled[i] + l.dropped[i]
		switch {
		case n > 1:
			l.w.fault("line %d of %s %s: settled %d times, dropped %d times", i, line.origin, line.source, l.settled[i], l.dropped[i])
		case n == 0 && files[line.source]:
			l.w.fault("line %d of %s %s is lost, although it could be read again", i, line.origin, line.source)
		case n == 0 && fate.accepted && !fate.destroyed:
			l.w.fault("line %d of %s %s was accepted and is lost", i, line.origin, line.source)
		}
		if len(l.w.broken) > 8 {
			return
		}
	}
}
