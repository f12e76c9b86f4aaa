//go:build !zos

package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

// TestMain fails if goroutines outlive the tests. The library's probes end
// only at their own deadlines, of some seconds, so they are given longer than
// goleak gives by itself.
func TestMain(m *testing.M) {
	code := m.Run()
	for range 20 {
		err := goleak.Find()
		if err == nil {
			os.Exit(code)
		}
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

var (
	keyA = bytes.Repeat([]byte{0xaa}, keySize)
	keyB = bytes.Repeat([]byte{0xbb}, keySize)
)

// node is a running pool of a test.
type node struct {
	*Pool
	registry *prometheus.Registry
	done     chan error // what Run returned
	stop     func()     // ends Run gracefully and waits for it
}

// start runs a pool named name. The node ends with the test, if not before.
func start(t *testing.T, name string, change ...func(*Options)) *node {
	t.Helper()
	opts := DefaultOptions()
	opts.Pool, opts.Node = "test", name
	opts.Keys = [][]byte{keyA}
	opts.Meta = Meta{Role: Relay, Region: "eu", Addr: name + ":7000", Weight: 100}
	registry := prometheus.NewRegistry()
	opts.Registerer = registry
	for _, c := range change {
		c(&opts)
	}
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{Pool: p, registry: registry, done: make(chan error, 1)}
	go func() { n.done <- p.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-n.done; err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func seeds(addrs ...string) func(*Options) { return func(o *Options) { o.Seeds = addrs } }
func keys(keys ...[]byte) func(*Options)   { return func(o *Options) { o.Keys = keys } }
func on(n *network, addr string) func(*Options) {
	return func(o *Options) { o.transport = n.attach(addr) }
}

func (n *node) names() string {
	var names []string
	for _, m := range n.Members() {
		names = append(names, m.Name)
	}
	return strings.Join(names, " ")
}

// sees waits for the node to have exactly these members. Outside a bubble it
// relies on Changes, so it also shows that no change is missed.
func (n *node) sees(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for n.names() != want {
		select {
		case <-n.Changes():
		case <-timeout:
			t.Fatalf("%s sees %q, want %q", n.opts.Node, n.names(), want)
		}
	}
}

// count is the value of one of the node's counters or gauges.
func (n *node) count(t *testing.T, metric, label string) float64 {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == metric && l.GetValue() == label {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return 0
}

func (n *node) refused(t *testing.T, reason string) float64 {
	t.Helper()
	return n.count(t, "pando_gossip_refused_total", reason)
}

func TestFivePoolsFindEachOther(t *testing.T) {
	first := start(t, "n1")
	nodes := []*node{first}
	for i := 2; i <= 5; i++ {
		nodes = append(nodes, start(t, fmt.Sprintf("n%d", i), seeds(first.Addr())))
	}
	for _, n := range nodes {
		n.sees(t, "n1 n2 n3 n4 n5")
	}
	for _, m := range nodes[4].Members() {
		if m.Self != (m.Name == "n5") || m.Meta.Addr != m.Name+":7000" || m.Addr == "" {
			t.Errorf("member %+v", m)
		}
	}
	if got := first.count(t, "pando_gossip_members", "test"); got != 5 {
		t.Errorf("members metric is %v, want 5", got)
	}

	draining := nodes[1].opts.Meta
	draining.Weight = 0
	if err := nodes[1].UpdateMeta(draining); err != nil {
		t.Fatal(err)
	}
	timeout := time.After(time.Minute)
	for nodes[4].Members()[1].Meta != draining {
		select {
		case <-nodes[4].Changes():
		case <-timeout:
			t.Fatal("the new meta did not arrive")
		}
	}

	nodes[2].stop() // says goodbye, so nobody needs to find out
	for _, i := range []int{0, 1, 3, 4} {
		nodes[i].sees(t, "n1 n2 n4 n5")
	}
}

func TestStrangersStayOutAndAreCounted(t *testing.T) {
	inside := start(t, "inside")
	for _, stranger := range []struct {
		reason string
		change func(*Options)
	}{
		{reasonKey, keys(keyB)},
		{reasonLabel, func(o *Options) { o.Pool = "other" }},
	} {
		n := start(t, "stranger-"+stranger.reason, seeds(inside.Addr()), stranger.change)
		awaitCount(t, n, "pando_gossip_joins_total", "failed")
		if inside.refused(t, stranger.reason) == 0 {
			t.Errorf("the stranger was not counted under %q", stranger.reason)
		}
		n.stop()
	}

	conn, err := net.Dial("tcp", inside.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "\xf4\x04test\x06 plain text behind the right label")
	awaitCount(t, inside, "pando_gossip_refused_total", reasonPlaintext)

	udp, err := net.Dial("udp", inside.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	before := inside.refused(t, reasonKey)
	for inside.refused(t, reasonKey) == before {
		fmt.Fprintf(udp, "\xf4\x04test\x01 a packet of noise, long enough to be taken for a sealed one")
		time.Sleep(10 * time.Millisecond)
	}
	if got := inside.names(); got != "inside" {
		t.Errorf("members are %q", got)
	}
}

func awaitCount(t *testing.T, n *node, metric, label string) {
	t.Helper()
	for range 6000 {
		if n.count(t, metric, label) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s{%s} stayed at 0 for a minute", metric, label)
}

func TestTrafficFromOtherNetworksIsDropped(t *testing.T) {
	inside := start(t, "inside", func(o *Options) { o.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, func(o *Options) {
		o.transport = newNetwork().attach("10.0.0.1:1")
	})
	g := &guard{allowed: inside.opts.Networks, refusals: inside.roster.refusals}
	for addr, want := range map[string]bool{"10.1.2.3:4": true, "11.0.0.1:4": false, "[::ffff:10.0.0.9]:4": true, "[fe80::1%eth0]:4": false} {
		if got := g.allows(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got != want {
			t.Errorf("%s allowed is %v, want %v", addr, got, want)
		}
	}
	if got := inside.refused(t, reasonNetwork); got != 2 {
		t.Errorf("%v refusals counted, want 2", got)
	}
}

// The library alone stays split for ever.
func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wires := newNetwork()
		var nodes []*node
		for i := 1; i <= 6; i++ {
			nodes = append(nodes, start(t, fmt.Sprintf("n%d", i), on(wires, fmt.Sprintf("10.0.0.%d:1", i)), seeds("10.0.0.1:1")))
		}
		time.Sleep(10 * time.Second)
		for _, n := range nodes {
			n.sees(t, "n1 n2 n3 n4 n5 n6")
		}
		// The seed is on one side only, and dead members are forgotten by the
		// library after half a minute.
		wires.partition("10.0.0.4:1", "10.0.0.5:1", "10.0.0.6:1")
		time.Sleep(5 * time.Minute)
		nodes[0].sees(t, "n1 n2 n3")
		nodes[5].sees(t, "n4 n5 n6")
		wires.partition()
		time.Sleep(time.Minute)
		for _, n := range nodes {
			if n.names() != "n1 n2 n3 n4 n5 n6" {
				t.Errorf("a minute after the partition %s sees %q", n.opts.Node, n.names())
			}
		}
		stopAll(nodes)
	})
}

// stopAll ends the nodes inside the bubble they live in, and lets the
// library's last goroutines notice.
func stopAll(nodes []*node) {
	for _, n := range nodes {
		n.stop()
	}
	time.Sleep(10 * time.Second)
}

func TestRestartNeedsOnlyTheStateFile(t *testing.T) {
	state := filepath.Join(t.TempDir(), "gossip.state")
	synctest.Test(t, func(t *testing.T) {
		wires := newNetwork()
		keep := func(o *Options) { o.StateFile = state }
		seed := start(t, "seed", on(wires, "10.0.0.1:1"))
		other := start(t, "other", on(wires, "10.0.0.2:1"), seeds("10.0.0.1:1"))
		again := start(t, "again", on(wires, "10.0.0.3:1"), seeds("10.0.0.1:1"), keep)
		time.Sleep(10 * time.Second)
		again.sees(t, "again other seed")

		again.Close() // a crash: without a word, and the seed goes for good
		again.stop()
		seed.stop()
		time.Sleep(time.Minute)
		other.sees(t, "other")

		again = start(t, "again", on(wires, "10.0.0.4:1"), seeds("10.0.0.1:1"), keep) // at a new address
		time.Sleep(time.Minute)
		again.sees(t, "again other")
		other.sees(t, "again other")
		stopAll([]*node{other, again})
	})
}

func TestDeathIsSeenWithinSecondsAndAFarewellAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wires := newNetwork()
		var nodes []*node
		for i := 1; i <= 5; i++ {
			nodes = append(nodes, start(t, fmt.Sprintf("n%d", i), on(wires, fmt.Sprintf("10.0.0.%d:1", i)), seeds("10.0.0.1:1")))
		}
		time.Sleep(10 * time.Second)
		// Virtual time: the spans below do not depend on the machine.
		until := func(want string) time.Duration {
			began := time.Now()
			for nodes[0].names() != want {
				<-nodes[0].Changes()
			}
			return time.Since(began)
		}
		go nodes[3].stop()
		if took := until("n1 n2 n3 n5"); took > time.Second { // a suspicion lasts longer
			t.Errorf("the farewell was heard after %v", took)
		}
		nodes[4].Close()
		if took := until("n1 n2 n3"); took > 10*time.Second {
			t.Errorf("the death was seen after %v", took)
		}
		back := start(t, "n5", on(wires, "10.0.0.55:1"), seeds("10.0.0.1:1"))
		if took := until("n1 n2 n3 n5"); took > 10*time.Second {
			t.Errorf("the name was given back at another address after %v", took)
		}
		stopAll(append(nodes, back))
	})
}

func TestKeyRotationLosesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wires := newNetwork()
		var nodes []*node
		for i := 1; i <= 3; i++ {
			nodes = append(nodes, start(t, fmt.Sprintf("n%d", i), on(wires, fmt.Sprintf("10.0.0.%d:1", i)), seeds("10.0.0.1:1")))
		}
		time.Sleep(10 * time.Second)
		for _, step := range [][][]byte{{keyA, keyB}, {keyB, keyA}, {keyB}} {
			for _, n := range nodes {
				if err := n.SetKeys(step); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second) // exchanges go on in mixed company
			}
			for _, n := range nodes {
				n.sees(t, "n1 n2 n3")
				if refused := n.refused(t, reasonKey); refused != 0 {
					t.Errorf("%s refused %v messages during the rotation", n.opts.Node, refused)
				}
			}
		}
		late := start(t, "late", on(wires, "10.0.0.9:1"), seeds("10.0.0.1:1")) // still has the old key
		time.Sleep(time.Minute)
		late.sees(t, "late")
		nodes[0].sees(t, "n1 n2 n3")
		if nodes[0].refused(t, reasonKey) == 0 {
			t.Error("the old key's messages were not counted")
		}
		stopAll(append(nodes, late))
	})
}

func TestMetaThatIsTooLongIsRefused(t *testing.T) {
	n := start(t, "n1")
	long := n.opts.Meta
	long.API, long.Raft = strings.Repeat("a", 250), strings.Repeat("b", 250) // each allowed, not both
	if err := n.UpdateMeta(long); !errors.Is(err, ErrMeta) || !strings.Contains(err.Error(), "512") {
		t.Errorf("update with a long meta: %v", err)
	}
	opts := n.opts
	opts.Meta, opts.Registerer = long, nil
	if _, err := New(opts); !errors.Is(err, ErrMeta) {
		t.Errorf("new pool with a long meta: %v", err)
	}
	if got := n.Members()[0].Meta; got != n.opts.Meta {
		t.Errorf("meta is now %+v", got)
	}
}

func TestAfterTheEndEveryCallSaysSo(t *testing.T) {
	n := start(t, "n1")
	n.stop()
	if err := n.UpdateMeta(n.opts.Meta); !errors.Is(err, ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if err := n.SetKeys([][]byte{keyB}); !errors.Is(err, ErrClosed) {
		t.Errorf("set keys: %v", err)
	}
	if err := n.Run(context.Background()); err == nil {
		t.Error("a second run was allowed")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	again, err := New(n.opts) // its metrics and its name are free again
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestOptionsNameEveryFault(t *testing.T) {
	opts := DefaultOptions()
	opts.Bind = "localhost:0"
	opts.Seeds = []string{"no-port"}
	opts.RejoinEvery = 0
	_, err := New(opts)
	for _, part := range []string{"pool name", "node name", "bind", "keys", "seed", "region", "rejoin"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error does not name the %s: %v", part, err)
		}
	}
	opts.Bind = "0.0.0.0:0"
	if _, err := New(opts); !strings.Contains(err.Error(), "set advertise") {
		t.Errorf("a wildcard without advertise: %v", err)
	}
}
