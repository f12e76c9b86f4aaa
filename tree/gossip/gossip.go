//go:build !zos

// Package gossip tells relays and roots of each other: one encrypted
// memberlist pool for each region, and one for the core. What it yields are
// candidates. It sees a death only after seconds, and whoever holds a key may
// claim anything, so liveness comes from sessions and authority from
// certificates.
//
// The protocol is SWIM with Lifeguard's refinements (A. Das et al., "SWIM",
// DSN 2002; A. Dadgar et al., "Lifeguard", 2017), as hashicorp/memberlist
// implements it. This package adds what the library leaves out: it never
// heals a partition by itself, so a loop rejoins seeds and lost members; the
// last members are kept in a file, so that a restart needs no living seed;
// streams are bounded in number and size; what is refused is counted.
//
// It assumes a small pool (tens of members, 512 at the most) and keys that
// are handed out by other means. Agents do not gossip.
package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"pando/internal/durable"
	"pando/tree/placement"
)

// ErrClosed reports that the pool has been closed.
var ErrClosed = errors.New("gossip pool is closed")

// Timings of the pool's own work.
const (
	leaveTimeout = 2 * time.Second        // for the farewell to reach somebody
	saveDelay    = time.Second            // gathers a burst of joins into one write
	saveRetry    = 30 * time.Second       // after a failed write
	aloneBase    = 200 * time.Millisecond // first pause while no peer is known to live
)

// Pool is this node's membership in one gossip pool. It answers others from
// [New] on, and looks for them while [Pool.Run] runs. All methods are safe
// for concurrent use.
type Pool struct {
	opts    Options
	logger  *slog.Logger
	adapter *logAdapter
	metrics *metrics
	roster  *roster
	ring    *memberlist.Keyring
	list    *memberlist.Memberlist
	addr    string // ip:port that others use

	running atomic.Bool
	closed  chan struct{} // closed with list

	// life orders what must not overlap: changes of meta and keys, the
	// farewell and the end. isClosed tells that closed is closed.
	life     sync.Mutex
	isClosed bool

	// Run's own.
	seeds  int // where in the seeds the next round begins
	losses int // where in the lost members the next round begins
	alone  *placement.Backoff
	saved  []byte // what the state file holds
}

// New listens and becomes a pool of one member. It lets go of everything if
// it fails. A state file that cannot be read is reported in the log and
// ignored: it only holds hints.
func New(opts Options) (*Pool, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("open gossip pool: %w", err)
	}
	p, err := open(opts)
	if err != nil {
		return nil, fmt.Errorf("open gossip pool %q: %w", opts.Pool, err)
	}
	return p, nil
}

func open(opts Options) (_ *Pool, err error) {
	p := &Pool{opts: opts, logger: opts.Logger, closed: make(chan struct{})}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	p.logger = p.logger.With("pool", opts.Pool)
	meta, err := opts.Meta.encode()
	if err != nil {
		return nil, err
	}
	if p.ring, err = newRing(opts.Keys); err != nil {
		return nil, err
	}
	p.alone, err = placement.NewBackoff(placement.BackoffOptions{Base: aloneBase, Cap: opts.RejoinEvery, Rand: rand.Int64N})
	if err != nil {
		return nil, err
	}
	if p.metrics, err = newMetrics(opts.Registerer, opts.Pool); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.metrics.close()
		}
	}()
	refusals := newRefusals(p.metrics.refused, p.logger)
	p.adapter = &logAdapter{logger: p.logger, refusals: refusals}
	p.roster = newRoster(opts.Node, meta, p.lastPeers(), p.logger, refusals, p.metrics)

	return p, p.create(refusals)
}

// create opens the sockets and starts memberlist on them.
func (p *Pool) create(refusals *refusals) error {
	config := p.opts.library()
	config.Logger = log.New(p.adapter, "", 0)
	config.Keyring = p.ring
	config.Delegate = p.roster
	config.Events = p.roster
	config.Alive = p.roster
	config.Conflict = p.roster

	transport := p.opts.transport
	if transport == nil {
		bind := netip.MustParseAddrPort(p.opts.Bind) // validated
		sockets, err := listen(bind, config.Logger)
		if err != nil {
			return err
		}
		transport = sockets
		config.BindAddr = bind.Addr().String()
		config.BindPort = sockets.GetAutoBindPort()
		config.AdvertisePort = config.BindPort
	}
	if p.opts.Advertise != "" {
		advertise := netip.MustParseAddrPort(p.opts.Advertise) // validated
		config.AdvertiseAddr = advertise.Addr().String()
		if advertise.Port() != 0 {
			config.AdvertisePort = int(advertise.Port())
		}
	}
	guard := newGuard(transport, p.opts.Networks, refusals)
	config.Transport = guard
	list, err := memberlist.Create(config)
	if err != nil {
		return errors.Join(err, guard.Shutdown())
	}
	p.list = list
	p.addr = list.LocalNode().Address()
	return nil
}

// Addr is the ip:port at which others reach this node; it may be their seed.
func (p *Pool) Addr() string { return p.addr }

// Members returns the members believed alive, sorted by name; this node is
// one of them.
func (p *Pool) Members() []Member { return p.roster.snapshot() }

// Changes yields a signal after [Pool.Members] has changed. Signals that
// nobody has taken yet are merged, so it has one reader.
func (p *Pool) Changes() <-chan struct{} { return p.roster.changed }

// UpdateMeta changes what this node tells of itself and does not wait for the
// others to hear it. Each change goes to the whole pool: it is meant for
// states, not for measurements. It returns an error that wraps [ErrMeta] or
// [ErrClosed].
func (p *Pool) UpdateMeta(m Meta) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	p.life.Lock()
	defer p.life.Unlock()
	if p.isClosed {
		return fmt.Errorf("update meta: %w", ErrClosed)
	}
	if bytes.Equal(b, p.roster.NodeMeta(maxMeta)) {
		return nil
	}
	p.roster.setMeta(b)
	// Its only error says that the wait, the least there is, was too short.
	// The message remains queued, and each exchange of states carries it.
	_ = p.list.UpdateNode(time.Nanosecond)
	return nil
}

// SetKeys replaces the keys while the pool runs; the first encrypts, all
// decrypt. A rotation takes three steps, each done on all nodes before the
// next: (old, new), (new, old), (new). It returns an error that wraps
// [ErrKeys] or [ErrClosed].
func (p *Pool) SetKeys(keys [][]byte) error {
	p.life.Lock()
	defer p.life.Unlock()
	if p.isClosed {
		return fmt.Errorf("set gossip keys: %w", ErrClosed)
	}
	if err := setRing(p.ring, keys); err != nil {
		return fmt.Errorf("set gossip keys: %w", err)
	}
	return nil
}

// Keys are those in force, the first of which encrypts.
func (p *Pool) Keys() [][]byte { return cloneKeys(p.ring.GetKeys()) }

// Run seeks other members until ctx is done, then says goodbye and closes the
// pool; that is no error. If [Pool.Close] ends it, the error wraps
// [ErrClosed]. It may be called once.
func (p *Pool) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return errors.New("run gossip pool: it has been run before")
	}
	rejoin := time.NewTimer(0)
	defer rejoin.Stop()
	var save <-chan time.Time // nil while the state file is up to date
	for {
		select {
		case <-ctx.Done():
			p.save()
			p.leave()
			return p.Close()
		case <-p.closed:
			return fmt.Errorf("run gossip pool: %w", ErrClosed)
		case <-p.roster.unsaved:
			if save == nil {
				save = time.After(saveDelay)
			}
		case <-save:
			save = nil
			if !p.save() {
				save = time.After(saveRetry)
			}
		case <-rejoin.C:
			p.rejoin(ctx)
			rejoin.Reset(p.pause())
		}
	}
}

// leave tells the others that this node goes, so that they need not find out.
func (p *Pool) leave() {
	p.life.Lock()
	defer p.life.Unlock()
	if p.isClosed {
		return
	}
	if err := p.list.Leave(leaveTimeout); err != nil {
		p.logger.Warn("gossip farewell was not heard", "err", err)
	}
}

// Close ends the pool at once and without a word, as a crash would; a
// graceful end is that of [Pool.Run]. It may be called repeatedly.
func (p *Pool) Close() error {
	p.life.Lock()
	defer p.life.Unlock()
	if p.isClosed {
		return nil
	}
	p.isClosed = true
	close(p.closed)
	p.adapter.closed.Store(true)
	err := p.list.Shutdown() // joins the sockets' goroutines; its own end soon after
	p.metrics.close()
	if err != nil {
		return fmt.Errorf("close gossip pool %q: %w", p.opts.Pool, err)
	}
	return nil
}

// lastPeers reads the state file.
func (p *Pool) lastPeers() []peer {
	if p.opts.StateFile == "" {
		return nil
	}
	peers, err := readState(p.opts.StateFile, p.opts.Pool)
	if err != nil {
		p.logger.Warn("gossip state file ignored", "err", err)
	}
	return peers
}

// save writes the state file if it would change, and reports success.
func (p *Pool) save() bool {
	if p.opts.StateFile == "" {
		return true
	}
	b := encodeState(p.opts.Pool, p.roster.remembered())
	if bytes.Equal(b, p.saved) {
		return true
	}
	if err := durable.WriteFile(durable.OS(), p.opts.StateFile, b); err != nil {
		p.metrics.stateFailure.Inc()
		p.logger.Warn("gossip state not saved", "err", err)
		return false
	}
	p.saved = b
	return true
}
