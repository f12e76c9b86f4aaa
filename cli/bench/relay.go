//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pando/event"
	"pando/transport"
)

// RelayOptions say how to measure a relay.
type RelayOptions struct {
	Options
	Kind  string  // KindMetric or KindLog
	Batch int     // events; 0: as many as an agent would gather
	Rate  float64 // events a second of all agents; 0: as many as the relay takes
}

// DefaultRelayOptions are the workload of the design's table.
func DefaultRelayOptions() RelayOptions {
	return RelayOptions{Kind: KindMetric,
		Options: Options{For: 10 * time.Second, Entities: 200, Signals: 20, Agents: 4}}
}

// Validate reports the first fault.
func (o *RelayOptions) Validate() error {
	switch {
	case o.Kind != KindMetric && o.Kind != KindLog:
		return fmt.Errorf("kind: %q: give %s or %s", o.Kind, KindMetric, KindLog)
	case o.Batch < 0 || o.Batch >= event.MaxBatchEvents:
		return fmt.Errorf("batch: %d events are outside 0 to %d", o.Batch, event.MaxBatchEvents-1)
	case o.Kind == KindLog && o.Batch > maxLogBatch:
		return fmt.Errorf("batch: %d log events may not fit into one: give at most %d", o.Batch, maxLogBatch)
	case !(o.Rate >= 0 && o.Rate <= maxRate):
		return fmt.Errorf("rate: %v events a second are outside 0 to %v", o.Rate, maxRate)
	}
	if err := o.Options.Validate(); err != nil {
		return err
	}
	if least := (o.drawn() + maxTemplates - 1) / maxTemplates; o.batch() < least {
		return fmt.Errorf("batch: %d events of %d series are more batches than are kept encoded: give at least %d",
			o.batch(), o.Entities*o.Signals, least)
	}
	return nil
}

// batch is how many events go at once: under load as many as an agent's batch
// holds; at a rate as many as come between two looks at a file.
func (o *RelayOptions) batch() int {
	switch {
	case o.Batch > 0:
		return o.Batch
	case o.Rate > 0:
		return min(max(int(o.Rate/float64(o.Agents)*gatherOver.Seconds()), 1), fullBatch)
	}
	return fullBatch
}

const (
	fullBatch  = 4096
	gatherOver = 10 * time.Millisecond
	// maxLogBatch keeps a batch of log events below [event.MaxBatchBytes].
	maxLogBatch = 4096
	maxRate     = 1e9
	// maxTemplates is how many batches all agents keep encoded, at some 500
	// bytes beside their events.
	maxTemplates = 1 << 19
)

// RelayResult is what a run came to. Its JSON is an interface.
type RelayResult struct {
	Figures
	// Latency is from the moment at which a batch was to be sent to the
	// relay's word that it is durable and stepped.
	Latency Percentiles `json:"latency_ms"`
	// SessionsLost is how often an agent had to connect anew: a machine that
	// is short of processors starves heartbeats.
	SessionsLost uint64 `json:"sessions_lost"`
	// WindowResults is how many results the relay's windows told in all.
	WindowResults uint64 `json:"window_results"`
}

const (
	// warmUp is how long a run goes on before it is measured: windows grow,
	// logs get their first segments, series are seen for the first time.
	warmUp = time.Second
	// settleLimit is how long the last events may take to settle.
	settleLimit = 60 * time.Second
	// lookEvery is how often a run looks whether all is well.
	lookEvery = 200 * time.Millisecond
)

// Relay measures one relay with all that it does: it receives, makes durable,
// steps, cuts digests for a real root of one member, which settles them, so
// that the relay's log is trimmed as in production. The result is valid if the
// error is nil.
func Relay(ctx context.Context, o RelayOptions) (r RelayResult, err error) {
	if err := o.Validate(); err != nil {
		return r, fmt.Errorf("bench relay: %w", err)
	}
	b, disk, leave, err := enter(o.Options)
	if err != nil {
		return r, fmt.Errorf("bench relay: %w", err)
	}
	defer func() { err = errors.Join(err, leave()) }()
	r.Workload, r.Machine = o.workload(o.Kind, 1, 1), machine(disk)
	r.Workload.Batch, r.Workload.Rate = o.batch(), o.Rate
	if err := b.relay(ctx, &o, &r); err != nil {
		return r, fmt.Errorf("bench relay: %w", err)
	}
	return r, nil
}

func (b *bench) relay(ctx context.Context, o *RelayOptions, r *RelayResult) error {
	roots, err := b.plantRoots(ctx, 1)
	if err != nil {
		return err
	}
	relays, err := b.plantRelays(ctx, 1, roots)
	if err != nil {
		return err
	}
	g, err := b.feed(ctx, o, relays)
	if err != nil {
		return err
	}
	if _, err := b.watch(ctx, g, warmUp); err != nil {
		return err
	}
	if err := g.call(ctx, "Latencies", None{}, &Histogram{}); err != nil { // those of the warm-up
		return err
	}
	before, err := b.crew.usage(ctx)
	if err != nil {
		return err
	}
	w, err := b.watch(ctx, g, o.For)
	if err != nil {
		return err
	}
	after, err := b.crew.usage(ctx)
	if err != nil {
		return err
	}
	var h Histogram
	if err := g.call(ctx, "Latencies", None{}, &h); err != nil {
		return err
	}
	r.Latency = h.Percentiles()
	r.Events.Measured = w.last.Durable - w.first.Durable
	r.EventsPerS = float64(r.Events.Measured) / w.took.Seconds()
	r.BytesPerEvent = ratio(float64(w.last.Wire-w.first.Wire), float64(w.last.Sent-w.first.Sent))
	r.Duration = Duration{WarmUp: warmUp.Seconds(), Measured: w.took.Seconds()}
	r.spend(before, after, r.Events.Measured, tierRelay)
	if err := b.settle(ctx, g, &r.Figures); err != nil {
		return err
	}
	var s FeedState
	if err := g.call(ctx, "State", None{}, &s); err != nil {
		return err
	}
	r.SessionsLost = s.SessionsLost
	for _, w := range b.crew.of(tierRelay) {
		if err := w.call(ctx, "Results", None{}, &r.WindowResults); err != nil {
			return err
		}
	}
	return nil
}

// feed starts the generator.
func (b *bench) feed(ctx context.Context, o *RelayOptions, relays []string) (*worker, error) {
	s := FeedSpec{Spec: Spec{Dir: b.dir, Parents: relays, LogLevel: o.LogLevel}, Kind: o.Kind, Entities: o.Entities, Signals: o.Signals, Batch: o.batch(), Rate: o.Rate}
	for i := range o.Agents {
		files, err := b.crew.issue(transport.RoleAgent, fmt.Sprintf("agent%d", i+1))
		if err != nil {
			return nil, err
		}
		s.Agents = append(s.Agents, files)
	}
	g, err := b.crew.start(tierGenerator, "generator")
	if err != nil {
		return nil, err
	}
	return g, g.call(ctx, "Start", s, &None{})
}

// watched is what a generator did in a span of time.
type watched struct {
	first, last FeedState
	took        time.Duration
}

// watch lets a run go on for a while, and ends early if something fails.
func (b *bench) watch(ctx context.Context, g *worker, length time.Duration) (w watched, err error) {
	if err := g.call(ctx, "State", None{}, &w.first); err != nil {
		return w, err
	}
	begun, seen, at := time.Now(), w.first.Durable, time.Now()
	for {
		pause(ctx, min(lookEvery, max(length-time.Since(begun), 0)))
		if ctx.Err() != nil {
			return w, fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		var s FeedState
		if err := g.call(ctx, "State", None{}, &s); err != nil {
			return w, err
		}
		if w.took = time.Since(begun); w.took >= length {
			w.last = s
			return w, nil
		}
		if _, err := b.crew.usage(ctx); err != nil {
			return w, err
		}
		if time.Since(at) >= progressEvery {
			b.tell("%.0f events/s", float64(s.Durable-seen)/time.Since(at).Seconds())
			seen, at = s.Durable, time.Now()
		}
	}
}

// settle stops the generator, waits until all that it sent is settled, and
// compares.
func (b *bench) settle(ctx context.Context, g *worker, f *Figures) error {
	if err := g.call(ctx, "Halt", None{}, &None{}); err != nil {
		return err
	}
	begun := time.Now()
	err := b.crew.await(ctx, "settlement of all that was sent", settleLimit, func() error {
		var s FeedState
		if err := g.call(ctx, "State", None{}, &s); err != nil {
			return err
		}
		if s.Unsettled > 0 {
			b.tell("%d events are not settled yet", s.Unsettled)
			return fmt.Errorf("%d events are not settled", s.Unsettled)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.Duration.Settle = time.Since(begun).Seconds()
	var sent []Account
	if err := g.call(ctx, "Accounts", None{}, &sent); err != nil {
		return err
	}
	held, err := b.units(ctx)
	if err != nil {
		return err
	}
	f.compare(sent, held)
	return f.verdict()
}
