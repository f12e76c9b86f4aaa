//go:build !zos

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/agent"
	"pando/agent/input"
	"pando/internal/ops"
	"pando/relay"
	"pando/root"
	"pando/stream/aggregate"
	"pando/transport"
)

// loopback is any free port of this machine.
const loopback = "127.0.0.1:0"

// ground is what every role stands on, as in production.
func (p *process) ground(s *Spec) (creds *transport.Credentials, log *slog.Logger, reg *prometheus.Registry, err error) {
	if creds, err = transport.LoadCredentials(s.Files); err != nil {
		return nil, nil, nil, err
	}
	if log, err = p.logger(s.LogLevel); err != nil {
		return nil, nil, nil, err
	}
	reg, err = ops.NewRegistry()
	return creds, log, reg, err
}

// rootNode is the process of one root.
type rootNode struct {
	*process
	root *root.Root

	seen   sync.Mutex
	probes map[string]time.Time // when the incident of a probe was first seen here
}

// RootSpec is a root of a group of so many.
type RootSpec struct {
	Spec
	Group int
}

// Start starts the root and says where it is.
func (n *rootNode) Start(s RootSpec, at *root.Server) error {
	creds, log, reg, err := n.ground(&s.Spec)
	if err != nil {
		return err
	}
	o := root.DefaultOptions()
	o.Dir, o.Credentials, o.Listen, o.Logger, o.Registerer = s.Dir, creds, loopback, log, reg
	o.Raft.Bind, o.Raft.BootstrapExpect = loopback, s.Group
	if n.root, err = root.New(o); err != nil {
		return err
	}
	n.probes = map[string]time.Time{}
	n.run(n.root.Run)
	n.run(n.watch)
	*at = root.Server{Name: n.root.Name(), Raft: n.root.RaftAddr(), Addr: n.root.Addr()}
	return nil
}

// Begin tells the root who else is in its group.
func (n *rootNode) Begin(group []root.Server, _ *None) error { return n.root.SetServers(group) }

// Standing is what a root has to say while a run goes on.
type Standing struct {
	Leading bool
	Settled uint64 // events, heartbeats not included
}

// Standing reads what this root has, which may be behind the leader's.
func (n *rootNode) Standing(_ None, s *Standing) error {
	units, err := n.root.Units(n.ctx, true)
	for _, u := range units {
		s.Settled += u.Events
	}
	s.Leading = n.root.Leading()
	return err
}

// Units reads what is settled, linearizably.
func (n *rootNode) Units(_ None, units *[]root.Unit) (err error) {
	ctx, cancel := context.WithTimeout(n.ctx, callLimit/2)
	defer cancel()
	*units, err = n.root.Units(ctx, false)
	return err
}

// watch takes the time at which incidents of probes can be read here, which is
// after their findings were committed.
func (n *rootNode) watch(ctx context.Context) error {
	for from := uint64(0); ctx.Err() == nil; {
		list, more := n.root.Changes(from)
		now := time.Now()
		n.seen.Lock()
		for _, c := range list {
			from = c.Index + 1
			if _, known := n.probes[c.First]; !known && strings.HasPrefix(c.First, probeEntity) {
				n.probes[c.First] = now
			}
		}
		n.seen.Unlock()
		select {
		case <-ctx.Done():
		case <-more:
		}
	}
	return nil
}

// Probes tells when the probes were first seen here.
func (n *rootNode) Probes(_ None, at *map[string]time.Time) error {
	n.seen.Lock()
	defer n.seen.Unlock()
	*at = map[string]time.Time{}
	for name, t := range n.probes {
		(*at)[name] = t
	}
	return nil
}

// windows are what every relay of a benchmark computes: sums and a sketch of each
// series, and a sliding count of each entity.
var windows = []aggregate.Window{
	{Name: "series", Length: 10 * time.Second, Lateness: time.Second, Quantiles: []float64{0.5, 0.99}, MaxGroups: 1 << 17},
	{Name: "entities", By: aggregate.ByEntity, Length: 10 * time.Second, Slide: time.Second, Lateness: time.Second},
}

// relayNode is the process of one relay.
type relayNode struct {
	*process
	relay *relay.Relay
}

// Start starts the relay and says where it is.
func (n *relayNode) Start(s Spec, addr *string) error {
	creds, log, reg, err := n.ground(&s)
	if err != nil {
		return err
	}
	o := relay.DefaultOptions()
	o.Dir, o.Credentials, o.Listen, o.Parents, o.Logger, o.Registerer = s.Dir, creds, loopback, s.Parents, log, reg
	o.Analysis.Windows = windows
	if n.relay, err = relay.New(o); err != nil {
		return err
	}
	n.run(n.relay.Run)
	*addr = n.relay.Addr()
	return nil
}

// Results tells how many results of windows the relay told.
func (n *relayNode) Results(_ None, told *uint64) error {
	*told = n.relay.WindowsTold()
	return nil
}

// Health says why the relay does not serve yet.
func (n *relayNode) Health(None, *None) error { return n.relay.Health() }

// agentNode is the process of one agent.
type agentNode struct {
	*process
	agent *agent.Agent
	wire  atomic.Uint64 // bytes written to relays
}

// AgentSpec is an agent with its sources.
type AgentSpec struct {
	Spec
	Sources []input.Spec
}

// Start starts the agent.
func (n *agentNode) Start(s AgentSpec, _ *None) error {
	creds, log, reg, err := n.ground(&s.Spec)
	if err != nil {
		return err
	}
	o := agent.DefaultOptions()
	o.Dir, o.Credentials, o.Relays, o.Sources, o.Logger, o.Registerer = s.Dir, creds, s.Parents, s.Sources, log, reg
	o.Network = counted{o.Network, &n.wire}
	if n.agent, err = agent.New(o); err != nil {
		return err
	}
	n.run(n.agent.Run)
	return nil
}

// Wire tells how many bytes went to relays.
func (n *agentNode) Wire(_ None, bytes *uint64) error {
	*bytes = n.wire.Load()
	return nil
}

// Listens says where a source listens, once the agent is well and reads it.
func (n *agentNode) Listens(source string, addr *string) error {
	if err := n.agent.Health(); err != nil {
		return err
	}
	for _, s := range n.agent.Status().Sources {
		if s.Name == source {
			*addr = s.Address
		}
	}
	if *addr == "" {
		return fmt.Errorf("source %s does not listen yet", source)
	}
	return nil
}
