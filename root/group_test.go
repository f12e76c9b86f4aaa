//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pando/transport"
	"pando/transport/ca"
	"pando/tree/wire"
)

// TestMain fails if goroutines outlive the tests, but for those that wait for a
// future which the library left unanswered when it was shut down.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"))
}

// patience bounds every wait in these tests. None of them asserts a duration:
// it is only how long a broken build takes to say so.
const patience = 30 * time.Second

// credentials issues a certificate by the authority in dir.
func credentials(t testing.TB, dir string, id transport.Identity) *transport.Credentials {
	t.Helper()
	cert, key, err := ca.Issue(dir, id, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, string(id.Role)+"-"+id.Name)
	if err := ca.Save(base+".pem", base+"-key.pem", cert, key); err != nil {
		t.Fatal(err)
	}
	c, err := transport.LoadCredentials(transport.Files{CA: filepath.Join(dir, ca.CertFile), Cert: base + ".pem", Key: base + "-key.pem"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// group is three roots in this process, over real sockets and certificates.
type group struct {
	t       testing.TB
	dir     string
	ca      string
	creds   []*transport.Credentials
	mu      sync.RWMutex // guards roots against who reads them by at
	roots   []*Root
	islands []*island
	stop    []func() error
	done    []chan error // what Run returned
	servers []Server
	relays  map[string]*transport.Credentials
	tune    func(i int, o *Options) // may be nil
}

func newGroup(t testing.TB) *group {
	t.Helper()
	return newTunedGroup(t, nil)
}

func newTunedGroup(t testing.TB, tune func(i int, o *Options)) *group {
	t.Helper()
	g := &group{t: t, dir: t.TempDir(), ca: t.TempDir(), relays: map[string]*transport.Credentials{}, tune: tune}
	if err := ca.Init(g.ca, "test.example", time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		g.open(g.another())
	}
	g.start()
	t.Cleanup(func() { g.stopAll() })
	return g
}

// another gives one more root its certificate and network, and returns its
// number.
func (g *group) another() int {
	g.t.Helper()
	i := len(g.roots)
	g.creds = append(g.creds, credentials(g.t, g.ca, transport.Identity{Role: transport.RoleRoot, Region: "core", Name: fmt.Sprintf("root-%d", i+1)}))
	g.islands = append(g.islands, newIsland())
	g.roots, g.stop, g.done = append(g.roots, nil), append(g.stop, nil), append(g.done, nil)
	return i
}

func (g *group) open(i int) {
	g.t.Helper()
	o := DefaultOptions()
	o.Dir, o.Credentials, o.Network, o.Listen = g.data(i), g.creds[i], g.islands[i], "127.0.0.1:0"
	o.TickEvery, o.PromoteAfter = 20*time.Millisecond, 100*time.Millisecond
	o.Raft.BootstrapExpect = 3
	o.Raft.HeartbeatTimeout, o.Raft.ElectionTimeout, o.Raft.LeaseTimeout = 200*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	o.Raft.Dial = g.islands[i].Dial
	if g.tune != nil {
		g.tune(i, &o)
	}
	var err error
	if o.Raft.Listener, err = g.islands[i].Listen("127.0.0.1:0"); err != nil {
		g.t.Fatal(err)
	}
	r, err := New(o)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roots[i] = r
}

// at returns a root, to whoever runs beside the test.
func (g *group) at(i int) *Root {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.roots[i]
}

func (g *group) data(i int) string { return filepath.Join(g.dir, fmt.Sprintf("root-%d", i+1)) }

// start runs all roots.
func (g *group) start() {
	g.t.Helper()
	g.servers = nil
	for _, r := range g.roots {
		g.servers = append(g.servers, Server{Name: r.Name(), Raft: r.RaftAddr(), Addr: r.Addr()})
	}
	for i, r := range g.roots {
		if err := r.SetServers(g.servers); err != nil {
			g.t.Fatal(err)
		}
		g.run(i)
	}
}

func (g *group) run(i int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	g.done[i] = done
	go func() { done <- g.roots[i].Run(ctx) }()
	g.stop[i] = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

// ended waits until a root has stopped by itself, and returns why.
func (g *group) ended(i int) error {
	g.t.Helper()
	select {
	case err := <-g.done[i]:
		g.stop[i] = func() error { return nil }
		return err
	case <-time.After(patience):
		g.t.Fatalf("root %d does not stop", i+1)
		return nil
	}
}

// place is where a root is now.
func (g *group) place(i int) Server {
	return Server{Name: g.roots[i].Name(), Raft: g.roots[i].RaftAddr(), Addr: g.roots[i].Addr()}
}

// join starts one more root, which knows the group and waits to be added. The
// group has not heard of it.
func (g *group) join() int {
	g.t.Helper()
	i := g.another()
	g.open(i)
	if err := g.roots[i].SetServers(g.servers); err != nil {
		g.t.Fatal(err)
	}
	g.run(i)
	return i
}

// stopAll stops the followers after the leader, as an operator would.
func (g *group) stopAll() {
	for _, n := range g.islands {
		n.setStalled(false)
	}
	for range g.roots {
		for i, r := range g.roots {
			if r.Leading() {
				g.stopped(i)
			}
		}
	}
	for i := range g.roots {
		g.stopped(i)
	}
}

func (g *group) stopped(i int) {
	if err := g.stop[i](); err != nil {
		g.t.Errorf("root %d: %v", i+1, err)
	}
}

// eventually polls until ok.
func (g *group) eventually(what string, ok func() bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// leader waits for a leader other than those given, known to all the rest.
func (g *group) leader(except ...int) int {
	g.t.Helper()
	leader := -1
	g.eventually("a leader", func() bool {
		leader = -1
		for i, r := range g.roots {
			if r.Leading() && !contains(except, i) {
				leader = i
			}
		}
		for i, r := range g.roots {
			if leader >= 0 && !contains(except, i) && r.Leader() != g.roots[leader].Name() {
				return false
			}
		}
		return leader >= 0
	})
	return leader
}

func contains(list []int, i int) bool {
	for _, x := range list {
		if x == i {
			return true
		}
	}
	return false
}

// relay is a session as a relay has it.
type relay struct {
	g    *group
	name string
	s    *transport.Session
}

// relay connects by way of a root, following redirects.
func (g *group) relay(name string, via int) *relay {
	g.t.Helper()
	if g.relays[name] == nil {
		g.relays[name] = credentials(g.t, g.ca, transport.Identity{Role: transport.RoleRelay, Region: "eu", Name: name})
	}
	o := transport.DefaultOptions()
	o.Credentials = g.relays[name]
	addr := g.servers[via].Addr
	session := uint64(0)
	var s *transport.Session
	g.eventually("a session of relay "+name, func() bool {
		session++
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var err error
		s, err = transport.Dial(ctx, addr, transport.Hello{Term: transport.Term{Epoch: uint64(time.Now().UnixNano()), Session: session}}, o)
		var redirect *transport.RedirectError
		if errors.As(err, &redirect) {
			addr = redirect.Addr
		}
		return err == nil
	})
	g.t.Cleanup(func() { s.Close("test ends") })
	return &relay{g: g, name: "eu/" + name, s: s}
}

// at is the root that the relay is connected to.
func (r *relay) at() string { return r.s.Peer().Node() }

// ask sends a request and reads the answer of its kind.
func (r *relay) ask(lane transport.Lane, m wire.Message, kind uint8, answer wire.Message) {
	r.g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.s.Send(ctx, lane, wire.Encode(m)); err != nil {
		r.g.t.Fatalf("%s: %v", r.name, err)
	}
	for {
		got, err := r.s.ReceiveControl(ctx)
		if err != nil {
			r.g.t.Fatalf("%s: %v", r.name, err)
		}
		if got.Kind != kind {
			continue
		}
		if err := wire.Decode(got.Body, answer); err != nil {
			r.g.t.Fatalf("%s: %v", r.name, err)
		}
		return
	}
}

func (r *relay) claim(m wire.Claim) wire.ClaimAnswer {
	r.g.t.Helper()
	var a wire.ClaimAnswer
	r.ask(transport.LaneCritical, &m, wire.KindClaimAnswer, &a)
	return a
}

func (r *relay) digest(id uint64, sections ...wire.Section) wire.DigestAnswer {
	r.g.t.Helper()
	m := wire.Digest{ID: id}
	for i := range sections {
		m.Sections = append(m.Sections, wire.EncodeSection(&sections[i]))
	}
	var a wire.DigestAnswer
	r.ask(transport.LaneBulk, &m, wire.KindDigestAnswer, &a)
	if a.ID != id || len(a.Judgements) != len(sections) {
		r.g.t.Fatalf("%s: digest %d of %d sections is answered by %+v", r.name, id, len(sections), a)
	}
	return a
}
