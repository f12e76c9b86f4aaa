//go:build !zos

package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pando/agent/input"
	"pando/internal/exact"
	"pando/internal/pack"
	"pando/relay"
	"pando/root"
	"pando/stream/cep/pattern"
	"pando/transport"
	"pando/tree/gossip"
)

// island is a node's network that can be cut off, with all its connections, as
// a process that is killed loses them: without a word.
type island struct {
	transport.Network
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (n *island) adopt(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return nil, errors.Join(errors.New("killed by the test"), c.Close())
	}
	n.conns = append(n.conns, c)
	return c, nil
}

func (n *island) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.adopt(n.Network.Dial(ctx, addr))
}

func (n *island) Listen(addr string) (net.Listener, error) {
	l, err := n.Network.Listen(addr)
	return &islandListener{l, n}, err
}

type islandListener struct {
	net.Listener
	n *island
}

func (l *islandListener) Accept() (net.Conn, error) {
	return l.n.adopt(l.Listener.Accept())
}

// wood is a tree of two tiers whose nodes a test kills while lines are written.
type wood struct {
	*testing.T
	*tree
	ctx     context.Context
	islands map[string]*island
	files   []*os.File
	written int // lines in each file
}

// killTree is how long a broken build takes to say so.
const killTree = 2 * time.Minute

func newWood(t *testing.T) *wood {
	dir := t.TempDir()
	w := &wood{T: t, islands: map[string]*island{}}
	var hosts []*host
	for n := range 4 {
		path := filepath.Join(dir, fmt.Sprintf("in%d.log", n))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		w.files = append(w.files, f)
		hosts = append(hosts, &host{name: fmt.Sprintf("host%d", n), sources: []*source{{spec: input.Spec{Name: "numbers", Type: input.TypeTail,
			Path: path, Pattern: `^(?P<n>\d+)`, Entity: fmt.Sprintf("app/%d", n), Signal: "number", Value: "{n}"}}}})
	}
	o := DefaultOptions()
	o.Tiers = MaxTiers
	o.network = func(node string) transport.Network {
		n := &island{Network: transport.TCP()}
		w.islands[node] = n
		return n
	}
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeout(context.Background(), killTree)
	t.Cleanup(cancel)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	if w.tree, err = plant(w.ctx, dir, o, hosts, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.tree.stop)
	return w
}

// write appends numbered lines to all files, slowly enough that what happens
// meanwhile happens in the middle of them.
func (w *wood) write(n int) {
	w.Helper()
	for range n {
		w.written++
		for _, f := range w.files {
			if _, err := fmt.Fprintln(f, w.written); err != nil {
				w.Error(err)
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// kill ends a node without a word to the others.
func (w *wood) kill(name string) {
	w.Helper()
	for i, m := range w.crew {
		if m.node.Name() == name {
			n := w.islands[filepath.Base(name)]
			n.mu.Lock()
			n.dead = true
			for _, c := range n.conns {
				_ = c.Close()
			}
			n.mu.Unlock()
			m.stop()
			w.crew = slices.Delete(w.crew, i, i+1)
			return
		}
	}
	w.Fatalf("no node %s", name)
}

// settled waits until the root holds each line once.
func (w *wood) settled() {
	w.Helper()
	sum := exact.FromInt(int64(w.written) * int64(w.written+1) / 2).String()
	err := w.await(w.ctx, "every line is settled", killTree, func() error {
		leader, err := w.leader()
		if err != nil {
			return err
		}
		series, err := leader.Series(w.ctx, false)
		if err != nil {
			return err
		}
		right := 0
		for _, s := range series {
			if s.Signal != "number" {
				continue
			}
			if s.Count > uint64(w.written) {
				w.Fatalf("%s: %d lines are settled, %d were written", s.Entity, s.Count, w.written)
			}
			if s.Count == uint64(w.written) {
				if s.SumExact != sum {
					w.Fatalf("%s: the numbers add up to %s, want %s: some are lost and some doubled", s.Entity, s.SumExact, sum)
				}
				right++
			}
		}
		if right < len(w.files) {
			return fmt.Errorf("%d of %d files", right, len(w.files))
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// patterned puts a set of one pattern in force, and waits until every relay that
// is up has it, whatever parent it came to.
func (w *wood) patterned(name string) {
	w.Helper()
	set, err := pattern.Compile(&pattern.File{Patterns: []pattern.Pattern{{Name: name, Key: []string{"entity"}, Within: time.Minute,
		Steps: []pattern.Step{{Name: "never", When: `signal == "never"`}}}}})
	if err != nil {
		w.Fatal(err)
	}
	body := pack.NewWriter()
	set.Append(body)
	var applied root.AppliedPatterns
	err = w.await(w.ctx, "patterns are in force at the roots", killTree, func() error {
		leader, err := w.leader()
		if err == nil {
			applied, err = leader.ApplyPatterns(w.ctx, body.Bytes(), false)
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	err = w.await(w.ctx, "relays have the patterns", killTree, func() error {
		for _, r := range slices.Concat(w.uppers, w.relays) {
			if l := r.Patterns(); l.Version != applied.Version || l.Patterns[0].Name != name || !l.Patterns[0].Here {
				return fmt.Errorf("%s has version %d, in force is %d", r.Name(), l.Version, applied.Version)
			}
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// Relays of the second tier are killed and restarted, the leading root is, and
// one relay of the second tier for good, while agents two tiers below write:
// each line is settled once.
func TestEveryLineCountsOnceThroughTwoTiers(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole tree")
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("tree", func(t *testing.T) {
		w := newWood(t)
		var writing sync.WaitGroup
		meanwhile := func(f func()) {
			writing.Go(func() { w.write(500) })
			f()
			writing.Wait()
			w.settled()
		}
		parent := w.relays[0].Status().Parent
		first := slices.IndexFunc(w.uppers, func(r *relay.Relay) bool { return r.Name() == parent })
		if first < 0 {
			t.Fatalf("%s is below %q", w.relays[0].Name(), parent)
		}
		old := w.uppers[first]
		other := w.uppers[1-first]
		w.patterned("before")
		meanwhile(func() {
			w.kill(old.Name())
			w.uppers = []*relay.Relay{other}
		})
		w.patterned("between") // also to the relay whose parent was its standby
		if now := w.relays[0].Status().Parent; now != other.Name() {
			t.Errorf("%s was killed, its child is below %q", old.Name(), now)
		}
		meanwhile(func() {
			leader, err := w.leader()
			if err != nil {
				t.Fatal(err)
			}
			w.kill(leader.Name())
		})
		meanwhile(func() {
			var parents []string
			for _, r := range w.roots {
				parents = append(parents, r.Addr())
			}
			pool := gossip.DefaultOptions()
			pool.Pool, pool.Keys = w.top, [][]byte{gossip.NewKey()} // it is alone
			name := nth("top", first)
			for _, f := range []string{name + ".pem", name + "-key.pem"} { // it gets new ones
				if err := os.Remove(filepath.Join(w.authority.dir, f)); err != nil {
					t.Error(err)
				}
			}
			again, err := w.plantRelay(w.top, name, old.Addr(), parents, pool)
			if err != nil {
				t.Error(err)
				return
			}
			w.kill(other.Name())
			w.uppers = []*relay.Relay{again}
		})
		if now := w.relays[0].Status().Parent; now != old.Name() {
			t.Errorf("%s is left alone, the child is below %q", old.Name(), now)
		}
		w.patterned("after")
	})
}
