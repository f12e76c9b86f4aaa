//go:build !zos

package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/agent"
	"pando/internal/ops"
	"pando/relay"
	"pando/root"
	"pando/transport"
	"pando/tree/gossip"
	"pando/tree/placement"
)

const (
	roots  = 3
	relays = 2
	// segmentBytes is small, so that zero-filling the logs of eight nodes on
	// one disk is over at once.
	segmentBytes = 4 << 20
	loopback     = "127.0.0.1:0"
)

// tree is a whole tree in one process.
//
//	root-1 ═ root-2 ═ root-3        Raft over mTLS
//	     ▲      ▲
//	relay-1 ~ relay-2               gossip with a key
//	 ▲  ▲  ▲   ▲  ▲  ▲
//	 6 agents, by rendezvous        each host's files and listeners
//
// Roles are stopped from the leaves up, so that nothing is left on the way.
type tree struct {
	dir       string
	log       *slog.Logger
	authority authority
	profile   Profile
	guard     func(http.Handler) http.Handler // of the APIs, or nil

	roots  []*root.Root
	relays []*relay.Relay
	leaves []*leaf
	api    []string // addresses of the roots' APIs

	top, middle, bottom *crew
	failed              chan error // the first failure of any node
}

// leaf is a host with its agent.
type leaf struct {
	*host
	agent *agent.Agent
}

// crew is what runs of one tier.
type crew struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newCrew() *crew {
	c := &crew{}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *crew) stop() {
	c.cancel()
	c.wg.Wait()
}

// plant starts a tree in a folder. A failed plant stops what it started.
func plant(ctx context.Context, dir string, o Options, hosts []*host, log *slog.Logger) (_ *tree, err error) {
	t := &tree{dir: dir, log: log, profile: o.Profile, guard: o.Guard, top: newCrew(), middle: newCrew(), bottom: newCrew(), failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			t.stop()
		}
	}()
	if t.authority, err = newAuthority(filepath.Join(dir, "tls")); err != nil {
		return nil, err
	}
	if err := t.plantRoots(); err != nil {
		return nil, err
	}
	if err := t.plantRelays(); err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if err := t.plantAgent(h); err != nil {
			return nil, err
		}
	}
	return t, t.grown(ctx)
}

// stop ends every node gracefully.
func (t *tree) stop() {
	t.bottom.stop()
	t.middle.stop()
	t.top.stop()
}

// serve runs a node and its endpoints as part of a crew. The first failure of
// any node is the tree's.
func (t *tree) serve(c *crew, name string, endpoints *ops.Server, run func(context.Context) error) {
	part := func(run func(context.Context) error) {
		c.wg.Go(func() {
			err := run(c.ctx)
			if err == nil && c.ctx.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err == nil {
				return
			}
			t.log.Error("node failed", "node", name, "error", err)
			select {
			case t.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		})
	}
	part(run)
	part(endpoints.Run)
}

// endpoints binds a node's operational endpoints and its API.
func (t *tree) endpoints(c *transport.Credentials) (*ops.Server, *prometheus.Registry, error) {
	reg, err := ops.NewRegistry()
	if err != nil {
		return nil, nil, err
	}
	s, err := ops.New(ops.Options{Addr: loopback, APIAddr: loopback, APITLS: c.ServerConfig(), Registry: reg, Logger: t.log})
	return s, reg, err
}

// role is what the three roles have in common.
type role interface {
	API() http.Handler
	Health() error
}

// mount puts a node's API and its health at its endpoints.
func (t *tree) mount(s *ops.Server, r role) {
	api := r.API()
	if t.guard != nil {
		api = t.guard(api)
	}
	s.Handle("/v1/", api)
	s.Check(ops.Check{Name: "role", Probe: func(context.Context) error { return r.Health() }})
}

func (t *tree) plantRoots() error {
	var servers []root.Server
	var ends []*ops.Server
	for n := range roots {
		name := fmt.Sprintf("root-%d", n+1)
		creds, err := t.authority.credentials(transport.RoleRoot, name)
		if err != nil {
			return err
		}
		s, reg, err := t.endpoints(creds)
		if err != nil {
			return err
		}
		o := root.DefaultOptions()
		o.Dir, o.Credentials, o.Listen, o.Logger, o.Registerer = t.path("root", name), creds, loopback, t.log, reg
		o.Raft.Bind, o.Raft.BootstrapExpect = loopback, roots
		r, err := root.New(o)
		if err != nil {
			return err
		}
		t.mount(s, r)
		t.roots, ends, t.api = append(t.roots, r), append(ends, s), append(t.api, s.APIAddr().String())
		servers = append(servers, root.Server{Name: r.Name(), Raft: r.RaftAddr(), Addr: r.Addr(), API: "https://" + s.APIAddr().String()})
	}
	for n, r := range t.roots {
		if err := r.SetServers(servers); err != nil {
			return err
		}
		t.serve(t.top, r.Name(), ends[n], r.Run)
	}
	return nil
}

func (t *tree) plantRelays() error {
	var addrs, seeds []string
	for _, r := range t.roots {
		addrs = append(addrs, r.Addr())
	}
	key := gossip.NewKey()
	for n := range relays {
		name := fmt.Sprintf("relay-%d", n+1)
		creds, err := t.authority.credentials(transport.RoleRelay, name)
		if err != nil {
			return err
		}
		s, reg, err := t.endpoints(creds)
		if err != nil {
			return err
		}
		g := gossip.DefaultOptions()
		g.Pool, g.Keys, g.Seeds = region, [][]byte{key}, seeds
		g.RejoinEvery = time.Second
		o := relay.DefaultOptions()
		o.Dir, o.Credentials, o.Listen, o.Roots = t.path("relay", name), creds, loopback, addrs
		o.Detectors, o.Gossip, o.API = t.profile.detectors(), &g, s.APIAddr().String()
		o.SegmentBytes, o.Logger, o.Registerer = segmentBytes, t.log, reg
		r, err := relay.New(o)
		if err != nil {
			return err
		}
		t.mount(s, r)
		t.relays, seeds = append(t.relays, r), append(seeds, r.GossipAddr())
		t.serve(t.middle, r.Name(), s, r.Run)
	}
	return nil
}

func (t *tree) plantAgent(h *host) error {
	creds, err := t.authority.credentials(transport.RoleAgent, h.name)
	if err != nil {
		return err
	}
	s, reg, err := t.endpoints(creds)
	if err != nil {
		return err
	}
	o := agent.DefaultOptions()
	o.Dir, o.Credentials, o.Relays = t.path("agent", h.name), creds, []string{t.home(creds.Identity().Node())}
	o.SegmentBytes, o.Logger, o.Registerer = segmentBytes, t.log, reg
	o.Wall = func() int64 { return time.Now().Add(h.skew).UnixNano() }
	for _, src := range h.sources {
		o.Sources = append(o.Sources, src.spec)
	}
	a, err := agent.New(o)
	if err != nil {
		return err
	}
	t.mount(s, a)
	t.leaves = append(t.leaves, &leaf{host: h, agent: a})
	t.serve(t.bottom, a.Name(), s, a.Run)
	return nil
}

// home is the address of the relay that an agent belongs to. It will learn of
// the other one from this.
func (t *tree) home(agent string) string {
	var list []placement.Relay
	for _, r := range t.relays {
		list = append(list, placement.Relay{Node: r.Name(), Region: region, Addr: r.Addr(), Weight: 1})
	}
	return placement.Rank(agent, list)[0].Addr
}

func (t *tree) path(role, name string) string { return filepath.Join(t.dir, role, name) }

// look is how often the demonstration looks whether something has come true.
const look = 20 * time.Millisecond

// errLate says that something did not come true in time.
var errLate = errors.New("too late")

// await waits until a condition holds; what says what is waited for. The error
// wraps errLate if only time ran out.
func (t *tree) await(ctx context.Context, what string, limit time.Duration, holds func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		last := holds()
		if last == nil {
			return nil
		}
		select {
		case err := <-t.failed:
			return fmt.Errorf("while waiting for %s: %w", what, err)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w, not within %v: %w", what, errLate, limit, last)
		case <-time.After(look):
		}
	}
}

// growthLimit is how long the tree may take to stand, on a slow disk.
const growthLimit = 20 * time.Second

// grown waits until every node is ready, and every source is read.
func (t *tree) grown(ctx context.Context) error {
	return t.await(ctx, "a tree that stands", growthLimit, func() error {
		if _, err := t.leader(); err != nil {
			return err
		}
		for _, r := range t.relays {
			if err := r.Health(); err != nil {
				return fmt.Errorf("%s: %w", r.Name(), err)
			}
		}
		for _, l := range t.leaves {
			if err := l.agent.Health(); err != nil {
				return fmt.Errorf("%s: %w", l.agent.Name(), err)
			}
			if n := len(l.agent.Status().Sources); n < len(l.sources) {
				return fmt.Errorf("%s: %d of %d sources are read", l.agent.Name(), n, len(l.sources))
			}
		}
		return nil
	})
}

func (t *tree) leader() (*root.Root, error) {
	for _, r := range t.roots {
		if r.Leading() {
			return r, nil
		}
	}
	return nil, errors.New("no root leads")
}

// listener is where a source of an agent listens.
func (l *leaf) listener(source string) (string, error) {
	for _, s := range l.agent.Status().Sources {
		if s.Name == source && s.Address != "" {
			return s.Address, nil
		}
	}
	return "", fmt.Errorf("source %s of %s does not listen", source, l.name)
}
