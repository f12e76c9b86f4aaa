package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"pando/agent/input"
	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/tree/journal"
	"pando/tree/rootclock"
	"pando/tree/tap"
	"pando/tree/uplink"
	"pando/tree/wire"
	"pando/wal"
)

// errNewWAL asks for a log under a new WAL id.
var errNewWAL = errors.New("the log must be replaced")

// Agent is one leaf. Create it with [New]; its methods are safe for
// concurrent use.
type Agent struct {
	opts  Options
	name  string
	log   *slog.Logger
	clock *rootclock.Clock
	tap   tap.Hub
	count *metrics

	mu      sync.Mutex
	life    *life // the present log's
	full    error // why nothing can be appended
	rate    rate
	lastWAL event.WALID
}

// life is what lives as long as one WAL id in one process.
type life struct {
	journal *journal.Journal
	intake  *intake
	link    *link
	up      *uplink.Uplink
	resumed chan struct{} // closed once the sources' positions are known
	sources []input.Source
}

// New checks the options and prepares the folder; it starts nothing.
func New(o Options) (*Agent, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &Agent{opts: o, name: o.Credentials.Identity().Node(), count: newMetrics(o.Registerer)}
	a.log = o.Logger.With("node", a.name)
	if err := o.FS.MkdirAll(filepath.Join(o.Dir, "wal")); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	var err error
	if a.clock, err = rootclock.New(rootclock.Options{Dir: o.Dir, FS: o.FS, Wall: o.Wall, Logger: a.log}); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return a, nil
}

// Name is the agent's node name.
func (a *Agent) Name() string { return a.name }

// Tap is the agent's live stream of events.
func (a *Agent) Tap() *tap.Hub { return &a.tap }

func (a *Agent) walOptions() wal.Options {
	o := wal.DefaultOptions(filepath.Join(a.opts.Dir, "wal"))
	o.FS, o.Logger, o.Registerer = a.opts.FS, a.log, a.opts.Registerer
	o.SegmentBytes, o.MaxBytes = a.opts.SegmentBytes, a.opts.MaxBytes
	return o
}

// Run works until ctx is done, which is a graceful stop, or until the disk
// fails, which is the error.
func (a *Agent) Run(ctx context.Context) error {
	var replaced replacements
	for {
		since := time.Now()
		err := a.live(ctx)
		if !errors.Is(err, errNewWAL) {
			return err
		}
		if err := a.setAside(); err != nil {
			return err
		}
		pause, cloned := replaced.note(time.Now(), time.Since(since))
		if cloned {
			a.log.Error("another node uses the certificate of this one: each closes the other's log", "agent", a.name, "next_log_in", pause,
				"hint", "find the copy, issue a certificate of its own with pando ca issue, and start it with an empty dir")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// setAside keeps the old log under another name, for people, and makes room
// for a new one.
func (a *Agent) setAside() error {
	dir := filepath.Join(a.opts.Dir, "wal")
	a.mu.Lock()
	id := a.lastWAL
	a.mu.Unlock()
	aside := dir + ".replaced-" + id.String()
	a.log.Error("this WAL id was closed or its content diverged: opening a new one; files are read again from where the root settled them, what came over the network and was not handed over is only in the old log",
		"wal", id.String(), "kept_in", aside)
	a.count.replaced.Inc()
	if err := a.opts.FS.Rename(dir, aside); err != nil {
		return fmt.Errorf("agent: set the old log aside: %w", err)
	}
	if err := a.opts.FS.MkdirAll(dir); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return a.opts.FS.SyncDir(a.opts.Dir)
}

// live runs one life of one log.
func (a *Agent) live(ctx context.Context) (err error) {
	l := &life{resumed: make(chan struct{})}
	var rec wal.Recovery
	l.journal, rec, err = journal.Open(journal.Options{
		WAL: a.walOptions(), Logger: a.log, Sheds: func(kind uint8) bool { return kind == recBatch },
		Core: func(id uint64, _ journal.Fetch) (journal.Core, error) { return newCore(a.name, id), nil },
		Deliver: func([]journal.Output) { // batches go out by the link's own readers
			l.intake.onSync(l.journal.Log().Synced())
			l.link.onSync(l.journal.Log().Synced())
		},
	})
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer func() { err = errors.Join(err, l.journal.Close()) }()
	if rec.CutBytes > 0 {
		a.log.Warn("a torn tail of the log was cut", "bytes", rec.CutBytes, "kept_in", rec.BrokenCopy)
	}
	if _, err := l.journal.Append(recStart, nil, false); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	var epoch uint64
	l.journal.View(func(c journal.Core) { epoch = c.(*core).epoch })
	l.intake = newIntake(a, l.journal, a.opts.PendingBytes)
	l.link = newLink(a, l)
	if err := a.connect(l, epoch); err != nil {
		return err
	}
	a.mu.Lock()
	a.life, a.lastWAL = l, event.WALID(l.journal.Log().ID())
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.life = nil
		a.mu.Unlock()
	}()
	return a.work(ctx, l)
}

func (a *Agent) connect(l *life, epoch uint64) error {
	topts := transportOptions(&a.opts)
	a.clock.Wire(&topts)
	id := a.opts.Credentials.Identity()
	var err error
	l.up, err = uplink.New(uplink.Options{
		Self: id, Seeds: a.opts.Relays, Transport: topts, Epoch: epoch, Standby: true,
		Regions: append([]string{id.Region}, id.Fallback...), Logger: a.log, Serve: l.link.serve,
	})
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

// work runs the life's parts until one of them ends, then stops the others:
// sources first, so that everything they handed over is on disk.
func (a *Agent) work(ctx context.Context, l *life) error {
	resume, resumed := a.positions(l)
	if resumed {
		close(l.resumed)
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.link.onNewWAL = func() { cancel(errNewWAL) }
	var sources, rest sync.WaitGroup
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	start := func(wg *sync.WaitGroup, ctx context.Context, part func(context.Context) error) {
		wg.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	start(&rest, parts, l.journal.Run)
	inctx, stopIntake := context.WithCancel(parts)
	defer stopIntake()
	var in sync.WaitGroup
	start(&in, inctx, l.intake.run)
	start(&rest, parts, l.up.Run)
	start(&rest, parts, func(ctx context.Context) error { return a.chores(ctx, l) })
	for _, spec := range a.opts.Sources {
		start(&sources, run, func(ctx context.Context) error { return a.source(ctx, l, spec, resume) })
	}
	<-run.Done()
	sources.Wait()
	stopIntake()
	in.Wait()
	stop()
	rest.Wait()
	if err := context.Cause(run); ctx.Err() == nil {
		return err
	}
	return nil
}

// positions are where the sources stand by this log, if it says.
func (a *Agent) positions(l *life) (resume [event.Lanes][]event.Position, known bool) {
	l.journal.View(func(c journal.Core) {
		known = c.(*core).resumed
		for i := range resume {
			resume[i] = c.(*core).lanes[i].sorted()
		}
	})
	return resume, known
}

// source runs one source. What can be read again waits, under a new WAL id,
// for the root's word where to start.
func (a *Agent) source(ctx context.Context, l *life, spec input.Spec, resume [event.Lanes][]event.Position) error {
	if spec.Type == input.TypeTail {
		select {
		case <-l.resumed:
			resume, _ = a.positions(l)
		case <-ctx.Done():
			return nil
		}
	}
	s, err := input.New(input.Options{Spec: spec, Sink: l.intake, Clock: a.clock.Mono, Wall: func() time.Time { return time.Unix(0, a.opts.Wall()) },
		Logger: a.log, Registerer: a.count.sources(), Resume: resume})
	if err != nil {
		return err
	}
	a.mu.Lock()
	l.sources = append(l.sources, s)
	a.mu.Unlock()
	return s.Run(ctx)
}

// chores: heartbeats, settled notices and clock estimates into the log, and
// the agent's status up the tree.
func (a *Agent) chores(ctx context.Context, l *life) error {
	beat := time.NewTicker(a.opts.Heartbeat)
	defer beat.Stop()
	slow := time.NewTicker(time.Second)
	defer slow.Stop()
	var lastClock time.Time
	for {
		select {
		case <-ctx.Done():
			return l.link.recordSettled()
		case <-beat.C:
			l.intake.beat(a.statuses())
			if err := l.link.recordSettled(); err != nil {
				return err
			}
		case <-slow.C:
			a.reckon(l)
			l.link.sendStatus(ctx)
			if m, ok := a.clock.Mapping(); ok && time.Since(lastClock) >= clockEvery {
				lastClock = time.Now()
				if err := recordClock(l.journal, m); err != nil {
					return err
				}
			}
		}
	}
}

// clockEvery is how often the estimate of root time is put into the log: it
// serves events that are sent only after the machine was booted again.
const clockEvery = 5 * time.Second

func recordClock(j *journal.Journal, m clock.Mapping) error {
	w := pack.NewWriter()
	wire.AppendMapping(w, m)
	return ignoreFull(j.Append(recClock, w.Bytes(), false))
}

// ignoreFull passes over a full disk: the record is one that is said again.
func ignoreFull(_ wal.Seq, err error) error {
	if errors.Is(err, wal.ErrFull) {
		return nil
	}
	return err
}

// statuses are the sources' own words, in the order of their names.
func (a *Agent) statuses() []input.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.life == nil {
		return nil
	}
	list := make([]input.Status, 0, len(a.life.sources))
	for _, s := range a.life.sources {
		list = append(list, s.Status())
	}
	return list
}

func (a *Agent) setFull(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && a.full == nil {
		a.log.Error("the log is full: sources wait until there is room", "error", err, "hint", "free space in "+a.opts.Dir+", or raise max_bytes")
	}
	a.full = err
}

// appended is told of every batch that went into the log.
func (a *Agent) appended(b *event.Batch, at wal.Seq) {
	a.mu.Lock()
	l := a.life
	a.mu.Unlock()
	if l != nil {
		l.link.onAppend(b.Unit.Lane, b.Last(), at)
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Kind == event.Heartbeat {
			continue
		}
		a.count.events.Inc()
		if a.tap.Watched() {
			m, _ := a.clock.Mapping()
			_, point := e.Time(m)
			a.tap.Publish(tap.Event(a.name, b.Unit, e, point))
		}
	}
}
