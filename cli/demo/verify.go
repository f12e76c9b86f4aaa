//go:build !zos

package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pando/agent"
	"pando/event"
	"pando/internal/durable"
	"pando/relay"
	"pando/root"
	"pando/stream"
	"pando/tree/journal"
)

// rootTotals is what the root holds at the end.
type rootTotals struct {
	units  []root.Unit
	series []root.Series
}

// settleLimit is how long the last lines may take to settle: bulk sections
// are cut once a second.
const settleLimit = 15 * time.Second

// settle waits until all that was written is settled. That it is not within
// the limit is no error here: the account will say how much is missing.
func (r *run) settle(ctx context.Context) error {
	err := r.tree.await(ctx, "everything settled", settleLimit, func() error {
		if written, settled := r.lines(), r.settled(); written != settled {
			return fmt.Errorf("%d of %d lines are settled", settled, written)
		}
		return nil
	})
	if errors.Is(err, errLate) && ctx.Err() == nil {
		r.say.tell(red, "%v", err)
		return nil
	}
	return err
}

// readRoot reads the root's state, by linearizable reads.
func (r *run) readRoot(ctx context.Context) (*rootTotals, error) {
	leader, err := r.tree.leader()
	if err != nil {
		return nil, err
	}
	t := &rootTotals{}
	if t.units, err = leader.Units(ctx, false); err != nil {
		return nil, err
	}
	if t.series, err = leader.Series(ctx, false); err != nil {
		return nil, err
	}
	incidents, err := leader.Incidents(ctx, false)
	if err != nil {
		return nil, err
	}
	attached := 0
	for _, i := range incidents {
		d, err := leader.Incident(ctx, i.ID, false)
		if err != nil {
			return nil, err
		}
		attached += len(d.Findings)
		r.timelines = append(r.timelines, d)
		r.summary.Incidents = append(r.summary.Incidents, Incident{ID: i.ID, First: i.First, Entities: i.Entities, Findings: i.Findings})
	}
	state := leader.State()
	r.summary.Noise.Findings = int(state.Correlated.Findings) - attached
	r.summary.Detection = r.detection()
	for _, n := range leader.Tree().Nodes {
		r.summary.Clock.WorstSkew = max(r.summary.Clock.WorstSkew, abs(float64(n.SkewNs)/1e6))
		r.summary.Clock.WorstBound = max(r.summary.Clock.WorstBound, float64(n.SkewBoundNs)/1e6)
	}
	return t, nil
}

// detection is what the roots measured, each of the findings that were
// committed while it led. Of percentiles the worst counts.
func (r *run) detection() (all Detection) {
	for _, x := range r.tree.roots {
		d := x.Detections()
		all.Count += d.Count
		all.P50, all.P99, all.Max = max(all.P50, d.P50), max(all.P99, d.P99), max(all.Max, d.Max)
	}
	return all
}

func abs(x float64) float64 { return max(x, -x) }

// verify takes the account and replays every tier, of nodes that have stopped.
func (r *run) verify(totals *rootTotals) error {
	s := &r.summary
	written := map[stream.Series]*Source{}
	counts := map[stream.Series]tally{}
	for i, w := range r.writers {
		src := Source{Agent: r.leaves[i].name, Source: w.source.spec.Name, Lines: w.written.Load()}
		s.Sources = append(s.Sources, src)
	}
	for i, w := range r.writers {
		for series, t := range w.tallies {
			written[series], counts[series] = &s.Sources[i], t
		}
	}
	for i := range s.Sources {
		s.Events.Lines += s.Sources[i].Lines
	}
	s.compare(written, counts, totals.series)
	for _, u := range totals.units {
		s.Events.Settled += u.Events
	}
	for _, l := range r.tree.leaves {
		if err := r.audit(l, totals.units); err != nil {
			return err
		}
	}
	return r.replay()
}

// compare takes what the root holds against what was written, series by
// series. No series is written by two sources. Fewer are lost, more are
// doubled; where as many have another sum, one stands in another's place.
func (s *Summary) compare(written map[stream.Series]*Source, counts map[stream.Series]tally, held []root.Series) {
	for _, h := range held {
		series := stream.Series{Entity: h.Entity, Signal: h.Signal}
		want, src := counts[series], written[series]
		delete(counts, series)
		lost, doubled := difference(want, h.Count, h.SumExact)
		s.Events.Lost += lost
		s.Events.Doubled += doubled
		if src != nil {
			src.Settled += h.Count
			src.Lost += lost
			src.Doubled += doubled
		}
	}
	for series, t := range counts { // nothing of them is at the root
		s.Events.Lost += t.count
		written[series].Lost += t.count
	}
}

func difference(want tally, count uint64, sum string) (lost, doubled uint64) {
	switch {
	case count < want.count:
		return want.count - count, 0
	case count > want.count:
		return 0, count - want.count
	case sum != want.sum.String():
		return 1, 1
	}
	return 0, 0
}

// audit reads an agent's log: it counts what was accepted, and compares the
// chain over the batches with the root's where the root has settled.
func (r *run) audit(l *leaf, units []root.Unit) error {
	type key struct{ wal, lane string }
	want := map[key]root.Unit{}
	for _, u := range units {
		if u.Origin == l.agent.Name() {
			want[key{u.WAL, u.Lane}] = u
		}
	}
	r.summary.Events.Units += len(want)
	chains := map[key]event.Hash{}
	accepted := map[string]uint64{} // by source
	dir := r.tree.path("agent", l.name)
	err := agent.Batches(dir, durable.OS(), func(b *event.Batch, encoded []byte) error {
		k := key{b.Unit.WAL.String(), b.Unit.Lane.String()}
		chain := event.Chain(chains[k], encoded)
		chains[k] = chain
		if u, ok := want[k]; ok && u.Settled == b.Last() && u.Chain == fmt.Sprintf("%x", chain[:]) {
			r.summary.Events.Chains++
		}
		for i := range b.Events {
			if e := &b.Events[i]; e.Kind != event.Heartbeat {
				accepted[e.Source]++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for k, u := range want {
		if u.Settled == 0 && chains[k] == (event.Hash{}) {
			r.summary.Events.Chains++ // an empty unit has an empty chain
		}
	}
	for i := range r.summary.Sources {
		src := &r.summary.Sources[i]
		if src.Agent != l.name {
			continue
		}
		src.Accepted = accepted[src.Source]
		r.summary.Events.Accepted += src.Accepted
	}
	return nil
}

// replay steps every tier's log again.
func (r *run) replay() error {
	type tier struct {
		name string
		run  func() (journal.Report, error)
		idle bool // it had nothing to say
	}
	var tiers []tier
	for _, l := range r.tree.leaves {
		tiers = append(tiers, tier{name: l.agent.Name(), run: func() (journal.Report, error) {
			return agent.Replay(r.tree.path("agent", l.name), durable.OS())
		}})
	}
	for n, x := range r.tree.relays {
		tiers = append(tiers, tier{name: x.Name(), run: func() (journal.Report, error) {
			return relay.Replay(r.tree.path("relay", nth("relay", n)), durable.OS())
		}})
	}
	for n, x := range r.tree.uppers {
		// No agent is theirs, and what they pass on is in no log of theirs.
		tiers = append(tiers, tier{name: x.Name(), idle: true, run: func() (journal.Report, error) {
			return relay.Replay(r.tree.path("relay", nth("top", n)), durable.OS())
		}})
	}
	for n, x := range r.tree.roots {
		tiers = append(tiers, tier{name: x.Name(), run: func() (journal.Report, error) {
			return root.Replay(root.ReplayOptions{Dir: r.tree.path("root", fmt.Sprintf("root%d", n+1))})
		}})
	}
	out := &r.summary.Replay
	out.Identical = true
	for _, t := range tiers {
		rep, err := t.run()
		if err != nil {
			return fmt.Errorf("replay %s: %w", t.name, err)
		}
		out.Tiers++
		out.Records += rep.Records
		out.Hashes += rep.Hashes
		if rep.Identical && rep.Hashes == 0 && !t.idle {
			rep.Identical, rep.Fault = false, "no output hash was recorded, so nothing was compared"
		}
		if !rep.Identical {
			out.Identical = false
			out.Faults = append(out.Faults, t.name+": "+rep.Fault)
		}
	}
	return nil
}
