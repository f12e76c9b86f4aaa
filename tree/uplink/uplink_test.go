package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pando/transport"
	"pando/transport/ca"
	"pando/tree/custody"
	"pando/tree/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parent is a relay as far as an uplink can tell: it welcomes sessions, tells
// them the directory, and counts them.
type parent struct {
	name string
	l    *transport.Listener

	mu       sync.Mutex
	sessions []*transport.Session
	accepted int
	life     uint64 // of its own uplink
}

func (p *parent) run(ctx context.Context, d *wire.Directory) {
	for {
		s, err := p.l.Accept(ctx)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.accepted++
		p.sessions = append(p.sessions, s)
		above := wire.Uplink{Life: p.life}
		p.mu.Unlock()
		_ = s.SendControl(ctx, wire.Encode(&wire.Patterns{Version: 1, Set: []byte(p.name)}))
		_ = s.SendControl(ctx, wire.Encode(d))
		_ = s.SendControl(ctx, wire.Encode(&above))
	}
}

// die ends the parent as a killed process would.
func (p *parent) die() {
	_ = p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		s.Close("killed")
	}
}

// root tells all children that the parent has a root, or lost it.
func (p *parent) root(life uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life = life
	for _, s := range p.sessions {
		_ = s.SendControl(context.Background(), wire.Encode(&wire.Uplink{Life: life})) // it may be over
	}
}

func (p *parent) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// grove is some parents and an uplink to them.
type grove struct {
	t       *testing.T
	parents map[string]*parent
	up      *Uplink
	served  chan string // names of parents, as sessions begin
	said    chan string // what they say of patterns to who serves
}

// certificates returns a function that issues certificates of one CA.
func certificates(t *testing.T) func(transport.Role, string) *transport.Credentials {
	dir := t.TempDir()
	if err := ca.Init(filepath.Join(dir, "ca"), "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	return func(role transport.Role, name string) *transport.Credentials {
		f := transport.Files{CA: filepath.Join(dir, "ca", ca.CertFile), Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+"-key.pem")}
		cert, key, err := ca.Issue(filepath.Join(dir, "ca"), transport.Identity{Domain: "test", Role: role, Region: "eu", Name: name}, nil, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := ca.Save(f.Cert, f.Key, cert, key); err != nil {
			t.Fatal(err)
		}
		c, err := transport.LoadCredentials(f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func newGrove(t *testing.T, names ...string) *grove {
	creds := certificates(t)
	g := &grove{t: t, parents: map[string]*parent{}, served: make(chan string, 100), said: make(chan string, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var d wire.Directory
	var seeds []string
	for _, name := range names {
		o := transport.DefaultOptions()
		o.Credentials = creds(transport.RoleRelay, name)
		l, err := transport.Listen("127.0.0.1:0", o)
		if err != nil {
			t.Fatal(err)
		}
		g.parents["eu/"+name] = &parent{name: "eu/" + name, l: l}
		d.Nodes = append(d.Nodes, wire.Node{Name: "eu/" + name, Region: "eu", Addr: l.Addr().String(), Weight: 1})
		seeds = append(seeds, l.Addr().String())
	}
	for _, p := range g.parents {
		all.Go(func() { p.run(ctx, &d) })
	}
	o := transport.DefaultOptions()
	o.Credentials = creds(transport.RoleAgent, "a")
	var err error
	g.up, err = New(Options{Self: o.Credentials.Identity(), Seeds: seeds, Transport: o, Epoch: 4, Standby: true, Rooted: true, Regions: []string{"eu"},
		Logger: slog.New(slog.DiscardHandler), Serve: func(ctx context.Context, s *transport.Session) {
			g.served <- s.Peer().Node()
			for {
				m, err := s.ReceiveControl(ctx)
				if err != nil {
					return
				}
				var d wire.Directory
				var above wire.Uplink
				var patterns wire.Patterns
				switch {
				case m.Kind == wire.KindPatterns && wire.Decode(m.Body, &patterns) == nil:
					g.said <- string(patterns.Set)
				case m.Kind == wire.KindDirectory && wire.Decode(m.Body, &d) == nil:
					g.up.SetDirectory(d.Nodes)
				case m.Kind == wire.KindUplink && wire.Decode(m.Body, &above) == nil:
					g.up.SetRooted(above.Life != 0)
				}
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	all.Go(func() { _ = g.up.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		for _, p := range g.parents {
			p.die()
		}
		all.Wait()
	})
	return g
}

// next is the parent of the next session that is served.
func (g *grove) next() string {
	g.t.Helper()
	select {
	case name := <-g.served:
		return name
	case <-time.After(20 * time.Second):
		g.t.Fatal("no session is served")
		return ""
	}
}

// until waits for a condition that other goroutines bring about.
func (g *grove) until(what string, ok func() bool) {
	g.t.Helper()
	for start := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			g.t.Fatal(what)
		}
	}
}

func TestStandbyTakesOverWithoutDialing(t *testing.T) {
	g := newGrove(t, "r1", "r2")
	first := g.next()
	names := []string{"eu/r1", "eu/r2"}
	second := names[1-slices.Index(names, first)]
	g.until("no standby session", func() bool { return g.parents[second].count() == 1 })
	g.parents[first].die()
	if got := g.next(); got != second {
		t.Errorf("served by %s after %s died, want %s", got, first, second)
	}
	if n := g.parents[second].count(); n != 1 {
		t.Errorf("%d sessions were opened to the standby, want the warm one only", n)
	}
	// What it said while it stood by is not lost: it says it once.
	g.until("the standby's patterns are lost", func() bool {
		var m wire.Patterns
		if said := g.up.Patterns(); said != nil && wire.Decode(said.Body, &m) == nil {
			return string(m.Set) == second
		}
		return len(g.said) > 1 // it said so after it took over
	})
}

func TestDeadSeedIsPassedOver(t *testing.T) {
	g := newGrove(t, "r1", "r2", "r3")
	for range 2 {
		at := g.next()
		g.parents[at].die()
	}
	if last := g.next(); g.parents[last] == nil {
		t.Errorf("served by %q", last)
	}
}

// A parent that has no root for long is left for one that has; while nobody
// has one, nothing moves.
func TestAParentWithoutARootIsLeft(t *testing.T) {
	g := newGrove(t, "r1", "r2")
	first := g.next()
	names := []string{"eu/r1", "eu/r2"}
	second := names[1-slices.Index(names, first)]
	g.until("no standby session", func() bool { return g.parents[second].count() >= 1 })
	g.until("the parent is not without a root for long", g.up.tired)
	select {
	case got := <-g.served:
		t.Fatalf("served by %s, though nobody has a root", got)
	default:
	}
	g.parents[second].root(1)
	if got := g.next(); got != second {
		t.Errorf("served by %s, want %s, which has a root", got, second)
	}
}

func TestTermsRise(t *testing.T) {
	u := &Uplink{term: custody.Term{Epoch: 4}}
	last := u.NextTerm()
	for _, known := range []custody.Term{{Epoch: 3, Session: 99}, {Epoch: 4, Session: 7}, {Epoch: 4, Session: 2}, {Epoch: 9, Session: 1}} {
		u.RaiseTerm(known)
		next := u.NextTerm()
		if next.Compare(last) <= 0 || next.Compare(known) <= 0 {
			t.Errorf("after %s and knowing of %s the next term is %s", last, known, next)
		}
		last = next
	}
}

// A parent that is busy is asked again when it said so, seed or not, and is no
// worse a candidate for it.
func TestBusyParentIsLeftAlone(t *testing.T) {
	listed := time.Now().Add(-time.Hour)
	u := &Uplink{seeds: []string{"r1:1", "r2:1"}, resting: map[string]time.Time{}, down: map[string]time.Time{},
		nodes: []wire.Node{{Name: "eu/r1", Region: "eu", Addr: "r1:1", Weight: 1}}, since: map[string]time.Time{"eu/r1": listed}}
	busy := &transport.Refusal{Code: transport.CodeBusy, Retry: 30 * time.Second}
	u.failed("r1:1", fmt.Errorf("dial: %w", busy))
	if got := u.addresses(); !slices.Equal(got, []string{"r2:1"}) {
		t.Errorf("would dial %v, want the other seed only", got)
	}
	if u.since["eu/r1"] != listed {
		t.Error("a relay that is busy counts as one that failed")
	}
	if rest := u.rest(); rest <= 20*time.Second || rest > 30*time.Second {
		t.Errorf("rests %s, asked for 30s", rest)
	}
	u.failed("r2:1", &transport.Refusal{Code: transport.CodeBusy, Retry: 24 * time.Hour})
	if _, err := u.connect(t.Context()); !errors.Is(err, errBusy) {
		t.Errorf("with all parents busy: %v", err)
	}
	if until := u.resting["r2:1"]; time.Until(until) > maxRest {
		t.Errorf("a parent keeps its children away until %s", until)
	}
	u.failed("r2:1", errors.New("connection refused"))
	if _, down := u.down["r2:1"]; !down {
		t.Error("a parent that fails is not passed over")
	}
}
