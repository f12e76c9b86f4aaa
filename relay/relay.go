//go:build !zos

package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pando/event"
	"pando/internal/ops"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/stream/dedup"
	"pando/transport"
	"pando/tree/gossip"
	"pando/tree/journal"
	"pando/tree/rootclock"
	"pando/tree/tap"
	"pando/tree/uplink"
	"pando/wal"
)

// Relay is one relay. Create it with [New]; its methods are safe for
// concurrent use.
type Relay struct {
	opts     Options
	name     string
	log      *slog.Logger
	clock    *rootclock.Clock
	listener *transport.Listener
	pool     *gossip.Pool
	journal  *journal.Journal
	up       *uplink.Uplink
	upstream *upstream
	tap      tap.Hub
	board    board
	count    *metrics

	reckoned Reckoning // set once, by New

	credit   *pool
	twice    ops.Seldom    // of log lines about one WAL id in two live sessions
	large    ops.Seldom    // of log lines about statuses that are too large
	lostHeld atomic.Uint64 // findings of provisional incidents that no root will have
	crowded  atomic.Bool   // more batches wait for settlement than memory is meant for

	owing      sync.Mutex // before mu
	owed       debts
	askedShort time.Time // of the goroutine that ticks

	mu       sync.Mutex
	sessions map[uint64]*child // with units open or about to
	nodes    map[string]int    // sessions of each node that are to stay; no zeros
	next     uint64            // number of the last session of this process: recStart ended all others
	reports  map[string]report // by agent
	reported int               // bytes of these, as they came; at most maxReported
	rate     rate
	closed   bool
}

// New checks the options, opens the log and brings the core to its end, and
// listens; nothing is accepted before Run. A failed New lets go of all it took.
func New(o Options) (_ *Relay, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{opts: o, name: o.Credentials.Identity().Node(), count: newMetrics(o.Registerer),
		credit: newPool(transport.Credit(o.CreditPool)), twice: ops.Seldom{Every: time.Minute}, large: ops.Seldom{Every: time.Minute},
		sessions: map[uint64]*child{}, nodes: map[string]int{}, reports: map[string]report{}}
	r.log = o.Logger.With("node", r.name)
	r.upstream = newUpstream(r)
	defer func() {
		if err != nil {
			err = fmt.Errorf("relay: %w", errors.Join(err, r.release()))
		}
	}()
	dir := filepath.Join(o.Dir, "wal")
	if err := o.FS.MkdirAll(dir); err != nil {
		return nil, err
	}
	if r.clock, err = rootclock.New(rootclock.Options{Dir: o.Dir, FS: o.FS, Wall: o.Wall, Logger: r.log}); err != nil {
		return nil, err
	}
	if err := r.openJournal(dir); err != nil {
		return nil, err
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(windowCollector{r.windowStats}, patternCollector{r.Patterns}, detectorCollector{r.detectorsRefused})
	}
	if err := r.listen(); err != nil {
		return nil, err
	}
	if o.Gossip != nil {
		g := *o.Gossip
		id := o.Credentials.Identity()
		g.Meta = gossip.Meta{Role: gossip.Relay, Region: id.Region, Addr: r.Addr(), API: o.API, Weight: o.Weight}
		g.Node, g.Logger, g.Registerer = r.name, r.log, o.Registerer
		if r.pool, err = gossip.New(g); err != nil {
			return nil, err
		}
	}
	topts := r.transport()
	r.up, err = uplink.New(uplink.Options{Self: o.Credentials.Identity(), Seeds: o.Parents, Transport: topts,
		Epoch: uint64(o.Wall()), Standby: true, Rooted: true, Logger: r.log, Serve: r.upstream.serve})
	return r, err
}

func (r *Relay) openJournal(dir string) error {
	w := wal.DefaultOptions(dir)
	w.FS, w.Logger, w.SegmentBytes, w.MaxBytes, w.Registerer = r.opts.FS, r.log, r.opts.SegmentBytes, r.opts.MaxBytes, r.opts.Registerer
	var c *core
	j, rec, err := journal.Open(journal.Options{WAL: w, Logger: r.log, Deliver: r.deliver,
		Rank: Rank,
		Core: func(_ uint64, fetch journal.Fetch) (_ journal.Core, err error) {
			c, err = newCore(r.name, fetch)
			return c, err
		}})
	if err != nil {
		return err
	}
	r.journal = j
	if rec.CutBytes > 0 {
		r.log.Warn("a torn tail of the log was cut", "bytes", rec.CutBytes, "kept_in", rec.BrokenCopy)
	}
	if err := r.begin(c); err != nil {
		return err
	}
	config, err := r.opts.analysisYAML()
	if err != nil {
		return err
	}
	if err := checkAnalysis(config); err != nil {
		return err
	}
	changed, first := false, false
	j.View(func(journal.Core) {
		changed, first = !bytes.Equal(c.config, config), c.config == nil
		c.seen, c.found, c.sifted, c.lost = r.seen, r.found, r.sifted, r.lost
		if len(c.local.set.Incidents()) > 0 {
			r.lostHeld.Store(c.dropped) // some may be of these incidents
		}
		r.reckoned = Reckon(Core{c}, r.clock.Boot(), r.clock.Mono())
	})
	if changed {
		err = r.analyse(config, first)
	}
	return err
}

func (r *Relay) transport() transport.Options {
	t := transport.DefaultOptions()
	t.Credentials, t.Network, t.Logger, t.Registerer = r.opts.Credentials, r.opts.Network, r.log, r.opts.Registerer
	if r.opts.timeout > 0 {
		t.Timeout = r.opts.timeout
	}
	r.clock.Wire(&t)
	return t
}

func (r *Relay) listen() (err error) {
	t := r.transport()
	t.Sample = nil // of dialed sessions only
	t.Admit = r.admit
	t.MaxPending, t.MaxPendingPerHost = r.opts.MaxPending, r.opts.MaxPendingPerHost
	door, err := newDoor(r.opts.HandshakeEvery, r.opts.HandshakeBurst)
	if err != nil {
		return err
	}
	t.Answer = door.answer
	t.Credit = [transport.Lanes]transport.Credit{firstCredit, firstCredit} // windows grow by what the pool has
	r.listener, err = transport.Listen(r.opts.Listen, t)
	return err
}

// Addr is the transport address that children dial.
func (r *Relay) Addr() string {
	if r.opts.Advertise != "" {
		return r.opts.Advertise
	}
	return r.listener.Addr().String()
}

// GossipAddr is the address of the region's pool here, or empty.
func (r *Relay) GossipAddr() string {
	if r.pool == nil {
		return ""
	}
	return r.pool.Addr()
}

// Name is the relay's node name.
func (r *Relay) Name() string { return r.name }

// Tap is the relay's live stream of events and findings.
func (r *Relay) Tap() *tap.Hub { return &r.tap }

// release lets go of what New took.
func (r *Relay) release() error {
	var errs []error
	if r.listener != nil {
		errs = append(errs, r.listener.Close())
	}
	if r.pool != nil {
		errs = append(errs, r.pool.Close())
	}
	if r.journal != nil {
		errs = append(errs, r.journal.Close())
	}
	return errors.Join(errs...)
}

// Run works until ctx is done, which is a graceful stop, or until the disk or
// the core fails, which is the error.
func (r *Relay) Run(ctx context.Context) (err error) {
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var front, back sync.WaitGroup
	start := func(wg *sync.WaitGroup, ctx context.Context, part func(context.Context) error) {
		wg.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	start(&back, parts, r.journal.Run)
	start(&back, parts, r.up.Run)
	start(&front, run, r.accept)
	start(&front, run, r.ticks)
	start(&front, run, r.housekeeping)
	if r.pool != nil {
		start(&front, run, r.pool.Run)
	}
	<-run.Done()
	_ = r.listener.Close()
	r.closeSessions("relay stops")
	r.upstream.closeBelow("relay stops")
	front.Wait()
	stop()
	back.Wait()
	if cause := context.Cause(run); ctx.Err() == nil {
		err = cause
	}
	return errors.Join(err, r.journal.Close())
}

// clockEvery is how often the estimate of root time is put into the log.
const clockEvery = 5 * time.Second

// ticks tells the core the time.
func (r *Relay) ticks(ctx context.Context) error {
	r.awaitTime(ctx)
	t := time.NewTicker(r.opts.TickEvery)
	defer t.Stop()
	var kept time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		errs := []error{r.pay(), r.upstream.lost(), r.upstream.regrant(), r.pulse(r.now())}
		if m, ok := r.clock.Mapping(); ok && time.Since(kept) >= clockEvery {
			kept = time.Now()
			rec := ClockRecord(m)
			_, err := r.journal.Append(rec.Kind, rec.Body, rec.Urgent)
			errs = append(errs, err)
		}
		for _, err := range errs {
			if err != nil && !errors.Is(err, wal.ErrFull) {
				return err
			}
		}
	}
}

// timeGrace is how long a relay with a new log waits for root time before it
// begins by its own clock: it may start a region that has no root yet.
const timeGrace = 2 * time.Second

// awaitTime waits until root time is known, or reckoned, or the grace is over.
func (r *Relay) awaitTime(ctx context.Context) {
	const pause = 5 * time.Millisecond
	for range timeGrace / pause {
		_, _, known := r.clock.Root()
		if _, reckoned := r.reckoned.Now(r.clock.Mono()); known || reckoned {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// now is root time as far as it is known here.
func (r *Relay) now() int64 {
	if now, _, ok := r.clock.Root(); ok {
		return now
	}
	if now, ok := r.reckoned.Now(r.clock.Mono()); ok {
		return now
	}
	return r.opts.Wall()
}

// seen is the core's window for people who watch. It is called for every
// event, under the journal's lock.
func (r *Relay) seen(a *stream.Arrival) {
	watched, n := r.tap.Watched(), 0
	for i, kind := range a.Kind {
		if kind == event.Heartbeat {
			continue
		}
		n++
		if watched {
			var e event.Event
			a.Event(i, &e)
			r.tap.Publish(tap.Event(r.name, a.Unit, &e, a.Points[i]))
		}
	}
	r.count.events.Add(float64(n))
}

func (r *Relay) found(f *anomaly.Finding) {
	r.count.findings.WithLabelValues(f.Detector).Inc()
	if r.tap.Watched() {
		r.tap.Publish(tap.Item{Node: r.name, What: "finding", Time: tap.Time(f.Point), Entity: f.Series.Entity,
			Signal: f.Series.Signal, Severity: int(f.Severity), Peer: f.Peer, Text: f.Detector + ": " + f.Summary})
	}
}

func (r *Relay) sifted(before, after dedup.Counts) {
	for _, x := range []struct {
		what          string
		before, after uint64
	}{
		{"folded", before.Folded, after.Folded}, {"released", before.Released, after.Released},
		{"evicted", before.Evicted, after.Evicted}, {"full", before.Full, after.Full},
		{"incomparable", before.Incomparable, after.Incomparable},
	} {
		r.count.sifted.WithLabelValues(x.what).Add(float64(x.after - x.before))
	}
}

func (r *Relay) lost(provisional bool) {
	r.count.lost.Inc()
	if provisional {
		r.lostHeld.Add(1)
	}
}
