//go:build !zos

package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pando/internal/pack"
)

func eachStore(t *testing.T, test func(*testing.T, func(*Options))) {
	for _, store := range []Store{WAL, Bolt} {
		t.Run(string(store), func(t *testing.T) { test(t, func(o *Options) { o.Store = store }) })
	}
}

// The life of a group: load from many callers, the leader dies in the middle
// of it, another one leads, the dead one comes back with the same options and
// catches up. Nothing acknowledged is lost, nothing is applied twice, and all
// members apply the same in the same order.
func TestLeaderDiesUnderLoad(t *testing.T) {
	eachStore(t, func(t *testing.T, tune func(*Options)) {
		g := newGroup(t, 3, tune)
		first := g.leader()
		const clients, each = 64, 16
		acked := new(atomic.Int64)
		wg := g.runLoad("a", clients, each, acked)
		g.eventually("half of the load", func() bool { return acked.Load() > clients*each/2 })
		g.kill(first)
		wg.Wait()
		if second := g.leader(); second == first {
			t.Fatal("a dead member leads")
		}
		g.agree(clients * each)
		g.start(first, nil)
		g.agree(clients * each)
		g.load("b", 8, 10)
		g.agree(clients*each + 80)
	})
}

// A member that was away for longer than the log reaches back gets a
// snapshot, and a restarted one begins with its own.
func TestSnapshotCatchesUp(t *testing.T) {
	eachStore(t, func(t *testing.T, tune func(*Options)) {
		g := newGroup(t, 3, func(o *Options) {
			tune(o)
			o.TrailingLogs = 10
		})
		away := (g.leader() + 1) % 3
		g.load("a", 4, 25)
		g.agree(100)
		g.stop(away)
		g.load("b", 4, 50)
		for _, m := range g.members {
			if m != nil {
				if err := m.node.Snapshot(); err != nil {
					t.Fatal(err)
				}
			}
		}
		l := g.members[g.leader()].node
		if s := l.Stats(); s.FirstIndex < 50 || s.SnapshotIndex < s.FirstIndex {
			t.Fatalf("the log was not compacted: %+v", s)
		}
		g.start(away, nil)
		g.agree(300)
		g.eventually("a snapshot at the one that was away", func() bool { return g.members[away].node.Stats().SnapshotIndex > 0 })
		g.load("c", 4, 5)
		g.agree(320)
		g.stop(away)
		g.start(away, nil)
		g.agree(320)
	})
}

func TestFollowerNamesTheLeader(t *testing.T) {
	g := newGroup(t, 3, nil)
	lead := g.leader()
	follower := g.members[(lead+1)%3].node
	g.eventually("the follower knows the leader", func() bool { id, _, ok := follower.Leader(); return ok && id == g.servers[lead].ID })
	for name, err := range map[string]error{
		"propose": second(follower.Propose(t.Context(), []byte("x"))),
		"read":    follower.Linearizable(t.Context()),
	} {
		var e *NotLeaderError
		if !errors.As(err, &e) || e.ID != g.servers[lead].ID || e.Addr != g.servers[lead].Addr || !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s: %v, want the leader's id and address", name, err)
		}
	}
	if got := follower.Peers(); fmt.Sprint(got) != fmt.Sprint(g.servers) {
		t.Errorf("peers %v, want %v", got, g.servers)
	}
}

func second[A, B any](_ A, _ B, err error) error { return err }

// A read after an acknowledged write sees it, also right after an election,
// when the new leader has not applied yet what the old one acknowledged.
func TestReadsAreLinearizable(t *testing.T) {
	g := newGroup(t, 3, nil)
	for round := range 3 {
		lead := g.leader()
		id := fmt.Sprint("round ", round)
		if _, _, err := g.members[lead].node.Propose(t.Context(), []byte(id)); err != nil {
			t.Fatal(err)
		}
		if round == 1 {
			g.kill(lead)
		} else {
			g.stop(lead)
		}
		served := false
		g.eventually("a read is served", func() bool {
			for _, m := range g.members {
				if m == nil || m.node.Linearizable(t.Context()) != nil {
					continue
				}
				if !m.fsm.has(id) {
					t.Errorf("a linearizable read misses %q", id)
				}
				served = true
			}
			return served
		})
		g.start(lead, nil)
	}
	// Many readers share a round.
	lead := g.members[g.leader()].node
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if err := lead.Linearizable(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A leader that was cut off must refuse reads and leave writes undecided.
func TestCutOffLeaderServesNothing(t *testing.T) {
	g := newGroup(t, 3, nil)
	lead := g.leader()
	node := g.members[lead].node
	for i := range g.members {
		if i != lead {
			g.kill(i)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// At once, while it still believes that it leads: only the others can tell.
	if err := node.Linearizable(ctx); !errors.Is(err, ErrNotLeader) {
		t.Errorf("read in the moment in which the quorum is lost: %v", err)
	}
	_, _, err := node.Propose(ctx, []byte("x"))
	if !errors.Is(err, ErrIndeterminate) && !errors.Is(err, ErrNotLeader) {
		t.Errorf("propose without a quorum: %v", err)
	}
	if err := node.Linearizable(ctx); !errors.Is(err, ErrNotLeader) {
		t.Errorf("read without a quorum: %v", err)
	}
	leads := true // until the news has come
	g.eventually("the newest news of leadership is that it leads no more", func() bool {
		leads = newest(node.Leadership(), leads)
		return !leads
	})
}

// newest returns the newest value of a channel, or the last one that there was.
func newest(c <-chan bool, last bool) bool {
	for {
		select {
		case last = <-c:
		default:
			return last
		}
	}
}

// A stopped leader hands over: the others would wait ten minutes before they
// stood for election themselves. No proposal is left without an answer.
func TestGracefulStopHandsOver(t *testing.T) {
	g := newGroup(t, 3, nil)
	lead := g.leader()
	for i, m := range g.members {
		if i == lead {
			continue
		}
		// Two of three elect a leader, whether the third has begun or not.
		g.eventually("a member that has begun", func() bool { return m.node.raft.Load() != nil })
		c := m.node.raft.Load().ReloadableConfig()
		c.HeartbeatTimeout, c.ElectionTimeout = 10*time.Minute, 10*time.Minute
		if err := m.node.raft.Load().ReloadConfig(c); err != nil {
			t.Fatal(err)
		}
	}
	acked := new(atomic.Int64)
	wg := g.runLoad("a", 16, 40, acked)
	g.eventually("some load", func() bool { return acked.Load() > 100 })
	g.stop(lead)
	wg.Wait()
	if g.leader() == lead {
		t.Error("the stopped member leads")
	}
	g.agree(640)
}

func TestContextEndsAProposal(t *testing.T) {
	g := newGroup(t, 1, nil)
	node := g.members[g.leader()].node
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := node.Propose(ctx, []byte("x")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrIndeterminate) {
		t.Errorf("cancelled before: %v, want a clear no", err)
	}
	if _, _, err := node.Propose(t.Context(), make([]byte, MaxCommand+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, _, err := node.Propose(t.Context(), bytes.Repeat([]byte("y"), MaxCommand)); err != nil {
		t.Errorf("the largest command: %v", err)
	}
}

// Waiting commands are bounded in number and bytes; refused ones are told so
// at once.
func TestBusyIsSaidNotQueued(t *testing.T) {
	hold := make(chan struct{})
	g := newGroup(t, 1, func(o *Options) { o.MaxWaiting = 4 })
	m := g.members[g.leader()]
	m.fsm.mu.Lock() // Apply hangs from here on
	var busy, ok atomic.Int64
	var wg sync.WaitGroup
	for i := range maxInflight + 2*512 + 2000 {
		wg.Go(func() {
			<-hold
			switch _, _, err := m.node.Propose(t.Context(), fmt.Appendf(nil, "%d", i)); {
			case err == nil:
				ok.Add(1)
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(hold)
	g.eventually("a refusal", func() bool { return busy.Load() > 0 })
	m.fsm.mu.Unlock()
	wg.Wait()
	if ok.Load() == 0 {
		t.Error("nothing went through")
	}
}

// Members that find each other only later bootstrap then, all by themselves,
// and doing it again changes nothing.
func TestBootstrapWhenAllAreKnown(t *testing.T) {
	g := newGroup(t, 3, func(o *Options) { o.Servers = nil })
	for _, m := range g.members {
		g.eventually("raft runs", func() bool { return m.node.Stats().State == "Follower" })
		if m.node.Peers() != nil {
			t.Fatal("peers before bootstrap")
		}
		if err := m.node.Bootstrap(g.servers[:2]); err == nil {
			t.Error("bootstrap with too few was accepted")
		}
	}
	for i, m := range g.members {
		shuffled := append(append([]Server(nil), g.servers[i:]...), g.servers[:i]...)
		if err := m.node.Bootstrap(shuffled); err != nil {
			t.Fatal(err)
		}
	}
	g.load("a", 2, 5)
	g.agree(10)
	for _, m := range g.members {
		if err := m.node.Bootstrap(g.servers); err != nil {
			t.Error(err)
		}
	}
}

func TestRefusesTheOtherStoresFolder(t *testing.T) {
	g := newGroup(t, 1, nil)
	g.load("a", 1, 1)
	g.stop(0)
	o := g.options(0)
	o.FSM, o.Store = newLedger(), Bolt
	if n, err := New(o); err == nil || !strings.Contains(err.Error(), `"wal"`) {
		t.Errorf("a changed store: %v, %v; want a refusal", n, err)
	}
	g.start(0, nil)
	g.agree(1)
}

func TestNothingIsLeftBehind(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	g := newGroup(t, 3, nil)
	g.load("a", 8, 10)
	g.stopAll()
	goleak.VerifyNone(t, ignore)
}

func FuzzUnpackEntry(f *testing.F) {
	w := pack.NewWriter()
	f.Add(packEntry(w, [][]byte{[]byte("a"), nil, []byte("ccc")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		cmds, err := unpackEntry(b)
		if err != nil {
			return
		}
		again, err := unpackEntry(packEntry(w, cmds))
		if err != nil || len(again) != len(cmds) {
			t.Fatalf("%x reads back differently: %v", b, err)
		}
		for i := range cmds {
			if !bytes.Equal(cmds[i], again[i]) {
				t.Errorf("command %d differs", i)
			}
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	for _, store := range []Store{WAL, Bolt} {
		for _, clients := range []int{1, 128} {
			b.Run(fmt.Sprintf("%s/clients=%d", store, clients), func(b *testing.B) {
				g := newGroup(b, 3, func(o *Options) { o.Store = store })
				node := g.members[g.leader()].node
				var n atomic.Int64
				cmd := func() []byte {
					return append(fmt.Appendf(nil, "%d ", n.Add(1)), make([]byte, 256)...)
				}
				b.ResetTimer()
				var wg sync.WaitGroup
				var left atomic.Int64
				left.Store(int64(b.N))
				for range clients {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, _, err := node.Propose(context.Background(), cmd()); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}

// TestGoldenEntry pins the bytes of an entry: members of another version read
// it from their logs.
func TestGoldenEntry(t *testing.T) {
	got := fmt.Sprintf("%x", packEntry(pack.NewWriter(), [][]byte{[]byte("one"), nil, {7, 7}}))
	if want := "0193c4036f6e65c400c4020707"; got != want {
		t.Errorf("entry %s, want %s", got, want)
	}
}
