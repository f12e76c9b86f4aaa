//go:build !zos

package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// notifyBuffer holds leadership changes until they are read. Raft waits
	// when it is full; three changes while one barrier is awaited would take
	// three elections.
	notifyBuffer = 8
	// maxPool is the idle connections kept to each member: one for
	// heartbeats, one for entries, one for votes.
	maxPool = 3
	// failedStop is how long a member that failed waits for Raft to stop.
	// What hangs in the disk does not end, and the process is not missed.
	failedStop = time.Second
)

// Node is one member of the group. New, then Run once. Every method but Run
// is safe for concurrent use.
//
//	Propose ─► queue ─► pack ─► raft.Apply ─► log store (watched) ─► quorum
//	   ▲                          │                                   │
//	   └──────── settle ◄─────────┴──────── fsm.ApplyBatch ◄──────────┘
type Node struct {
	opts    Options
	log     *slog.Logger
	hclog   hclog.Logger
	metrics *metrics
	stores  *stores
	stream  *stream
	fsm     *applier
	config  *raft.Config
	notify  chan bool

	raft atomic.Pointer[raft.Raft] // nil until Run started it

	queue      chan *proposal
	queueBytes atomic.Int64  // of commands in queue
	inflight   chan *batch   // submitted entries in log order
	reads      chan *read    // callers of Linearizable
	leadership chan bool     // newest state, capacity 1
	readyTerm  atomic.Uint64 // term in which this node leads and has applied all that was committed before it; 0 for none
	started    atomic.Bool
	closing    chan struct{} // closed when Run begins to stop: nothing more is taken
	dead       chan struct{} // closed when Raft has stopped, or was given up
	packed     chan struct{} // closed when nothing is submitted any more

	fatalOnce sync.Once
	fatal     chan struct{} // closed after fatalErr is set
	fatalErr  error
}

// New opens the member's folder and listener, and bootstraps the group if the
// folder is empty and the options name all of its first members. It fails on
// a folder that another process holds, that is damaged, or that belongs to
// another format.
func New(opts Options) (_ *Node, err error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("consensus options: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		opts:       opts,
		log:        opts.Logger,
		hclog:      newHCLog(opts.Logger),
		notify:     make(chan bool, notifyBuffer),
		queue:      make(chan *proposal, opts.MaxWaiting),
		inflight:   make(chan *batch, maxInflight),
		reads:      make(chan *read, maxReads),
		leadership: make(chan bool, 1),
		closing:    make(chan struct{}),
		dead:       make(chan struct{}),
		packed:     make(chan struct{}),
		fatal:      make(chan struct{}),
	}
	n.fsm = newApplier(opts.FSM, n.fail)
	n.fsm.restored = n.newestSnapshot
	n.metrics = newMetrics(opts.Registerer, n)
	n.config = n.raftConfig()
	if err := raft.ValidateConfig(n.config); err != nil {
		return nil, fmt.Errorf("consensus options: %w", err)
	}
	if n.stores, err = openStores(opts, n.hclog, n.metrics, n.fail); err != nil {
		return nil, fmt.Errorf("open raft stores in %s: %w", opts.Dir, err)
	}
	defer func() {
		if err != nil {
			_ = n.stores.close()
			if n.stream != nil {
				_ = n.stream.Close()
			}
		}
	}()
	if n.stream, err = newStream(opts); err != nil {
		return nil, fmt.Errorf("listen for raft on %s: %w", opts.Bind, err)
	}
	if opts.Addresses != nil {
		n.stream.whereIs = n.whereIs
	}
	if err := n.bootstrapNew(); err != nil {
		return nil, fmt.Errorf("bootstrap in %s: %w", filepath.Clean(opts.Dir), err)
	}
	return n, nil
}

func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.opts.ID)
	c.HeartbeatTimeout = n.opts.HeartbeatTimeout
	c.ElectionTimeout = n.opts.ElectionTimeout
	c.LeaderLeaseTimeout = n.opts.LeaseTimeout
	c.CommitTimeout = n.opts.CommitTimeout
	c.MaxAppendEntries = n.opts.MaxAppendEntries
	c.BatchApplyCh = true
	c.SnapshotThreshold = n.opts.SnapshotThreshold
	c.SnapshotInterval = n.opts.SnapshotInterval
	c.TrailingLogs = n.opts.TrailingLogs
	c.NoLegacyTelemetry = true
	c.NotifyCh = n.notify
	c.Logger = n.hclog
	return c
}

// Run starts the member and blocks until ctx ends or the member fails. When
// ctx ends it finishes what is in flight, hands leadership over and returns
// nil. Otherwise the error wraps [ErrFatal] and the process must exit: parts
// that hang in the disk may be left behind. It can be called once.
func (n *Node) Run(ctx context.Context) error {
	if !n.started.CompareAndSwap(false, true) {
		return fmt.Errorf("run: %w", ErrStopped)
	}
	r, err := n.start()
	if err != nil {
		close(n.closing)
		close(n.dead)
		return errors.Join(err, n.failure(), n.stream.Close(), n.stores.close())
	}
	var packer, reads, rest sync.WaitGroup
	packer.Go(n.pack)
	reads.Go(n.serveReads)
	rest.Go(n.settle)
	rest.Go(n.lead)

	select {
	case <-ctx.Done():
	case <-n.fatal:
	}
	close(n.closing)
	graceful := n.failure() == nil
	if graceful {
		// Unblocked by Raft's answers; a lost quorum makes the leader step
		// down within the lease and answer everything.
		n.waitUntil("commands in flight", func() { packer.Wait(); n.drained() })
		n.handOver(r)
	}
	// Heartbeats must stop even if Raft's main goroutine hangs in the disk, or
	// this node goes on leading without being able to commit; and Raft does not
	// end while it waits for a member that cannot be reached.
	closed := n.stream.Close()
	if graceful {
		// Raft leaves unanswered what it is asked on its way down. Alone, it
		// steps down within the lease, and answers.
		n.waitUntil("reads under way", reads.Wait)
	}
	limit := n.opts.StopTimeout
	if !graceful {
		limit = min(limit, failedStop)
	}
	stopped := n.waitFor("raft to stop", limit, func() { _ = r.Shutdown().Error() })
	close(n.dead)
	packer.Wait()
	close(n.packed)
	reads.Wait()
	rest.Wait()
	if !stopped {
		return errors.Join(n.failure(), fmt.Errorf("stop: raft did not end within %s: %w", limit, ErrFatal))
	}
	return errors.Join(n.failure(), closed, n.stores.close())
}

// start restores the state and starts Raft. hashicorp/raft panics when its
// log does not reach back to the snapshot that it could read, so a panic
// becomes an error that says so.
func (n *Node) start() (r *raft.Raft, err error) {
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: n.addressProvider(),
		Logger:                n.hclog,
		Stream:                n.stream,
		MaxPool:               maxPool,
		// Pipelining can deadlock (grafana/pyroscope#5518) and brought
		// nothing in measurements.
		MaxRPCsInFlight: 1,
		Timeout:         n.opts.RPCTimeout,
	})
	defer func() {
		if p := recover(); p != nil {
			_ = trans.Close()
			r, err = nil, fmt.Errorf("start raft: log and snapshots in %s do not fit together (%v); restore the folder from a copy, or give this member a new id and an empty folder: %w", n.opts.Dir, p, ErrFatal)
		}
	}()
	r, err = raft.NewRaft(n.config, n.fsm, n.stores.logs, n.stores.stable, n.stores.snapshots, trans)
	if err != nil {
		_ = trans.Close()
		return nil, fmt.Errorf("start raft in %s: %w: %w", n.opts.Dir, ErrFatal, err)
	}
	n.raft.Store(r)
	n.noteIfServersDiffer(r)
	return r, nil
}

// newestSnapshot returns the configuration that stands in the newest snapshot.
func (n *Node) newestSnapshot() (uint64, raft.Configuration) {
	list, err := n.stores.snapshots.List()
	if err != nil || len(list) == 0 {
		return 0, raft.Configuration{}
	}
	return list[0].ConfigurationIndex, list[0].Configuration
}

// Close releases what New took when Run is never called; Run does so itself.
func (n *Node) Close() error {
	if !n.started.CompareAndSwap(false, true) {
		return nil
	}
	close(n.closing)
	close(n.dead)
	return errors.Join(n.stream.Close(), n.stores.close())
}

// fail makes Run return err, once. It may be called from any goroutine.
func (n *Node) fail(err error) {
	n.fatalOnce.Do(func() {
		n.fatalErr = fmt.Errorf("%w: %w", ErrFatal, err)
		close(n.fatal)
	})
}

// failure returns the fatal error, or nil.
func (n *Node) failure() error {
	select {
	case <-n.fatal:
		return n.fatalErr
	default:
		return nil
	}
}

// waitUntil runs f and waits for its end, at most StopTimeout.
func (n *Node) waitUntil(what string, f func()) bool {
	return n.waitFor(what, n.opts.StopTimeout, f)
}

func (n *Node) waitFor(what string, limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		n.log.Warn("raft member stops without waiting longer", "for", what, "limit", limit)
		return false
	}
}

// await waits for a future of Raft. Raft leaves futures unanswered that were
// on their way between its goroutines when it was shut down; those are given
// up when the node is dead.
func (n *Node) await(f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-n.dead:
		select {
		case err := <-done:
			return err
		default:
			return raft.ErrRaftShutdown
		}
	}
}

// handOver gives leadership to a follower that is up to date, so that the
// group need not wait for an election timeout.
func (n *Node) handOver(r *raft.Raft) {
	if r.State() != raft.Leader || len(r.GetConfiguration().Configuration().Servers) < 2 {
		return
	}
	n.waitUntil("leadership transfer", func() {
		if err := n.await(r.LeadershipTransfer()); err != nil {
			n.log.Warn("leadership was not handed over", "error", err)
		}
	})
}
