//go:build !zos

package consensus

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds every wait in these tests. None of them asserts a duration:
// it is only how long a broken build takes to say so.
const patience = 30 * time.Second

var errKilled = errors.New("killed by the test")

// ledger is a state machine that appends each command once, by its id, and
// hashes what it has.
type ledger struct {
	mu     sync.Mutex
	seen   map[string]uint64 // id → index at which it was applied
	count  uint64
	hash   [32]byte // over all ids in order
	last   At
	breaks func(cmd string) error // may panic
}

func newLedger() *ledger { return &ledger{seen: map[string]uint64{}} }

func (l *ledger) Apply(at At, cmd []byte) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.breaks != nil {
		if err := l.breaks(string(cmd)); err != nil {
			return nil, err
		}
	}
	if at.Index < l.last.Index || at.Index == l.last.Index && at.Item != l.last.Item+1 || at.Item >= at.Items {
		return nil, fmt.Errorf("%+v follows %+v", at, l.last)
	}
	l.last = at
	id := string(cmd)
	if _, again := l.seen[id]; !again {
		l.seen[id] = at.Index
		l.count++
		l.hash = sha256.Sum256(append(l.hash[:], id...))
	}
	return fmt.Sprintf("%s is applied", id), nil
}

func (l *ledger) sum() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d %s", l.count, hex.EncodeToString(l.hash[:8]))
}

func (l *ledger) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.seen[id]
	return ok
}

// snapshotBytes is the frozen state; a map copy is good enough here.
type snapshotBytes []byte

func (s snapshotBytes) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s)
	return int64(n), err
}

func (l *ledger) Freeze() io.WriterTo {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := binary.BigEndian.AppendUint64(nil, l.count)
	b = append(b, l.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, l.last.Index)
	b = binary.BigEndian.AppendUint64(b, uint64(l.last.Item))
	for id, at := range l.seen {
		b = binary.BigEndian.AppendUint64(b, at)
		b = binary.BigEndian.AppendUint64(b, uint64(len(id)))
		b = append(b, id...)
	}
	return snapshotBytes(b)
}

func (l *ledger) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	number := func() uint64 {
		n := binary.BigEndian.Uint64(b)
		b = b[8:]
		return n
	}
	l.seen, l.count = map[string]uint64{}, number()
	copy(l.hash[:], b)
	b = b[32:]
	l.last.Index, l.last.Item = number(), int(number())
	for len(b) > 0 {
		at, n := number(), number()
		l.seen[string(b[:n])] = at
		b = b[n:]
	}
	return nil
}

// member is one node with its state machine, running or not.
type member struct {
	node   *Node
	fsm    *ledger
	cancel context.CancelFunc
	done   chan error // Run's result
}

// group is a whole Raft group in this process, over loopback and real disks.
type group struct {
	t       testing.TB
	dir     string
	servers []Server
	tune    func(*Options)
	members []*member // nil while stopped
}

func newGroup(t testing.TB, size int, tune func(*Options)) *group {
	t.Helper()
	g := &group{t: t, dir: t.TempDir(), tune: tune, members: make([]*member, size)}
	listeners := make([]net.Listener, size)
	for i := range size {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
		g.servers = append(g.servers, Server{ID: fmt.Sprintf("root-%d", i), Addr: l.Addr().String()})
	}
	for i := range size {
		g.start(i, listeners[i])
	}
	t.Cleanup(g.stopAll)
	return g
}

func (g *group) options(i int) Options {
	o := DefaultOptions()
	o.ID, o.Dir = g.servers[i].ID, filepath.Join(g.dir, g.servers[i].ID)
	o.Bind = g.servers[i].Addr
	o.BootstrapExpect, o.Servers = len(g.servers), g.servers
	o.Logger = slog.New(slog.DiscardHandler)
	if os.Getenv("RAFT_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", o.ID)
	}
	if g.tune != nil {
		g.tune(&o)
	}
	return o
}

// start starts a member with the same options at the first time and ever
// after; listener may be nil.
func (g *group) start(i int, listener net.Listener) {
	g.t.Helper()
	m := &member{fsm: newLedger(), done: make(chan error, 1)}
	o := g.options(i)
	o.FSM = m.fsm
	o.Listener = listener
	node, err := New(o)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.node, m.cancel = node, cancel
	go func() { m.done <- node.Run(ctx) }()
	g.members[i] = m
}

// stop stops a member in good order.
func (g *group) stop(i int) {
	g.t.Helper()
	m := g.members[i]
	g.members[i] = nil
	m.cancel()
	if err := g.result(m); err != nil {
		g.t.Errorf("member %d did not stop in good order: %v", i, err)
	}
}

// kill stops a member as a crash does: no transfer of leadership, no waiting
// for what is in flight, connections cut.
func (g *group) kill(i int) {
	g.t.Helper()
	m := g.members[i]
	g.members[i] = nil
	m.node.fail(errKilled)
	if err := g.result(m); !errors.Is(err, errKilled) {
		g.t.Errorf("member %d: %v", i, err)
	}
	m.cancel()
}

func (g *group) result(m *member) error {
	g.t.Helper()
	select {
	case err := <-m.done:
		return err
	case <-time.After(patience):
		g.t.Fatal("Run does not return")
		return nil
	}
}

func (g *group) stopAll() {
	for i, m := range g.members {
		if m != nil {
			g.stop(i)
		}
	}
}

// eventually polls until ok.
func (g *group) eventually(what string, ok func() bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("in vain: %s", what)
		}
	}
}

// leader waits for a member that leads and serves reads.
func (g *group) leader() int {
	g.t.Helper()
	found := -1
	g.eventually("a leader", func() bool {
		for i, m := range g.members {
			if m != nil && m.node.Stats().Ready {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// submit proposes until somebody acknowledges, as a relay would: to whoever
// leads, and again when the outcome is unknown.
func (g *group) submit(ctx context.Context, id string) error {
	for n := 0; ctx.Err() == nil; n++ {
		m := g.members[n%len(g.members)]
		if m == nil {
			continue
		}
		result, index, err := m.node.Propose(ctx, []byte(id))
		switch {
		case err == nil && result == id+" is applied" && index > 0:
			return nil
		case err == nil:
			return fmt.Errorf("%s: got %v at index %d", id, result, index)
		case errors.Is(err, ErrNotLeader), errors.Is(err, ErrIndeterminate), errors.Is(err, ErrBusy), errors.Is(err, ErrStopped):
			time.Sleep(time.Millisecond)
		default:
			return err
		}
	}
	return ctx.Err()
}

// load runs submitters until all ids are acknowledged.
func (g *group) load(name string, clients, each int) *atomic.Int64 {
	acked := new(atomic.Int64)
	g.runLoad(name, clients, each, acked).Wait()
	return acked
}

func (g *group) runLoad(name string, clients, each int, acked *atomic.Int64) *sync.WaitGroup {
	// The members slice must not change under the submitters; they get the
	// pointers that are running now.
	frozen := &group{t: g.t, members: append([]*member(nil), g.members...)}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for i := range each {
				if err := frozen.submit(ctx, fmt.Sprintf("%s/%d/%d", name, c, i)); err != nil {
					g.t.Errorf("submit: %v", err)
					return
				}
				acked.Add(1)
			}
		})
	}
	return &wg
}

// agree waits until all running members have count commands, and checks that
// they have the same ones in the same order.
func (g *group) agree(count int) {
	g.t.Helper()
	prefix := fmt.Sprintf("%d ", count)
	want := ""
	for i, m := range g.members {
		if m == nil {
			continue
		}
		g.eventually(fmt.Sprintf("member %d holds %d commands", i, count), func() bool {
			s := m.fsm.sum()
			return len(s) > len(prefix) && s[:len(prefix)] == prefix
		})
		if got := m.fsm.sum(); want == "" {
			want = got
		} else if got != want {
			g.t.Errorf("member %d has %s, others %s", i, got, want)
		}
	}
}
