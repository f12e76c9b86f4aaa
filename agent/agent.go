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
	"pando/tree/journal"
	"pando/tree/rootclock"
	"pando/tree/tap"
	"pando/tree/uplink"
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

	templates *templates // of all sources

	tuning sync.Mutex // held while options come into force; taken before mu

	mu      sync.Mutex
	life    *life // the present log's
	full    error // why nothing can be appended
	tuned   tuned
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
	sources *sources
	retimed chan struct{} // capacity 1: the pause between heartbeats changed
}

// New checks the options and prepares the folder; it starts nothing.
func New(o Options) (*Agent, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &Agent{opts: o, name: o.Credentials.Identity().Node(), count: newMetrics(o.Registerer), tuned: tunedBy(&o)}
	a.log = o.Logger.With("node", a.name)
	a.templates = newTemplates(o.FS, o.Dir, a.log)
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
	l := &life{resumed: make(chan struct{}), retimed: make(chan struct{}, 1)}
	rec, err := a.open(ctx, l)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if l.journal == nil {
		return nil
	}
	defer func() { err = errors.Join(err, l.journal.Close()) }()
	if rec.CutBytes > 0 {
		a.log.Warn("a torn tail of the log was cut", "bytes", rec.CutBytes, "kept_in", rec.BrokenCopy)
	}
	if err := a.begin(ctx, l.journal); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("agent: %w", err)
	}
	var epoch uint64
	l.journal.View(func(c journal.Core) { epoch = c.(*Core).epoch })
	l.intake = newIntake(a, l.journal)
	l.link = newLink(a, l)
	if err := a.connect(l, epoch); err != nil {
		return err
	}
	err = a.work(ctx, l)
	if errors.Is(err, errNewWAL) {
		if lost := a.bequeath(l.journal); lost != nil {
			return lost // the log stays in place: the next start finds it closed again
		}
	}
	return err
}

// openGrace is how long a stop waits for a log that is being opened. That may
// take as long as the log is long; it changes nothing that a crash could hurt.
const openGrace = time.Second

// open opens the life's log. If the agent is told to stop meanwhile, and the
// log is not open soon, it leaves the log to be closed when it is.
func (a *Agent) open(ctx context.Context, l *life) (wal.Recovery, error) {
	type opened struct {
		j   *journal.Journal
		rec wal.Recovery
		err error
	}
	done := make(chan opened, 1)
	go func() {
		var o opened
		o.j, o.rec, o.err = journal.Open(journal.Options{
			WAL: a.walOptions(), Logger: a.log, Rank: Rank,
			Core: func(id uint64, _ journal.Fetch) (journal.Core, error) { return NewCore(a.name, id), nil },
			Deliver: func([]journal.Output) { // batches go out by the link's own readers
				l.intake.onSync(l.journal.Log().Synced())
				l.link.onSync(l.journal.Log().Synced())
			},
		})
		done <- o
	}()
	var o opened
	select {
	case o = <-done:
	case <-ctx.Done():
		select {
		case o = <-done:
		case <-time.After(openGrace):
			a.log.Info("stopping while the log is being opened")
			go func() {
				if o := <-done; o.err == nil {
					_ = o.j.Close() // nothing was appended; it is opened again
				}
			}()
			return wal.Recovery{}, nil
		}
	}
	l.journal = o.j
	return o.rec, o.err
}

// begin notes the start in the log, and in a new one what the log before it
// left behind.
func (a *Agent) begin(ctx context.Context, j *journal.Journal) error {
	if err := a.inherit(ctx, j); err != nil {
		return err
	}
	_, err := appendRecord(j, StartRecord())
	return err
}

func (a *Agent) connect(l *life, epoch uint64) error {
	topts := transportOptions(&a.opts)
	a.clock.Wire(&topts)
	id := a.opts.Credentials.Identity()
	var err error
	l.up, err = uplink.New(uplink.Options{
		Self: id, Seeds: a.settings().relays, Transport: topts, Epoch: epoch, Standby: true,
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
	if _, resumed := a.positions(l); resumed {
		close(l.resumed)
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.link.onNewWAL = func() { cancel(errNewWAL) }
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	start := func(wg *sync.WaitGroup, ctx context.Context, part func(context.Context) error) {
		wg.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	var in, rest sync.WaitGroup
	start(&rest, parts, l.journal.Run)
	inctx, stopIntake := context.WithCancel(parts)
	defer stopIntake()
	start(&in, inctx, l.intake.run)
	start(&rest, parts, l.up.Run)
	start(&rest, parts, a.templates.run)
	l.sources = &sources{a: a, l: l, ctx: run, fail: func(err error) { cancel(err) }}
	a.enter(l)
	defer a.leave()
	start(&rest, parts, func(ctx context.Context) error { return a.chores(ctx, l) })
	<-run.Done()
	l.sources.wait()
	stopIntake()
	in.Wait()
	stop()
	rest.Wait()
	if err := context.Cause(run); ctx.Err() == nil {
		return err
	}
	return nil
}

// enter makes a life the present one, with the settings now in force, and
// starts its sources. What was set while the log was opened counts.
func (a *Agent) enter(l *life) {
	a.tuning.Lock()
	defer a.tuning.Unlock()
	a.mu.Lock()
	a.life, a.lastWAL = l, event.WALID(l.journal.Log().ID())
	t := a.tuned
	a.mu.Unlock()
	l.up.SetSeeds(t.relays)
	l.intake.tune(t.pending, t.whenFull)
	l.sources.set(t.sources)
}

func (a *Agent) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life = nil
}

// positions are where the sources stand by this log, if it says.
func (a *Agent) positions(l *life) (resume [event.Lanes][]event.Position, known bool) {
	l.journal.View(func(c journal.Core) {
		known = c.(*Core).resumed
		for i := range resume {
			resume[i] = c.(*Core).lanes[i].sorted()
		}
	})
	return resume, known
}

// chores: heartbeats, settled notices and clock estimates into the log, and
// the agent's status up the tree.
func (a *Agent) chores(ctx context.Context, l *life) error {
	beat := time.NewTicker(a.settings().heartbeat)
	defer beat.Stop()
	slow := time.NewTicker(time.Second)
	defer slow.Stop()
	var lastClock time.Time
	for {
		select {
		case <-ctx.Done():
			return l.link.recordSettled()
		case <-l.retimed:
			beat.Reset(a.settings().heartbeat)
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
	return ignoreFull(appendRecord(j, ClockRecord(m)))
}

func appendRecord(j *journal.Journal, r Record) (wal.Seq, error) {
	return j.Append(r.Kind, r.Body, r.Urgent)
}

// ignoreFull passes over a full disk: the record is one that is said again.
func ignoreFull(_ wal.Seq, err error) error {
	if errors.Is(err, wal.ErrFull) {
		return nil
	}
	return err
}

// statuses are the sources' own words.
func (a *Agent) statuses() []input.Status {
	a.mu.Lock()
	l := a.life
	a.mu.Unlock()
	if l == nil {
		return nil
	}
	return l.sources.statuses()
}

func (a *Agent) setFull(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && a.full == nil {
		a.log.Error("the log is full", "error", err, "critical", string(a.tuned.whenFull[event.Critical]), "bulk", string(a.tuned.whenFull[event.Bulk]),
			"hint", "free space in "+a.opts.Dir+", or raise max_bytes")
	}
	a.full = err
}

// fullError is why nothing can be appended, or nil.
func (a *Agent) fullError() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.full
}

// appended is told of every batch that went into the log.
func (a *Agent) appended(b *event.Batch, at wal.Seq) {
	a.mu.Lock()
	l := a.life
	a.mu.Unlock()
	if l != nil {
		l.link.onAppend(b.Unit.Lane, b.Last(), at)
	}
	read, watched := 0, a.tap.Watched()
	for i := range b.Events {
		e := &b.Events[i]
		if e.Kind == event.Heartbeat {
			continue
		}
		if e.Kind != event.Loss {
			read++
		}
		if watched {
			m, _ := a.clock.Mapping()
			_, point := e.Time(m)
			a.tap.Publish(tap.Event(a.name, b.Unit, e, point))
		}
	}
	a.count.events.Add(float64(read))
}
