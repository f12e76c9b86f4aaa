//go:build !zos

// Package root is the top of the tree: a small group of nodes that replicate
// one state by Raft. It decides who may settle a unit, counts each event once,
// and puts findings into incidents.
//
//	relays ─ sessions ─► requests ─► Propose ─► Raft log ─► FSM on every root
//	                        │ not the leader                    │
//	                        └── link to the leader ◄────────────┘ answers,
//	                                                 announcements, API, tap
//
// What it gives: an answer to a claim or a digest says what a quorum has
// committed. Requests are repeated until then, since the state machine gives
// the same answer, and counts nothing twice, when it sees one again. Without a
// quorum nothing is answered.
//
// What it assumes: a relay is who its certificate says, speaks for relays of
// regions below its own and for no others, and for units only as their owner;
// the other roots are trusted as members of the group.
//
// A relay may send its requests on any lane and as control messages; answers
// come as control messages. Answers to one kind of request keep the order of
// the requests: claims and asks are one kind, digests and findings one each.
// A follower redirects relays to the leader, and passes on what it gets in
// the meantime.
package root

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pando/root/consensus"
	"pando/transport"
	"pando/tree/rootclock"
	"pando/tree/tap"
)

// raftProtocol keeps connections for Raft and sessions apart.
const raftProtocol = "pando-raft/1"

// Root is one member of the group. Create it with [New], then call Run once;
// its methods are safe for concurrent use.
type Root struct {
	opts     Options
	self     transport.Identity
	name     string
	log      *slog.Logger
	time     *rootTime
	clock    *rootclock.Clock
	fsm      *FSM
	node     *consensus.Node
	listener *transport.Listener
	topts    transport.Options
	link     *link
	tap      tap.Hub
	count    *metrics
	watch    *observer
	started  time.Time

	tickEvery atomic.Int64 // nanoseconds
	leading   atomic.Bool
	leads     atomic.Pointer[time.Time] // since when this root leads, or last led
	requestID atomic.Uint64
	live      atomic.Uint64 // entries above this index are news here, not a replay
	stopping  atomic.Bool
	booked    atomic.Pointer[[]Server] // the address book; its list is never changed
	removed   chan error               // capacity 1: this root is no member any more, or its state is in dispute
	changing  chan struct{}            // capacity 1: held while members or the state are changed

	mu         sync.Mutex
	configured []Server
	children   map[*child]struct{}
	statuses   map[string]heard // by node
	words      map[string]words // of agents
	pulses     map[string]pulse // by root; at most maxMembers
	news       chan struct{}    // closed when the directory or the patterns may have changed
	serversC   chan struct{}    // capacity 1: servers were set
}

// New opens the folder and both listeners, so that their addresses are known.
// Nothing is answered before [Root.Run].
func New(o Options) (_ *Root, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("root options: %w", err)
	}
	r := &Root{
		opts: o, self: o.Credentials.Identity(), time: &rootTime{wall: o.Wall}, started: time.Now(),
		configured: slices.Clone(o.Servers), children: map[*child]struct{}{}, statuses: map[string]heard{}, words: map[string]words{}, pulses: map[string]pulse{},
		news: make(chan struct{}), serversC: make(chan struct{}, 1), removed: make(chan error, 1), changing: make(chan struct{}, 1),
	}
	r.name = r.self.Node()
	r.log = o.Logger.With("node", r.name)
	r.live.Store(math.MaxUint64)
	r.tickEvery.Store(int64(o.TickEvery))
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	r.clock, err = rootclock.New(rootclock.Options{Dir: o.Dir, FS: o.FS, Wall: r.time.Now, Root: r.time.Root, Logger: r.log})
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	r.time.use(r.clock)
	if r.fsm, err = newFSM(o.knownLogics()); err != nil {
		return nil, err
	}
	r.count = newMetrics(o.Registerer, r)
	r.watch = newObserver(r)
	r.fsm.hooks = r.watch.hooks()
	r.topts = transport.DefaultOptions()
	r.topts.Credentials, r.topts.Network, r.topts.Logger, r.topts.Registerer = o.Credentials, o.Network, r.log, o.Registerer
	r.clock.Wire(&r.topts)
	if r.link, err = newLink(r); err != nil {
		return nil, err
	}
	if r.node, err = consensus.New(r.raftOptions()); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	lopts := r.topts
	lopts.Answer, lopts.Sample = r.answer, nil
	if r.listener, err = transport.Listen(o.Listen, lopts); err != nil {
		return nil, errors.Join(fmt.Errorf("root: %w", err), r.node.Close())
	}
	return r, nil
}

// Reconfigure puts a new pause between ticks into force while the root runs.
// The other options are those of [New] for good, and are not looked at.
func (r *Root) Reconfigure(o Options) error {
	next := r.opts
	next.TickEvery = o.TickEvery
	if err := next.Validate(); err != nil {
		return fmt.Errorf("root options: %w", err)
	}
	r.tickEvery.Store(int64(o.TickEvery))
	return nil
}

// raftDir is where a root's folder holds Raft's part.
func raftDir(dir string) string { return filepath.Join(dir, "raft") }

func (r *Root) raftOptions() consensus.Options {
	c := r.opts.Raft
	c.ID, c.Dir, c.FS, c.FSM = r.name, raftDir(r.opts.Dir), r.opts.FS, r.fsm
	c.Logger, c.Registerer = r.log, r.opts.Registerer
	c.TLSServer = rootsOnly(r.opts.Credentials.ServerConfig(raftProtocol))
	c.TLSClient = rootsOnly(r.opts.Credentials.ClientConfig(raftProtocol))
	c.Addresses, c.Verify = r.raftAddresses, isMember
	if c.BootstrapExpect > 0 {
		c.Servers = members(r.opts.Servers)
	}
	return c
}

// Name is the root's node name.
func (r *Root) Name() string { return r.name }

// Addr is the transport address in use, RaftAddr Raft's.
func (r *Root) Addr() string     { return r.listener.Addr().String() }
func (r *Root) RaftAddr() string { return r.node.Addr() }

// Leading reports whether this root leads and has applied everything that was
// committed before.
func (r *Root) Leading() bool { return r.leading.Load() }

// Leader names the leader as far as this root knows; empty if there is none.
func (r *Root) Leader() string {
	id, _, _ := r.node.Leader()
	return id
}

// Tap is this root's live stream of settled sections and findings.
func (r *Root) Tap() *tap.Hub { return &r.tap }

// Close releases what New took when Run is never called.
func (r *Root) Close() error { return errors.Join(r.node.Close(), r.listener.Close()) }

// Run serves until ctx is done, which is a graceful stop: leadership is handed
// over, and children are told. It returns an error when Raft failed; the
// process must exit then.
func (r *Root) Run(ctx context.Context) error {
	nodeCtx, stopNode := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNode()
	ended := make(chan error, 1)
	go func() { ended <- r.node.Run(nodeCtx) }()

	parts, stopParts := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopParts(nil)
	var wg sync.WaitGroup
	for _, part := range []func(context.Context){r.begin, r.accept, r.link.run, r.lead, r.rehome, r.vote, r.settleDispute, r.report, r.grants, r.beat, r.stand} {
		wg.Go(func() { part(parts) })
	}
	r.log.Info("root runs", "address", r.Addr(), "raft", r.RaftAddr())
	var err error
	select {
	case err = <-ended:
	case err = <-r.removed:
		r.stopping.Store(true)
		stopNode()
		err = errors.Join(err, <-ended)
	case <-ctx.Done():
		r.stopping.Store(true)
		r.lastMark(parts)
		stopNode()
		err = <-ended
	}
	r.leading.Store(false)
	reason := errors.New("the root stops")
	if err != nil {
		r.log.Error("root failed", "error", err)
		reason = errors.New("the root failed")
	}
	stopParts(reason)
	ends := make(chan error, 1)
	go func() {
		closed := r.listener.Close()
		wg.Wait()
		ends <- closed
	}()
	if err == nil {
		return <-ends
	}
	// Sessions stamp what they send with a clock whose bound is on the same
	// disk as Raft's log: if that hangs they never end, and the process must.
	select {
	case <-ends:
	case <-time.After(failedLinger):
		r.log.Warn("root ends without waiting longer for its sessions", "limit", failedLinger)
	}
	return fmt.Errorf("root: %w", err)
}

// failedLinger is how long a root that failed waits for its parts, so that
// children may hear the reason.
const failedLinger = time.Second

// bootstrapPause is how often an unfinished start is looked at again.
const bootstrapPause = 10 * time.Millisecond

// begin notes from which entry on things are news, and starts the group when
// its members are known.
func (r *Root) begin(ctx context.Context) {
	for r.node.Stats().State == "Stopped" {
		if !pause(ctx, bootstrapPause) {
			return
		}
	}
	r.live.Store(r.node.Stats().LastIndex)
	if r.opts.Raft.BootstrapExpect == 0 && r.node.Stats().LastIndex == 0 {
		r.log.Info("this root waits to be added to a group: pando root add", "name", r.name, "raft", r.RaftAddr())
	}
	for {
		servers := members(r.Configured())
		if len(servers) == 0 && r.opts.Raft.BootstrapExpect == 1 {
			servers = []consensus.Server{{ID: r.name, Addr: r.RaftAddr()}}
		}
		if len(servers) > 0 && len(servers) == r.opts.Raft.BootstrapExpect {
			if err := r.node.Bootstrap(servers); err != nil && ctx.Err() == nil {
				r.log.Error("the group was not started", "error", err)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.serversC:
		}
	}
}

// accept serves every child that comes.
func (r *Root) accept(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		s, err := r.listener.Accept(ctx)
		if err != nil {
			return
		}
		wg.Go(func() { r.serve(ctx, s) })
	}
}

// pause waits and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
