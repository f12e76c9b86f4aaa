//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pando/event"
	"pando/internal/durable"
	"pando/transport"
	"pando/tree/rootclock"
)

// feeder is the process that stands for all agents of a relay. It encodes their
// batches before it connects, and then stamps and sends them; see [template]. It
// has no log, so it vouches at once for what it sends.
type feeder struct {
	*process
	spec   FeedSpec
	clock  *rootclock.Clock
	log    *slog.Logger
	wire   atomic.Uint64 // bytes written to the relay
	halted atomic.Bool
	agents []*fed

	mu        sync.Mutex
	latencies Histogram // from handing a batch over to its acknowledgement
}

// FeedSpec says what to send, and to whom.
type FeedSpec struct {
	Spec                     // of the process; its parent is the relay
	Agents []transport.Files // who they are
	Kind   string
	// As in [Options] and [RelayOptions].
	Entities, Signals, Batch int
	Rate                     float64
}

// FeedState is how far all agents are. Events are counted without heartbeats.
type FeedState struct {
	Sent, Durable uint64
	Wire          uint64 // bytes
	Unsettled     uint64 // sequence numbers, heartbeats included
	SessionsLost  uint64
}

// Start connects the agents and lets them send.
func (f *feeder) Start(s FeedSpec, _ *None) (err error) {
	f.spec = s
	if f.log, err = f.logger(s.LogLevel); err != nil {
		return err
	}
	if f.clock, err = rootclock.New(rootclock.Options{Dir: s.Dir, FS: durable.OS(), Logger: f.log}); err != nil {
		return err
	}
	o := &Options{Entities: s.Entities, Signals: s.Signals, Agents: len(s.Agents)}
	for i := range s.Agents {
		x, err := f.agent(i, newEvents(s.Kind, o, i))
		if err != nil {
			return err
		}
		f.agents = append(f.agents, x)
	}
	for _, x := range f.agents {
		f.run(x.serve)
	}
	for _, x := range f.agents {
		select {
		case <-x.opened:
		case <-time.After(callLimit / 2):
			return errors.Join(errors.New("the relay does not open the agents' units"), f.failure())
		}
	}
	begin := time.Now()
	for _, x := range f.agents {
		f.run(x.beat)
		f.run(func(ctx context.Context) error { return x.send(ctx, begin) })
	}
	return nil
}

func (f *feeder) agent(i int, w *events) (*fed, error) {
	o := transport.DefaultOptions()
	var err error
	if o.Credentials, err = transport.LoadCredentials(f.spec.Agents[i]); err != nil {
		return nil, err
	}
	f.clock.Wire(&o)
	o.Network, o.Logger = counted{transport.TCP(), &f.wire}, f.log
	o.Timeout = sessionTimeout
	x := &fed{feeder: f, options: o, origin: o.Credentials.Identity().Node(), wal: event.WALID(i + 1), opened: make(chan struct{})}
	if x.batches, err = w.encode(f.spec.Batch); err != nil {
		return nil, err
	}
	x.moved = sync.NewCond(&x.mu)
	for l := range x.lanes {
		x.lanes[l].next = 1
	}
	return x, nil
}

// sessionTimeout keeps sessions through the stalls of a machine that is driven
// to its limit, as far as this side decides.
const sessionTimeout = 10 * time.Second

// State tells how far the agents are.
func (f *feeder) State(_ None, s *FeedState) error {
	for _, x := range f.agents {
		x.mu.Lock()
		for l := range x.lanes {
			ln := &x.lanes[l]
			s.Sent += ln.events
			s.Durable += ln.durable
			s.Unsettled += ln.next - 1 - ln.settled
		}
		s.SessionsLost += x.lost
		x.mu.Unlock()
	}
	s.Wire = f.wire.Load()
	return f.failure()
}

// Latencies returns those since the last call.
func (f *feeder) Latencies(_ None, h *Histogram) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	*h, f.latencies = f.latencies, Histogram{}
	return nil
}

// Halt stops sending. What was sent goes on to be acknowledged.
func (f *feeder) Halt(None, *None) error {
	f.halted.Store(true)
	return nil
}

// Accounts are those of all units. They hold once everything is settled.
func (f *feeder) Accounts(_ None, list *[]Account) error {
	for _, x := range f.agents {
		x.mu.Lock()
		for l := range x.lanes {
			ln := &x.lanes[l]
			*list = append(*list, Account{Origin: x.origin, WAL: x.wal.String(), Lane: event.Lane(l).String(), Last: ln.next - 1,
				Events: ln.events, Heartbeats: ln.heartbeats, Sum: ln.sum.String(), Chain: fmt.Sprintf("%x", ln.chain[:])})
		}
		x.mu.Unlock()
	}
	return nil
}

// counted is a network that counts what is written: payload, framing and TLS.
type counted struct {
	transport.Network
	written *atomic.Uint64
}

func (n counted) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := n.Network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, n.written}, nil
}

type countedConn struct {
	net.Conn
	written *atomic.Uint64
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(uint64(n))
	return n, err
}
