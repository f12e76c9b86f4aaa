//go:build !zos

package consensus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pando/transport"
)

// TestGroupInVirtualTime puts the real library through cuts, one-way blocks, slow
// edges, crashes, stops in good order and restarts, in virtual time over a network in
// memory. Every command that was acknowledged must be everywhere, in one order;
// a linearizable read must see what was acknowledged before it began; and the
// group must lead again when the network is whole.
func TestGroupInVirtualTime(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				(&virtual{t: t, dir: dir, r: rand.New(rand.NewPCG(seed, 1)), size: 3 + 2*int(seed%2), net: transport.NewMemory()}).run()
			})
		})
	}
}

type virtual struct {
	t    *testing.T
	dir  string
	r    *rand.Rand // of the faults alone
	size int
	net  *transport.Memory
	g    *group

	mu    sync.Mutex
	acked []string
}

const (
	virtualSpan = 40 * time.Second // of faults
	calmSpan    = 20 * time.Second
	usualDelay  = 5 * time.Millisecond // of each edge; a fresh leader takes that long to know what is committed
)

func host(i int) string { return fmt.Sprint("h", i) }

// grow starts the group.
func (v *virtual) grow() {
	v.g = &group{t: v.t, dir: v.dir, members: make([]*member, v.size)}
	for i := range v.size {
		v.g.servers = append(v.g.servers, Server{ID: fmt.Sprint("root-", i), Addr: host(i) + ":1"})
	}
	v.heal()
	for i := range v.size {
		v.start(i)
	}
}

func (v *virtual) run() {
	v.grow()
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() { v.write(ctx, c) })
		clients.Go(func() { v.read(ctx, c) })
	}
	for end := time.Now().Add(virtualSpan); time.Now().Before(end); {
		v.harm()
	}
	v.heal()
	time.Sleep(calmSpan)
	stop()
	clients.Wait()
	v.check()
	v.g.stopAll()
	time.Sleep(time.Minute) // the library's last goroutines end
}

// start starts a member on its host.
func (v *virtual) start(i int) {
	network := v.net.Host(host(i))
	listener, err := network.Listen(v.g.servers[i].Addr)
	if err != nil {
		v.t.Fatal(err)
	}
	o := v.g.options(i)
	o.Dir = filepath.Join(v.dir, o.ID)
	o.SnapshotThreshold, o.SnapshotInterval, o.TrailingLogs = 64, time.Second, 32 // so that those who were away need one
	o.Listener = listener
	o.Dial = network.Dial
	m := &member{fsm: newLedger(), done: make(chan error, 1)}
	o.FSM = m.fsm
	if m.node, err = New(o); err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() { m.done <- m.node.Run(ctx) }()
	v.mu.Lock()
	v.g.members[i] = m
	v.mu.Unlock()
}

// harm does one harm for a while, and undoes it.
func (v *virtual) harm() {
	a := v.r.IntN(v.size)
	b := (a + 1 + v.r.IntN(v.size-1)) % v.size
	span := time.Duration(v.r.Int64N(int64(6 * time.Second)))
	switch v.r.IntN(5) {
	case 0:
		v.net.Cut(host(a), host(b))
	case 1:
		v.net.Block(host(a), host(b))
	case 2:
		for i := range v.size {
			if i != a {
				v.net.Cut(host(a), host(i))
			}
		}
	case 3:
		v.net.Delay(host(a), host(b), time.Duration(v.r.Int64N(int64(300*time.Millisecond))))
	case 4:
		v.end(a, v.r.IntN(2) == 0)
		time.Sleep(span)
		v.start(a)
		return
	}
	time.Sleep(span)
	if v.r.IntN(3) > 0 { // else it adds to the next one
		v.heal()
	}
}

// end stops a member, in good order or not; nobody asks it while it goes down.
func (v *virtual) end(i int, gracefully bool) {
	v.mu.Lock()
	m := v.g.members[i]
	v.g.members[i] = nil
	v.mu.Unlock()
	dying := &group{t: v.t, members: []*member{m}}
	if gracefully {
		dying.stop(0)
	} else {
		dying.kill(0)
	}
}

func (v *virtual) heal() {
	for i := range v.size {
		for k := range v.size {
			v.net.Heal(host(i), host(k))
			v.net.Delay(host(i), host(k), usualDelay)
		}
	}
}

func (v *virtual) member(i int) *member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.g.members[i%v.size]
}

// write proposes commands one after the other, each until it is acknowledged.
func (v *virtual) write(ctx context.Context, client int) {
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%d/%d", client, n)
		for at := client; ctx.Err() == nil; at++ {
			m := v.member(at)
			if m == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			within, cancel := context.WithTimeout(ctx, 3*time.Second)
			_, _, err := m.node.Propose(within, []byte(id))
			cancel()
			if err == nil {
				v.mu.Lock()
				v.acked = append(v.acked, id)
				v.mu.Unlock()
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// read asks members for linearizable reads: one that is granted sees all that
// was acknowledged before it was asked for.
func (v *virtual) read(ctx context.Context, client int) {
	for at := client; ctx.Err() == nil; at++ {
		v.mu.Lock()
		known := len(v.acked)
		v.mu.Unlock()
		if m := v.member(at); m != nil {
			within, cancel := context.WithTimeout(ctx, 3*time.Second)
			err := m.node.Linearizable(within)
			cancel()
			v.mu.Lock()
			for _, id := range v.acked[:known] {
				if err == nil && !m.fsm.has(id) {
					v.t.Errorf("member %d serves a read without %q", at%v.size, id)
					err = errKilled
				}
			}
			v.mu.Unlock()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// check compares the members once nothing is proposed any more.
func (v *virtual) check() {
	time.Sleep(time.Second)
	lead := 0
	want := v.g.members[0].fsm.sum()
	for i, m := range v.g.members {
		if got := m.fsm.sum(); got != want {
			v.t.Errorf("member %d has %s, member 0 %s", i, got, want)
		}
		for _, id := range v.acked {
			if !m.fsm.has(id) {
				v.t.Errorf("member %d misses %q, which was acknowledged", i, id)
				break
			}
		}
		if m.node.Stats().Ready {
			lead++
		}
	}
	if lead != 1 {
		v.t.Errorf("%d members lead after %v of calm", lead, calmSpan)
	}
	if len(v.acked) < 100 {
		v.t.Errorf("only %d commands were acknowledged", len(v.acked))
	}
	if err := v.g.members[0].node.Linearizable(context.Background()); err != nil && !errors.Is(err, ErrNotLeader) {
		v.t.Error(err)
	}
	v.t.Logf("%d commands acknowledged", len(v.acked))
}

// A leader that waits for a member whose host is gone stops in good order.
func TestLeaderStopsAlthoughAMemberIsOutOfReach(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		v := &virtual{t: t, dir: dir, size: 3, net: transport.NewMemory()}
		v.grow()
		lead := v.g.leader()
		away := (lead + 1) % v.size
		for i := range v.size {
			v.net.Cut(host(away), host(i))
		}
		time.Sleep(3 * time.Second)
		if !v.g.members[lead].node.Stats().Ready {
			t.Fatal("two of three have no leader")
		}
		v.end(lead, true)
		v.heal()
		v.g.stopAll()
		time.Sleep(time.Minute)
	})
}
