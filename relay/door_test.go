package relay

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/transport"
	"pando/transport/ca"
	"pando/tree/custody"
	"pando/tree/uplink"
	"pando/tree/wire"
)

func TestDoorGivesEachItsTurn(t *testing.T) {
	d, err := newDoor(10*time.Millisecond, 2)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	var got []time.Duration
	for n := range 5 {
		wait, _ := d.ask(fmt.Sprint("eu/a", n), now)
		got = append(got, wait)
	}
	if want := "[0s 0s 10ms 20ms 30ms]"; fmt.Sprint(got) != want {
		t.Fatalf("told to come back in %v, want %s", got, want)
	}
	for n, at := range got[2:] {
		if wait, _ := d.ask(fmt.Sprint("eu/a", n+2), now.Add(at)); wait != 0 {
			t.Errorf("who comes back at its turn of %s waits %s more", at, wait)
		}
	}
	for n := range 10_000 {
		if wait, _ := d.ask(fmt.Sprint("eu/b", n), now); wait > maxTurn {
			t.Fatalf("told to come back in %s, want at most %s", wait, maxTurn)
		}
	}
}

// A node that dials as fast as it can takes no more than its own budget, and
// nobody's turn.
func TestDoorIsFairBetweenNodes(t *testing.T) {
	d, err := newDoor(10*time.Millisecond, 20)
	if err != nil {
		t.Fatal(err)
	}
	now, granted := time.Unix(1000, 0), 0
	for range 1000 {
		if wait, _ := d.ask("eu/evil", now); wait == 0 {
			granted++
		}
	}
	if granted != nodeBurst {
		t.Errorf("%d handshakes at once, a node may have %d", granted, nodeBurst)
	}
	for n := range 20 - nodeBurst {
		if wait, _ := d.ask(fmt.Sprint("eu/a", n), now); wait != 0 {
			t.Fatalf("number %d has to wait %s", n, wait)
		}
	}
	// With the budget of all used up, it still takes one turn only.
	for range 1000 {
		if wait, _ := d.ask("eu/eager", now); wait != 10*time.Millisecond {
			t.Fatalf("the first who is refused has to wait %s", wait)
		}
	}
	if wait, _ := d.ask("eu/next", now); wait != 20*time.Millisecond {
		t.Errorf("the second who is refused has to wait %s", wait)
	}
	granted = 0
	for ms := range 10_000 {
		if wait, _ := d.ask("eu/evil", now.Add(time.Duration(ms)*time.Millisecond)); wait == 0 {
			granted++
		}
	}
	if most := int(10*time.Second/nodeEvery) + 1; granted > most || granted < most/2 {
		t.Errorf("%d handshakes within ten seconds, a node may have %d", granted, most)
	}
	for n := range 3 * maxVisitors {
		d.ask(fmt.Sprint("eu/c", n), now.Add(time.Minute))
	}
	if len(d.visitors) > maxVisitors {
		t.Errorf("%d nodes are remembered", len(d.visitors))
	}
}

// One certificate holds a few sessions at a relay, and the last ones to come
// make the oldest leave. Another child finds a place all the same.
func TestANodeHasAFewSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, reg, log := newRegion(t), prometheus.NewRegistry(), &text{}
		stop := r.relay("r1", reg, func(o *Options) {
			o.HandshakeEvery, o.HandshakeBurst = 20*time.Millisecond, 10
			o.Logger = slog.New(slog.NewTextHandler(log, nil))
		})
		defer stop()
		time.Sleep(timeGrace)
		dial := func(o transport.Options) (*transport.Session, error) {
			return transport.Dial(t.Context(), "r1:7000", transport.Hello{Term: custody.Term{Epoch: 1, Session: 1}}, o)
		}
		options := func(name string) transport.Options {
			o := transport.DefaultOptions()
			o.Credentials, o.Network = r.credentials(transport.RoleAgent, name), r.net.Host(name)
			return o
		}
		evil := options("evil")
		opened, err := dial(evil)
		if err != nil {
			t.Fatal(err)
		}
		term := custody.Term{Epoch: 1, Session: 1}
		if err := opened.SendControl(t.Context(), wire.Encode(&wire.Open{WAL: 7, Term: term, Offers: [2]custody.Offer{{From: 1}, {From: 1}}})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		var held []*transport.Session
		for range 200 {
			if s, err := dial(evil); err == nil {
				held = append(held, s)
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Second)
		live := 0
		for _, s := range held {
			if s.Err() == nil {
				live++
			}
		}
		if live != maxOfNode-1 || opened.Err() != nil {
			t.Errorf("of %d sessions %d are left beside the one with units: %v", len(held), live, opened.Err())
		}
		if held[len(held)-1].Err() != nil {
			t.Error("the newest one made room")
		}
		if log.count("child=eu/evil") == 0 {
			t.Error("the log does not name it")
		}
		for n := range 20 {
			s, err := dial(options(fmt.Sprint("a", n)))
			if err != nil {
				t.Fatalf("another child is refused: %v", err)
			}
			defer s.Close("test over")
			time.Sleep(50 * time.Millisecond)
			_, _ = dial(evil)
		}
		for _, s := range append(held, opened) {
			s.Close("test over")
		}
	})
}

// Children that do not listen do not keep a directory from those who do.
func TestMuteChildrenDelayNoDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t)
		stop := r.relay("r1", nil, func(*Options) {})
		defer stop()
		time.Sleep(timeGrace)
		var all []*transport.Session
		for n := range 10 {
			name := fmt.Sprint("a", n)
			o := transport.DefaultOptions()
			o.Credentials, o.Network = r.credentials(transport.RoleAgent, name), r.net.Host(name)
			s, err := transport.Dial(t.Context(), "r1:7000", transport.Hello{Term: custody.Term{Epoch: 1, Session: 1}}, o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close("test over")
			all = append(all, s)
		}
		time.Sleep(time.Second)
		heard := func(s *transport.Session) {
			t.Helper()
			for {
				m, err := s.ReceiveControl(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if m.Kind == wire.KindDirectory {
					return
				}
			}
		}
		heard(all[5])
		r.made.mu.Lock()
		var mute []*transport.Session
		for _, c := range r.made.sessions {
			if c.s.Peer().Name != "a5" {
				mute = append(mute, c.s)
			}
		}
		r.made.mu.Unlock()
		for _, s := range mute {
			for full := false; !full; {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				full = s.SendControl(ctx, transport.Message{Kind: 0xee, Body: make([]byte, 64<<10)}) != nil
				cancel()
			}
		}
		for range 20 {
			began := time.Now()
			r.made.tellNews()
			heard(all[5])
			if took := time.Since(began); took >= time.Second {
				t.Fatalf("a child that listens waits %s for its directory", took)
			}
		}
	})
}

// region is a relay and the means to make agents, in virtual time.
type region struct {
	t   testing.TB
	dir string
	net *transport.Memory

	made *Relay // the last one
}

func newRegion(t *testing.T) *region {
	r := &region{t: t, dir: t.TempDir(), net: transport.NewMemory()}
	r.init()
	return r
}

// init makes the authority.
func (r *region) init() {
	if err := ca.Init(filepath.Join(r.dir, "ca"), "test", 24*time.Hour); err != nil {
		r.t.Fatal(err)
	}
}

func (r *region) credentials(role transport.Role, name string) *transport.Credentials {
	r.t.Helper()
	f := transport.Files{CA: filepath.Join(r.dir, "ca", ca.CertFile), Cert: filepath.Join(r.dir, name+".pem"), Key: filepath.Join(r.dir, name+"-key.pem")}
	cert, key, err := ca.Issue(filepath.Join(r.dir, "ca"), transport.Identity{Domain: "test", Role: role, Region: "eu", Name: name}, nil, 24*time.Hour)
	if err == nil {
		err = ca.Save(f.Cert, f.Key, cert, key)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := transport.LoadCredentials(f)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// relay runs a relay without a root until stop is called.
func (r *region) relay(name string, reg prometheus.Registerer, change func(*Options)) (stop func()) {
	r.t.Helper()
	o := DefaultOptions()
	o.Dir, o.SegmentBytes = filepath.Join(r.dir, name), 2<<20
	o.Credentials, o.Network, o.Registerer = r.credentials(transport.RoleRelay, name), r.net.Host(name), reg
	o.Listen, o.Parents = name+":7000", []string{"nowhere:1"}
	change(&o)
	x, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.made = x
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
	})
}

// agents keeps uplinks of agents connected until the test's context ends, and
// returns what tells how many of them have node as their parent.
func (r *region) agents(ctx context.Context, all *sync.WaitGroup, n int, standby bool, seeds ...string) (at func(node string) int) {
	r.t.Helper()
	var list []*uplink.Uplink
	for i := range n {
		name := fmt.Sprint("a", i)
		t := transport.DefaultOptions()
		t.Credentials, t.Network = r.credentials(transport.RoleAgent, name), r.net.Host(name)
		up, err := uplink.New(uplink.Options{Self: t.Credentials.Identity(), Seeds: seeds, Transport: t, Epoch: 1, Regions: []string{"eu"}, Standby: standby,
			Logger: slog.New(slog.DiscardHandler), Serve: func(ctx context.Context, s *transport.Session) {
				for {
					if _, err := s.ReceiveControl(ctx); err != nil {
						return
					}
				}
			}})
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, up)
		all.Go(func() { _ = up.Run(ctx) })
	}
	if standby {
		all.Go(func() { tell(ctx, list, seeds) })
	}
	return func(node string) (count int) {
		for _, up := range list {
			if up.Parent() == node {
				count++
			}
		}
		return count
	}
}

// tell gives agents the directory that gossip would make of the seeds.
func tell(ctx context.Context, list []*uplink.Uplink, seeds []string) {
	var nodes []wire.Node
	for _, addr := range seeds {
		name, _, _ := strings.Cut(addr, ":")
		nodes = append(nodes, wire.Node{Name: "eu/" + name, Region: "eu", Addr: addr, Weight: 1})
	}
	for ctx.Err() == nil {
		for _, up := range list {
			up.SetDirectory(nodes)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// counter sums a counter's series whose label has a value.
func counter(t *testing.T, reg *prometheus.Registry, name, value string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == value {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// When a relay dies, its agents come to the one that is left all at once. That
// one opens sessions at the rate it has a budget for, and in the end all are
// there.
func TestSurvivorLetsAgentsInAtItsPace(t *testing.T) {
	const (
		agents   = 200
		interval = 40 * time.Millisecond
		burst    = 20
	)
	synctest.Test(t, func(t *testing.T) {
		r, reg := newRegion(t), prometheus.NewRegistry()
		stop := r.relay("r1", nil, func(o *Options) { o.HandshakeBurst = 2 * agents })
		defer stop()
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		at := r.agents(ctx, &all, agents, false, "r1:7000", "r2:7000")
		for at("eu/r1") < agents {
			time.Sleep(100 * time.Millisecond)
		}
		survivor := r.relay("r2", reg, func(o *Options) { o.HandshakeEvery, o.HandshakeBurst = interval, burst })
		defer survivor()
		stop()
		died := time.Now()
		for at("eu/r2") < agents {
			time.Sleep(interval / 2)
			took := time.Since(died)
			granted := float64(burst) + float64(took/interval) + 1
			if n := counter(t, reg, "pando_transport_sessions_opened_total", "listen"); n > granted {
				t.Fatalf("%v sessions were opened within %s, the budget is %v", n, took, granted)
			}
			if took > 10*agents*interval {
				t.Fatalf("%d of %d agents are connected %s later", at("eu/r2"), agents, took)
			}
		}
		refused := counter(t, reg, "pando_transport_refused_total", "busy")
		t.Logf("all are connected after %s, %v refusals", time.Since(died), refused)
		if n := counter(t, reg, "pando_transport_sessions_opened_total", "listen"); n != agents {
			t.Errorf("%v sessions were opened for %d agents", n, agents)
		}
		if refused == 0 {
			t.Error("nobody was refused: this shows nothing")
		}
		if refused > 3*agents {
			t.Errorf("%v refusals for %d agents: the pauses they are told are not kept", refused, agents)
		}
	})
}
