//go:build !zos

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	// lagLimit is how far settlement may be behind what is written at the
	// highest rate: what is not settled is bounded by the time that it takes to
	// settle so much. Bulk is settled once a second, and a rate that is not
	// sustained lets the lag grow without end.
	lagLimit = 3 * time.Second
	// leastLag is how many lines may be unsettled whatever the rate is.
	leastLag = 100_000
	// settledOver is the time over which the rate of settlement is estimated.
	settledOver = 2 * time.Second
	// steerEvery is how often the writer is told how far it may go.
	steerEvery = 100 * time.Millisecond
	// probeLimit is how long the last probe may take before it counts as lost.
	probeLimit = 20 * time.Second
)

// driver drives a tree by what its writer may write.
type driver struct {
	*bench
	writer *worker
	seen   int // probes of loads before
	recent []settledAt
}

type settledAt struct {
	at     time.Time
	events uint64
}

// settled is how many events the roots hold.
func (d *driver) settled(ctx context.Context) (most uint64, err error) {
	for _, w := range d.crew.of(tierRoot) {
		var s Standing
		if err := w.call(ctx, "Standing", None{}, &s); err != nil {
			return 0, err
		}
		most = max(most, s.Settled)
	}
	return most, nil
}

// warmUpPart of the time that is measured goes before it.
const warmUpPart = 0.25

// peak writes as much as is settled within the limit of lag, and measures how
// much that is.
func (d *driver) peak(ctx context.Context, total time.Duration, f *Figures) error {
	warm := max(time.Duration(warmUpPart*float64(total)), warmUp)
	if _, err := d.steer(ctx, warm); err != nil {
		return err
	}
	before, err := d.reading(ctx)
	if err != nil {
		return err
	}
	if _, err := d.steer(ctx, time.Duration(peakPart*float64(total))); err != nil {
		return err
	}
	after, err := d.reading(ctx)
	if err != nil {
		return err
	}
	took := after.usages.at.Sub(before.usages.at)
	f.Events.Measured = after.settled - before.settled
	f.EventsPerS = float64(f.Events.Measured) / took.Seconds()
	f.BytesPerEvent = ratio(float64(after.wire-before.wire), float64(f.Events.Measured))
	f.Duration = Duration{WarmUp: warm.Seconds(), Measured: took.Seconds()}
	f.spend(before.usages, after.usages, f.Events.Measured, tierAgent, tierRelay, tierRoot)
	if f.Events.Measured == 0 {
		return fmt.Errorf("nothing was settled within %v", took)
	}
	return nil
}

// reading is how far everything is at one moment.
type reading struct {
	usages  usages
	settled uint64
	wire    uint64
}

func (d *driver) reading(ctx context.Context) (r reading, err error) {
	if r.usages, err = d.crew.usage(ctx); err != nil {
		return r, err
	}
	r.usages.tiers[tierGenerator] = r.usages.tiers[tierWriter]
	delete(r.usages.tiers, tierWriter)
	for _, w := range d.crew.of(tierAgent) {
		n := uint64(0)
		if err := w.call(ctx, "Wire", None{}, &n); err != nil {
			return r, err
		}
		r.wire += n
	}
	r.settled, err = d.settled(ctx)
	return r, err
}

// steer lets the writer write as much as may be unsettled, for a while.
func (d *driver) steer(ctx context.Context, length time.Duration) (settled uint64, err error) {
	for begun := time.Now(); time.Since(begun) < length; pause(ctx, steerEvery) {
		if settled, err = d.settled(ctx); err != nil {
			return 0, err
		}
		now := time.Now()
		d.recent = append(d.recent, settledAt{now, settled})
		for now.Sub(d.recent[0].at) > settledOver {
			d.recent = d.recent[1:]
		}
		rate := 0.0
		if first := d.recent[0]; now.After(first.at) {
			rate = float64(settled-first.events) / now.Sub(first.at).Seconds()
		}
		window := uint64(max(rate*lagLimit.Seconds(), leastLag))
		if err := d.writer.call(ctx, "Pace", Pace{Limit: settled + window}, &None{}); err != nil {
			return 0, err
		}
		if _, err := d.crew.usage(ctx); err != nil {
			return 0, err
		}
		d.tell("%.0f events/s settled", rate)
		if ctx.Err() != nil {
			return 0, fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
	}
	return settled, nil
}

// load writes at a rate, with probes, and measures how long those take.
func (d *driver) load(ctx context.Context, rate float64, o *TreeOptions) (l Load, err error) {
	l.Rate = rate
	if err := d.writer.call(ctx, "Pace", Pace{Rate: rate}, &None{}); err != nil {
		return l, err
	}
	lag := 0.0
	behind := func() error {
		var w Written
		if err := d.writer.call(ctx, "Written", 0, &w); err != nil {
			return err
		}
		settled, err := d.settled(ctx)
		if err != nil {
			return err
		}
		written := w.Lines + uint64(len(w.Probes))
		if lag = float64(written-min(settled, written)) / rate; lag > lagLimit.Seconds() {
			return fmt.Errorf("settlement is %.1f s behind", lag)
		}
		return nil
	}
	if err := d.crew.await(ctx, "settlement of what was written before", settleLimit, behind); err != nil {
		return l, err
	}
	length := time.Duration(loadPart * float64(o.For))
	for begun := time.Now(); time.Since(begun) < length; {
		if err := d.writer.call(ctx, "Probe", None{}, &None{}); err != nil {
			return l, err
		}
		if _, err := d.crew.usage(ctx); err != nil {
			return l, err
		}
		if ctx.Err() != nil {
			return l, fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		d.tell("probes at %.0f lines/s", rate)
		// Irregular, so that no period of the tree's own is hit again and again.
		pause(ctx, time.Duration(float64(time.Second/2+rand.N(time.Second))/o.Probes))
	}
	_ = behind() // it tells the lag, and being behind is what is measured here
	l.Lag = lag
	l.Percentiles, err = d.found(ctx)
	return l, err
}

// found waits until all probes of a load are found, and says how long they took.
func (d *driver) found(ctx context.Context) (p Percentiles, err error) {
	var h Histogram
	n := 0
	err = d.crew.await(ctx, "what the tree makes of the last probes", probeLimit, func() error {
		var w Written
		if err := d.writer.call(ctx, "Written", d.seen, &w); err != nil {
			return err
		}
		first, err := d.firstSeen(ctx)
		if err != nil {
			return err
		}
		h, n = Histogram{}, len(w.Probes)
		for _, probe := range w.Probes {
			at, ok := first[probe.Entity]
			if !ok {
				return fmt.Errorf("no incident of %s, of %d probes", probe.Entity, n)
			}
			h.Add(at.Sub(probe.At), 1)
		}
		return nil
	})
	d.seen += n
	return h.Percentiles(), err
}

// firstSeen is when the probes were seen first by any root: that is the leader,
// which is the first to know what is committed.
func (d *driver) firstSeen(ctx context.Context) (map[string]time.Time, error) {
	first := map[string]time.Time{}
	for _, w := range d.crew.of(tierRoot) {
		var seen map[string]time.Time
		if err := w.call(ctx, "Probes", None{}, &seen); err != nil {
			return nil, err
		}
		for name, at := range seen {
			if t, ok := first[name]; !ok || at.Before(t) {
				first[name] = at
			}
		}
	}
	return first, nil
}

// settle stops the writer, waits until all that it wrote is settled, and
// compares.
func (d *driver) settle(ctx context.Context, f *Figures) error {
	if err := d.writer.call(ctx, "Halt", None{}, &None{}); err != nil {
		return err
	}
	begun := time.Now()
	err := d.crew.await(ctx, "settlement of all that was written", settleLimit, func() error {
		var w Written
		if err := d.writer.call(ctx, "Written", 0, &w); err != nil {
			return err
		}
		settled, err := d.settled(ctx)
		if written := w.Lines + uint64(len(w.Probes)); err == nil && settled < written {
			err = fmt.Errorf("%d of %d lines are settled", settled, written)
		}
		return err
	})
	if err != nil {
		return err
	}
	f.Duration.Settle = time.Since(begun).Seconds()
	var sent []Account
	if err := d.writer.call(ctx, "Accounts", None{}, &sent); err != nil {
		return err
	}
	held, err := d.units(ctx)
	if err != nil {
		return err
	}
	wals := map[string]string{}
	for _, u := range held {
		if was := wals[u.Origin]; was != "" && was != u.WAL {
			return fmt.Errorf("%s has had several logs, %s and %s: a run is measured with one", u.Origin, was, u.WAL)
		}
		wals[u.Origin] = u.WAL
	}
	for i := range sent {
		// Two accounts of each agent, by position.
		sent[i].Origin = region + "/" + d.crew.of(tierAgent)[i/2].name
		if sent[i].WAL = wals[sent[i].Origin]; strings.TrimSpace(sent[i].WAL) == "" {
			return fmt.Errorf("the root does not know %s", sent[i].Origin)
		}
	}
	f.compare(sent, held)
	return f.verdict()
}
