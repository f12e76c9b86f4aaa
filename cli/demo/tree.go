//go:build !zos

package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/agent"
	"pando/internal/ops"
	"pando/relay"
	"pando/root"
	"pando/transport"
)

const (
	roots = 3
	// segmentBytes is small, so that zero-filling the logs of eight nodes on
	// one disk is over at once.
	segmentBytes = 4 << 20
	loopback     = "127.0.0.1:0"
)

// tree is a whole tree in one process.
//
//	root1 ═ root2 ═ root3     Raft over mTLS
//	     ▲     ▲
//	relay1  ~  relay2         gossip with a key; of two tiers top1 ~ top2
//	 ▲ ▲ ▲     ▲ ▲ ▲          stand between these and the roots
//	 6 agents, by rendezvous  each host's files and listeners
//
// Roles are stopped from the leaves up, so that nothing is left on the way.
type tree struct {
	dir       string
	log       *slog.Logger
	authority authority
	profile   Profile
	guard     func(http.Handler) http.Handler // of the APIs, or nil
	network   func(node string) transport.Network
	tiers     int    // of relays
	top, home string // regions: of the roots and the second tier, of the rest

	roots  []*root.Root
	uppers []*relay.Relay // of the second tier, if there is one
	relays []*relay.Relay // of the agents
	leaves []*leaf
	api    []string // addresses of the roots' APIs

	crew   []*member  // in the order of planting
	failed chan error // the first failure of any node
}

// leaf is a host with its agent.
type leaf struct {
	*host
	agent *agent.Agent
}

// member is a node that runs, with its endpoints.
type member struct {
	node   role
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (m *member) stop() {
	m.cancel()
	m.wg.Wait()
}

// plant starts a tree in a folder. A failed plant stops what it started.
func plant(ctx context.Context, dir string, o Options, hosts []*host, log *slog.Logger) (_ *tree, err error) {
	t := &tree{dir: dir, log: log, profile: o.Profile, guard: o.Guard, tiers: o.Tiers, top: region, home: region, failed: make(chan error, 1)}
	if t.network = o.network; t.network == nil {
		t.network = func(string) transport.Network { return transport.TCP() }
	}
	if t.tiers == MaxTiers {
		t.top, t.home = upperRegion, lowerRegion
	}
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
	if err := t.await(ctx, "a leader", growthLimit, func() error { _, err := t.leader(); return err }); err != nil {
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

// stop ends every node gracefully: the agents, then one relay after the other,
// the upper ones last, so that each can say farewell, then the leader, which
// hands over, and the other roots.
func (t *tree) stop() {
	var agents, relays, leaders, others []*member
	for _, m := range t.crew {
		switch node := m.node.(type) {
		case *agent.Agent:
			agents = append(agents, m)
		case *relay.Relay:
			relays = append(relays, m)
		case *root.Root:
			if node.Leading() {
				leaders = append(leaders, m)
			} else {
				others = append(others, m)
			}
		}
	}
	together := func(list []*member) {
		var wg sync.WaitGroup
		for _, m := range list {
			wg.Go(m.stop)
		}
		wg.Wait()
	}
	together(agents)
	for _, m := range slices.Backward(relays) {
		m.stop()
	}
	together(leaders)
	together(others)
	t.crew = nil
}

// role is what the three roles have in common.
type role interface {
	Name() string
	Run(ctx context.Context) error
	API() http.Handler
	Health() error
}

// serve runs a node and its endpoints. The first failure of any node is the
// tree's.
func (t *tree) serve(s *ops.Server, node role) {
	api := node.API()
	if t.guard != nil {
		api = t.guard(api)
	}
	s.Handle("/v1/", api)
	s.Check(ops.Check{Name: "role", Probe: func(context.Context) error { return node.Health() }})
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{node: node, cancel: cancel}
	t.crew = append(t.crew, m)
	for _, part := range []func(context.Context) error{node.Run, s.Run} {
		m.wg.Go(func() {
			err := part(ctx)
			if err == nil && ctx.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err == nil {
				return
			}
			t.log.Error("node failed", "node", node.Name(), "error", err)
			select {
			case t.failed <- fmt.Errorf("%s: %w", node.Name(), err):
			default:
			}
		})
	}
}

// ground is what every node stands on.
type ground struct {
	creds  *transport.Credentials
	reg    *prometheus.Registry
	server *ops.Server // its endpoints for operators
}

func (t *tree) ground(r transport.Role, region, name string) (*ground, error) {
	creds, err := t.authority.credentials(r, region, name)
	if err != nil {
		return nil, err
	}
	reg, err := ops.NewRegistry()
	if err != nil {
		return nil, err
	}
	s, err := ops.New(ops.Options{Addr: loopback, APIAddr: loopback, APITLS: creds.ServerConfig(), Registry: reg, Logger: t.log})
	return &ground{creds, reg, s}, err
}

func (t *tree) plantRoots() error {
	var servers []root.Server
	for n := range roots {
		name := fmt.Sprintf("root%d", n+1)
		g, err := t.ground(transport.RoleRoot, t.top, name)
		if err != nil {
			return err
		}
		o := root.DefaultOptions()
		o.Dir, o.Credentials, o.Network, o.Listen = t.path("root", name), g.creds, t.network(name), loopback
		o.Logger, o.Registerer = t.log, g.reg
		o.Raft.Bind, o.Raft.BootstrapExpect = loopback, roots
		r, err := root.New(o)
		if err != nil {
			return errors.Join(err, g.server.Close())
		}
		api := g.server.APIAddr().String()
		t.roots, t.api = append(t.roots, r), append(t.api, api)
		servers = append(servers, root.Server{Name: r.Name(), Raft: r.RaftAddr(), Addr: r.Addr(), API: "https://" + api})
		t.serve(g.server, r)
	}
	for _, r := range t.roots {
		if err := r.SetServers(servers); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) plantAgent(h *host) error {
	g, err := t.ground(transport.RoleAgent, t.home, h.name)
	if err != nil {
		return err
	}
	o := agent.DefaultOptions()
	o.Dir, o.Credentials, o.Relays = t.path("agent", h.name), g.creds, []string{t.homeOf(g.creds.Identity().Node())}
	o.SegmentBytes, o.Logger, o.Registerer = segmentBytes, t.log, g.reg
	o.Wall = func() int64 { return time.Now().Add(h.skew).UnixNano() }
	for _, src := range h.sources {
		o.Sources = append(o.Sources, src.spec)
	}
	a, err := agent.New(o)
	if err != nil {
		return errors.Join(err, g.server.Close())
	}
	t.leaves = append(t.leaves, &leaf{host: h, agent: a})
	t.serve(g.server, a)
	return nil
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
		for _, r := range t.allRelays() {
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
