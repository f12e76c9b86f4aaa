//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pando/event"
	"pando/root/consensus"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/wire"
)

// The linearizability of a real group under faults. Each WAL id is one key
// with a short history of its own: clients claim it, settle sections of it and
// read it, each through a root of its own. A request is tried once. One that
// certainly did not happen is no part of the history; one whose outcome is
// unknown may take effect at any time after it began, or never.

// history collects the operations on one key.
type history struct {
	unit  event.Unit
	start time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

func newHistory(wal event.WALID) *history {
	return &history{unit: critical(fmt.Sprintf("eu/a%d", wal), wal), start: time.Now()}
}

// add notes an operation that began at from and ends now.
func (h *history) add(client int, in unitInput, from time.Duration, out unitOutput) {
	op := porcupine.Operation{ClientId: client, Input: in, Call: int64(from), Output: out, Return: int64(time.Since(h.start))}
	if out.unknown {
		op.Return = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// checkLimit bounds the check of one history; those here take milliseconds.
const checkLimit = 20 * time.Second

func (h *history) check() porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(unitModel(), h.ops, checkLimit)
}

// once tries a request one time, through one root.
func once(ctx context.Context, r *Root, relay string, fill func(id uint64) transport.Message) (m transport.Message, happened, unknown bool) {
	q := r.newRequest(relay, fill)
	m, err := r.here(ctx, q)
	if errors.Is(err, consensus.ErrNotLeader) {
		if m, err = r.link.call(ctx, q); errors.Is(err, ErrNoLeader) {
			return m, false, false
		}
		return m, err == nil, err != nil
	}
	certain := errors.Is(err, consensus.ErrBusy) || errors.Is(err, consensus.ErrStopped)
	return m, err == nil, err != nil && !certain
}

// attempt does one operation and notes it.
func (h *history) attempt(r *Root, client int, in unitInput) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	from := time.Since(h.start)
	out, happened := unitOutput{}, false
	switch in.op {
	case opClaim:
		out, happened = h.claim(ctx, r, in)
	case opSettle:
		out, happened = h.settle(ctx, r, in)
	default:
		out, happened = h.read(ctx, r, false)
	}
	if happened {
		h.add(client, in, from, out)
	}
}

func (h *history) claim(ctx context.Context, r *Root, in unitInput) (out unitOutput, happened bool) {
	m, happened, unknown := once(ctx, r, in.relay, func(id uint64) transport.Message {
		return wire.Encode(&wire.Claim{ID: id, Origin: h.unit.Origin, WAL: h.unit.WAL, Term: in.term, Opened: 1})
	})
	var a wire.ClaimAnswer
	if !happened || wire.Decode(m.Body, &a) != nil {
		return unitOutput{unknown: true}, unknown
	}
	return unitOutput{granted: a.Granted, owner: unitState{settled: a.Settled[h.unit.Lane]}}, true
}

func (h *history) settle(ctx context.Context, r *Root, in unitInput) (out unitOutput, happened bool) {
	sec := section(in.relay, h.unit, in.term, in.from, in.to)
	m, happened, unknown := once(ctx, r, in.relay, func(id uint64) transport.Message {
		return wire.Encode(&wire.Digest{ID: id, Sections: encoded(sec)})
	})
	var a wire.DigestAnswer
	if !happened || wire.Decode(m.Body, &a) != nil || len(a.Judgements) != 1 {
		return unitOutput{unknown: true}, unknown
	}
	return unitOutput{verdict: a.Judgements[0].Verdict, owner: unitState{settled: a.Judgements[0].Settled}}, true
}

func (h *history) read(ctx context.Context, r *Root, stale bool) (unitOutput, bool) {
	v, err := r.read(ctx, stale)
	if err != nil {
		return unitOutput{}, false // a read has no effect
	}
	u, ok := v.units.Get(h.unit)
	if !ok {
		return unitOutput{}, true
	}
	return unitOutput{owner: unitState{u.owner.Term, u.owner.Relay, u.owner.Settled}}, true
}

// client works on one key through one root until ctx ends: one that fights for
// the unit under a name of its own, settles what it believes comes next, and
// reads.
func (h *history) client(ctx context.Context, rng *rand.Rand, number int, root func() *Root, budget int) {
	relay := fmt.Sprintf("eu/r%d", number)
	session, next := uint64(0), uint64(1)
	held := custody.Term{}
	for range budget {
		in := unitInput{op: opRead, relay: relay}
		switch rng.IntN(8) {
		case 0:
			session += 1 + rng.Uint64N(3)
			held = term(1, session)
			in.op, in.term = opClaim, held
		case 1, 2, 3, 4:
			in.op, in.term, in.from, in.to = opSettle, held, next, next+rng.Uint64N(3)
		}
		h.attempt(root(), number, in)
		next = h.known(next)
		if !pause(ctx, time.Duration(1+rng.IntN(20))*time.Millisecond) {
			return
		}
	}
}

// known guesses what comes next, from what anybody has seen.
func (h *history) known(next uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := max(len(h.ops)-4, 0); i < len(h.ops); i++ {
		next = max(next, h.ops[i].Output.(unitOutput).owner.settled+1)
	}
	return next
}

// TestLinearizable lets clients work through all three roots while the leader
// dies, is restarted, stalled, cut off, both ways or one, or replaced, a follower
// stalls, and all three are apart, and checks every history.
func TestLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	g := newGroup(t)
	nemeses := []struct {
		name   string
		strike func()
	}{
		{"the leader restarts", func() { g.restart(g.leader(), nil) }},
		{"the leader is cut off", func() {
			leader := g.leader()
			g.islands[leader].setCut(true)
			g.leader(leader)
			g.islands[leader].setCut(false)
		}},
		{"leadership is transferred", func() {
			if r := g.at(g.leader()); r.Leading() {
				_, err := r.TransferLeadership(within(t), "")
				t.Logf("transfer: %v", err)
			}
		}},
		{"a follower stalls", func() { g.whileAway((g.leader()+1+rng.IntN(2))%3, (*island).setStalled) }},
		{"the leader stalls", func() { g.whileAway(g.leader(), (*island).setStalled) }},
		{"the leader hears nothing", func() { g.whileAway(g.leader(), (*island).setDeaf) }},
		{"the leader is not heard", func() { g.whileAway(g.leader(), (*island).setMute) }},
		{"the leader dies", func() { // nobody hears of it, and nothing is handed over
			leader := g.leader()
			g.islands[leader].setCut(true)
			g.restart(leader, func() { g.islands[leader].setCut(false) })
		}},
		{"each is alone", func() {
			leader := g.leader()
			for i := range g.islands {
				g.islands[i].setCut(true)
			}
			pause(t.Context(), 500*time.Millisecond)
			if r := g.at(leader); r.Leading() {
				t.Error("a root that is alone leads after half a second")
			}
			for i := range g.islands {
				g.islands[i].setCut(false)
			}
		}},
	}
	wal := event.WALID(1)
	for range 2 {
		for _, i := range rng.Perm(len(nemeses)) {
			t.Log(nemeses[i].name)
			g.besiege(rng, wal, nemeses[i].strike)
			wal += besieged
		}
	}
}

// whileAway does something to a root's network for half a second.
func (g *group) whileAway(i int, set func(*island, bool)) {
	set(g.islands[i], true)
	pause(g.t.Context(), 500*time.Millisecond)
	set(g.islands[i], false)
}

// besieged is how many keys clients work on at a time.
const besieged = 3

// besiege has clients work on some keys while a nemesis strikes, and checks
// what they saw.
func (g *group) besiege(rng *rand.Rand, wal event.WALID, strike func()) {
	g.t.Helper()
	g.leader()
	var clients sync.WaitGroup
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	var histories []*history
	for k := range event.WALID(besieged) {
		h := newHistory(wal + k)
		histories = append(histories, h)
		for i := range 3 {
			own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
			clients.Go(func() { h.client(ctx, own, i+1, func() *Root { return g.at(i) }, 50) })
		}
	}
	pause(ctx, time.Duration(rng.IntN(100))*time.Millisecond)
	strike()
	pause(ctx, 200*time.Millisecond)
	cancel()
	clients.Wait()
	for _, h := range histories {
		result := h.check()
		g.t.Logf("%s: %s: %s", h.unit, h, result)
		if result != porcupine.Ok {
			for _, op := range h.ops {
				g.t.Logf("%d: %d to %d: %+v → %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
			}
			g.t.Errorf("%s: not linearizable: %s", h.unit, result)
		}
	}
}

// String counts what is in a history.
func (h *history) String() string {
	var claims, settles, applied, reads, unknown int
	for _, op := range h.ops {
		in, out := op.Input.(unitInput), op.Output.(unitOutput)
		switch {
		case out.unknown:
			unknown++
		case in.op == opClaim:
			claims++
		case in.op == opRead:
			reads++
		case out.verdict == custody.Apply:
			applied++
		default:
			settles++
		}
	}
	return fmt.Sprintf("%d claims, %d settled, %d skipped, %d reads, %d unknown", claims, applied, settles, reads, unknown)
}

// TestStaleReadIsNoticed reads without asking the leader from a root that is
// cut off: the checker must see it, or the test above proves nothing.
func TestStaleReadIsNoticed(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	away := (leader + 1) % 3
	h := newHistory(1)
	h.attempt(g.roots[leader], 1, unitInput{op: opClaim, relay: "eu/r1", term: term(1, 1)})
	h.attempt(g.roots[leader], 1, unitInput{op: opSettle, relay: "eu/r1", term: term(1, 1), from: 1, to: 5})
	g.eventually("the follower has it", func() bool { out, _ := h.read(t.Context(), g.roots[away], true); return out.owner.settled == 5 })
	g.islands[away].setCut(true)
	h.attempt(g.roots[leader], 1, unitInput{op: opSettle, relay: "eu/r1", term: term(1, 1), from: 6, to: 9})
	h.attempt(g.roots[leader], 2, unitInput{op: opRead, relay: "eu/r2"})
	if len(h.ops) != 4 || h.check() != porcupine.Ok {
		t.Fatalf("what the leader answered: %s, %s", h, h.check())
	}
	from := time.Since(h.start)
	out, _ := h.read(t.Context(), g.roots[away], true)
	h.add(3, unitInput{op: opRead, relay: "eu/r3"}, from, out)
	if got := h.check(); got != porcupine.Illegal {
		t.Fatalf("a stale read, %+v, is %s", out, got)
	}
}
