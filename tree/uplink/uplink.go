// Package uplink keeps a node connected to one parent of several: it chooses
// by placement, holds a warm standby session to the second choice, and when
// the parent's session dies it goes on at once on the standby. Liveness comes
// from the sessions; directories and seeds only name candidates.
//
// Who the parent is decides nothing about custody: every session starts with
// an offer and a resume point of its own (tree/custody).
package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pando/transport"
	"pando/tree/custody"
	"pando/tree/placement"
	"pando/tree/wire"
)

// Options configure an [Uplink].
type Options struct {
	Self      transport.Identity
	Seeds     []string          // transport addresses that are always candidates
	Transport transport.Options // of the sessions
	Epoch     uint64            // persisted start counter: the first half of the term
	Body      []byte            // of HELLO
	Standby   bool              // keep a warm second session, beside a parent that is a relay
	Rooted    bool              // leave a parent without a root for one that has one; see SetRooted
	Regions   []string          // whose parents are acceptable, best first; empty: all
	Logger    *slog.Logger

	// Serve uses a session until it dies or ctx is done; then it returns.
	Serve func(ctx context.Context, s *transport.Session)
}

// Uplink is safe for concurrent use.
type Uplink struct {
	opts    Options
	policy  *placement.Policy
	backoff *placement.Backoff

	mu       sync.Mutex
	seeds    []string
	term     custody.Term         // the last one given out
	nodes    []wire.Node          // the directory
	since    map[string]time.Time // node → listed, and not failed, since
	down     map[string]time.Time // address → not before, after a failure
	resting  map[string]time.Time // address → not before, as the parent there asked
	current  *transport.Session
	patterns *transport.Message // see Patterns
	changed  chan struct{}      // capacity 1

	rootless time.Time // since when the parent is known to have no root, or zero
}

const (
	// dialTimeout bounds one attempt, so that a parent that is gone is
	// passed over while its agents' events wait.
	dialTimeout = 2 * time.Second
	// penalty keeps an address that failed out of the candidates for a while.
	penalty = 2 * time.Second
	// steady is how long a session must last to count as a success.
	steady = time.Second
	// reviewEvery is how often placement is reconsidered without news.
	reviewEvery = time.Second
	// maxRedirects bounds a chain of redirects.
	maxRedirects = 4
	// maxNodes bounds the directory that is kept.
	maxNodes = 4096
)

// New checks the options.
func New(o Options) (*Uplink, error) {
	if len(o.Seeds) == 0 {
		return nil, errors.New("uplink: no seed: name at least one parent's address")
	}
	regions := o.Regions
	if len(regions) == 0 {
		regions = []string{anyRegion}
	}
	popts := placement.DefaultPolicyOptions(o.Self.Node(), regions[0])
	popts.Regions = regions
	policy, err := placement.NewPolicy(popts)
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	backoff, err := placement.NewBackoff(placement.DefaultBackoffOptions(rand.Int64N))
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	return &Uplink{opts: o, seeds: slices.Clone(o.Seeds), policy: policy, backoff: backoff, term: custody.Term{Epoch: o.Epoch}, down: map[string]time.Time{}, resting: map[string]time.Time{}, changed: make(chan struct{}, 1)}, nil
}

// anyRegion stands for every region where regions do not matter.
const anyRegion = "*"

// NextTerm raises the term: at each HELLO, and when units are opened anew.
func (u *Uplink) NextTerm() custody.Term {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.term.Session++
	return u.term
}

// RaiseTerm makes the next term higher than one that a parent knows.
func (u *Uplink) RaiseTerm(known custody.Term) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.term.Compare(known) < 0 {
		u.term = known
	}
}

// SetDirectory replaces the candidates beside the seeds.
func (u *Uplink) SetDirectory(nodes []wire.Node) {
	u.mu.Lock()
	u.nodes = slices.Clone(nodes[:min(len(nodes), maxNodes)])
	since := make(map[string]time.Time, len(u.nodes))
	for _, n := range u.nodes {
		since[n.Name] = time.Now()
		if t, known := u.since[n.Name]; known {
			since[n.Name] = t
		}
	}
	u.since = since
	u.mu.Unlock()
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

// SetSeeds replaces the addresses that are always candidates; there must be at
// least one. The present session stays.
func (u *Uplink) SetSeeds(seeds []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seeds = slices.Clone(seeds)
}

// Parent is the node of the present session, or empty.
func (u *Uplink) Parent() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current == nil {
		return ""
	}
	return u.current.Peer().Node()
}

// Patterns is what the present parent said of patterns while it stood by, or nil.
func (u *Uplink) Patterns() *transport.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.patterns
}

// Run connects and serves until ctx is done.
func (u *Uplink) Run(ctx context.Context) error {
	stand := &standby{up: u}
	defer stand.drop("stopping")
	for ctx.Err() == nil {
		s, patterns := stand.take()
		if s == nil {
			var err error
			if s, err = u.connect(ctx); err != nil {
				pause := u.rest() + u.backoff.Next()
				if errors.Is(err, errSentBack) {
					pause = min(pause, sentBackPause)
				}
				u.opts.Logger.Warn("no parent", "error", err, "retry_in", pause)
				sleep(ctx, pause)
				continue
			}
		}
		since := time.Now()
		u.serve(ctx, s, patterns, stand)
		if time.Since(since) >= steady {
			u.backoff.Reset()
		} else {
			sleep(ctx, u.backoff.Next()) // refused, mostly: do not storm
		}
	}
	return nil
}

// serve uses one session and keeps a standby beside it.
func (u *Uplink) serve(ctx context.Context, s *transport.Session, patterns *transport.Message, stand *standby) {
	u.begin(s, patterns)
	u.policy.SetParent(s.Peer().Node())
	u.opts.Logger.Info("connected to parent", "parent", s.Peer().Node(), "address", s.RemoteAddr().String())
	sctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		u.opts.Serve(sctx, s)
	}()
	u.review(sctx, s, stand)
	cancel()
	<-done
	s.Close("uplink moves on")
	u.mu.Lock()
	u.current = nil
	u.mu.Unlock()
	if ctx.Err() == nil {
		u.ended(s)
		u.opts.Logger.Warn("parent lost", "parent", s.Peer().Node(), "error", s.Err())
	}
}

// review reconsiders placement until the session is over, or should be.
func (u *Uplink) review(ctx context.Context, s *transport.Session, stand *standby) {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	for {
		d := u.policy.Step(time.Now(), u.candidates(s))
		if (d.Action == placement.MoveBack || d.Action == placement.MoveNow) && d.Parent.Node != s.Peer().Node() {
			if stand.keep(ctx, d.Parent) && stand.leads(s) && stand.better() {
				u.opts.Logger.Info("moving to a better parent", "from", s.Peer().Node(), "to", d.Parent.Node)
				return
			}
			// A parent that works is not left for one that cannot be
			// reached, that has no root, or that sends its children here: a
			// root that follows.
			u.policy.SetParent(s.Peer().Node())
		}
		if stand.relieves() {
			u.opts.Logger.Warn("the parent has no root, its standby has one", "from", s.Peer().Node(), "to", stand.session.Peer().Node())
			return
		}
		if u.tired() {
			stand.seek(ctx, s)
		} else if u.opts.Standby && s.Peer().Role == transport.RoleRelay && d.Standby.Node != "" && d.Standby.Node != s.Peer().Node() {
			stand.keep(ctx, d.Standby)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-tick.C:
		case <-u.changed:
		}
	}
}

// candidates is the directory as placement wants it. A node that is listed is
// taken to be live since it was first listed, or since a session to it last
// failed; the parent of the present session is live whatever the list says.
func (u *Uplink) candidates(parent *transport.Session) []placement.Candidate {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	list := make([]placement.Candidate, 0, len(u.nodes)+1)
	listed := false
	for _, n := range u.nodes {
		c := placement.Candidate{Relay: placement.Relay{Node: n.Name, Region: n.Region, Addr: n.Addr, Weight: n.Weight}, LiveSince: u.since[n.Name]}
		if len(u.opts.Regions) == 0 {
			c.Region = anyRegion
		}
		isParent := parent != nil && n.Name == parent.Peer().Node()
		listed = listed || isParent
		if (now.Before(u.down[n.Addr]) || now.Before(u.resting[n.Addr])) && !isParent {
			continue
		}
		list = append(list, c)
	}
	if parent != nil && !listed {
		p := parent.Peer()
		region := p.Region
		if len(u.opts.Regions) == 0 {
			region = anyRegion
		}
		list = append(list, placement.Candidate{LiveSince: now,
			Relay: placement.Relay{Node: p.Node(), Region: region, Addr: parent.RemoteAddr().String(), Weight: 1}})
	}
	return list
}

// connect dials the best candidates, then the seeds.
func (u *Uplink) connect(ctx context.Context) (*transport.Session, error) {
	var errs []error
	addresses := u.addresses()
	if len(addresses) == 0 {
		return nil, errBusy
	}
	sentBack := false
	for _, addr := range addresses {
		if sentBack && u.isDown(addr) {
			continue // another one lives, and says soon who the parent is now
		}
		s, err := u.dial(ctx, addr)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
		sentBack = sentBack || errors.Is(err, errSentBack)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// addresses are those to dial, the best first; seeds that failed a moment ago
// come last.

func (u *Uplink) addresses() []string {
	var relays []placement.Relay
	for _, c := range u.candidates(nil) {
		relays = append(relays, c.Relay)
	}
	regions := u.opts.Regions
	if len(regions) == 0 {
		regions = []string{anyRegion}
	}
	var list []string
	for _, r := range placement.RankRegions(u.opts.Self.Node(), regions, relays) {
		list = append(list, r.Addr)
	}
	u.mu.Lock()
	seeds := slices.Clone(u.seeds)
	u.mu.Unlock()
	rand.Shuffle(len(seeds), func(i, j int) { seeds[i], seeds[j] = seeds[j], seeds[i] })
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	var failed []string
	for _, s := range seeds {
		switch {
		case slices.Contains(list, s) || now.Before(u.resting[s]):
		case now.Before(u.down[s]):
			failed = append(failed, s)
		default:
			list = append(list, s)
		}
	}
	return append(list, failed...)
}

// dial opens a session, following redirects.
func (u *Uplink) dial(ctx context.Context, addr string) (*transport.Session, error) {
	for hop := range maxRedirects {
		if hop > 0 && u.isDown(addr) {
			return nil, fmt.Errorf("dial %s: %w", addr, errSentBack)
		}
		dctx, cancel := context.WithTimeout(ctx, dialTimeout)
		s, err := transport.Dial(dctx, addr, transport.Hello{Term: u.NextTerm(), Body: u.opts.Body}, u.opts.Transport)
		cancel()
		var redirect *transport.RedirectError
		if errors.As(err, &redirect) {
			addr = redirect.Addr
			continue
		}
		if err != nil {
			u.failed(addr, err)
			return nil, fmt.Errorf("dial %s: %w", addr, err)
		}
		return s, nil
	}
	return nil, fmt.Errorf("dial: redirected more than %d times, last to %s", maxRedirects, addr)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
