package hlc

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// wall is a hand-set wall clock; disk is what a crash leaves of the bound.
type machine struct {
	wall   int64
	disk   uint64
	writes int
	broken error
}

func (m *machine) start(t *testing.T) *Clock {
	t.Helper()
	c, err := New(Options{Physical: func() int64 { return m.wall }, Bound: m.disk, Persist: m.persist})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (m *machine) persist(bound uint64) error {
	if m.broken != nil {
		return m.broken
	}
	m.disk = bound
	m.writes++
	return nil
}

func now(t *testing.T, c *Clock) Timestamp {
	t.Helper()
	ts, err := c.Now()
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

func TestRisesOverCrashesAndClocksSetBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := &machine{wall: 1_700_000_000_000}
	last := Timestamp(0)
	for range 200 {
		c := m.start(t)
		for range rng.IntN(300) {
			m.wall += rng.Int64N(200) - 80 // jumps back, too
			n := 1 + rng.IntN(100_000)     // more than the logical part counts
			ts, err := c.Take(n)
			if err != nil {
				t.Fatal(err)
			}
			if ts <= last {
				t.Fatalf("%v after %v", ts, last)
			}
			ts += Timestamp(n - 1)
			if uint64(ts) > m.disk {
				t.Fatalf("issued %v above the persisted bound %v: a crash would issue it twice", ts, Timestamp(m.disk))
			}
			last = ts
		}
		m.wall += rng.Int64N(10_000) - 5_000
	}
}

func TestBoundWritesAreRare(t *testing.T) {
	m := &machine{wall: 1_700_000_000_000}
	c := m.start(t)
	for range 60_000 { // a minute, a timestamp each millisecond
		m.wall++
		now(t, c)
	}
	if m.writes > 42 {
		t.Errorf("%d bound writes in a minute, want one per 1.5 s", m.writes)
	}
}

func TestOthersGoOnWhileABoundIsWritten(t *testing.T) {
	wall := int64(1_700_000_000_000)
	entered, release := make(chan struct{}), make(chan struct{})
	first := true
	c, err := New(Options{Physical: func() int64 { return wall }, Persist: func(uint64) error {
		if !first {
			close(entered)
			<-release
		}
		first = false
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	now(t, c)
	wall += DefaultAhead.Milliseconds()/2 + 1
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Now(); err != nil {
			t.Error(err)
		}
	})
	<-entered
	before := now(t, c) // returns though the write hangs
	if after := now(t, c); after <= before {
		t.Errorf("%v after %v", after, before)
	}
	close(release)
	wg.Wait()
}

func TestAFailedBoundWriteIssuesNothing(t *testing.T) {
	m := &machine{wall: 1_700_000_000_000, broken: errors.New("disk on fire")}
	c := m.start(t)
	if ts, err := c.Now(); !errors.Is(err, m.broken) {
		t.Fatalf("%v, %v", ts, err)
	}
	m.broken = nil
	now(t, c)
}

func TestLogicalOverflowCarries(t *testing.T) {
	m := &machine{wall: 1000}
	c := m.start(t)
	first := now(t, c)
	var ts Timestamp
	for range 1 << 16 {
		ts = now(t, c)
	}
	if ts.Physical() != first.Physical()+1 || ts.Logical() != first.Logical() {
		t.Errorf("65,536 timestamps after %v comes %v", first, ts)
	}
}

func TestSendPrecedesReceive(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	machines := make([]*machine, 5)
	clocks := make([]*Clock, len(machines))
	for i := range machines {
		machines[i] = &machine{wall: 1_700_000_000_000 + rng.Int64N(100_000) - 50_000}
		clocks[i] = machines[i].start(t)
	}
	machines[4].wall = 0 // one machine knows no time
	for range 20_000 {
		from, to := rng.IntN(len(clocks)), rng.IntN(len(clocks))
		machines[from%4].wall += rng.Int64N(20) - 5
		sent := now(t, clocks[from])
		earlier := now(t, clocks[to])
		received, err := clocks[to].Update(sent)
		if err != nil {
			t.Fatal(err)
		}
		if received <= sent || received <= earlier {
			t.Fatalf("received at %v what was sent at %v, after %v", received, sent, earlier)
		}
	}
}

func TestRefusesWhatIsTooFarAhead(t *testing.T) {
	m := &machine{wall: 1_700_000_000_000}
	c := m.start(t)
	before := now(t, c)
	limit := DefaultMaxAhead.Milliseconds()
	if _, err := c.Update(Make(m.wall+limit+1, 0)); !errors.Is(err, ErrAhead) {
		t.Errorf("error %v, want ErrAhead", err)
	}
	if ts := now(t, c); ts != before+1 {
		t.Errorf("a refused timestamp moved the clock from %v to %v", before, ts)
	}
	if _, err := c.Update(Make(m.wall+limit, 0)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestTheEndIsAnErrorAndNoWrap(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ts, err := c.Update(math.MaxUint64 - 1); err != nil || ts != math.MaxUint64 {
		t.Fatalf("%v, %v", ts, err)
	}
	for range 2 {
		if ts, err := c.Now(); !errors.Is(err, ErrExhausted) {
			t.Fatalf("%v, %v, want ErrExhausted", ts, err)
		}
	}
	m := &machine{wall: MaxPhysical + 1}
	if ts, err := m.start(t).Now(); !errors.Is(err, ErrExhausted) {
		t.Errorf("%v, %v, want ErrExhausted", ts, err)
	}
	m = &machine{wall: MaxPhysical}
	last := m.start(t)
	if a, b := now(t, last), now(t, last); b != a+1 || m.writes != 1 {
		t.Errorf("in the last millisecond: %v, %v with %d bound writes", a, b, m.writes)
	}
}

func TestOptionsNameEveryFault(t *testing.T) {
	_, err := New(Options{Ahead: time.Nanosecond, MaxAhead: -1})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"ahead of 1ns", "max ahead of -1ns"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestConcurrentCallsGetDistinctTimestamps(t *testing.T) {
	m := &machine{wall: 1_700_000_000_000}
	c := m.start(t)
	const callers, each = 8, 2000
	got := make([][]Timestamp, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				ts, err := c.Now()
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], ts)
			}
		})
	}
	wg.Wait()
	seen := map[Timestamp]bool{}
	for _, list := range got {
		for _, ts := range list {
			if seen[ts] {
				t.Fatalf("%v issued twice", ts)
			}
			seen[ts] = true
		}
	}
}

func BenchmarkNow(b *testing.B) {
	c, err := New(Options{Physical: func() int64 { return time.Now().UnixMilli() }, Persist: func(uint64) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Now(); err != nil {
			b.Fatal(err)
		}
	}
}
