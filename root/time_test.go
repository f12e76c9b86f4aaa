//go:build !zos

package root

import (
	"log/slog"
	"testing"

	"pando/internal/durable"
	"pando/transport"
	"pando/tree/rootclock"
)

// TestRootTimeGoesOnUnderTheNextLeader: a member whose own clock is five
// seconds behind learns root time from the leader, and when it leads itself
// root time neither steps nor goes back.
func TestRootTimeGoesOnUnderTheNextLeader(t *testing.T) {
	const ahead = int64(5e9)
	wall, elapsed := epoch, int64(0)
	rt := &rootTime{wall: func() int64 { return wall }, mono: func() int64 { return elapsed }}
	c, err := rootclock.New(rootclock.Options{Dir: t.TempDir(), FS: durable.OS(), Wall: rt.Now, Root: rt.Root, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rt.use(c)
	if got := rt.Now(); got != wall {
		t.Fatalf("without a leader root time is %d, want its own clock's %d", got, wall)
	}
	mono := c.Mono()
	c.Sample(nil, transport.Sample{T1: mono - 1e6, T2: epoch + ahead, T3: epoch + ahead, T4: mono, OK: true})
	known := rt.Now()
	if known-epoch < ahead-1e9 {
		t.Fatalf("root time is %d, the leader said about %d", known, epoch+ahead)
	}
	rt.lead(0)
	first := rt.Now()
	if first < known || first-wall < ahead-1e9 {
		t.Fatalf("as the leader it is %d, it was %d", first, known)
	}
	last := first
	for range 100 {
		wall, elapsed = wall+1e9, elapsed+1e9
		now := rt.Now()
		if step := now - last; step <= 0 || step > 1e9 {
			t.Fatalf("a second of its clock is %d ns of root time", step)
		}
		last = now
	}
	if left, was := last-wall, first-epoch; left >= was {
		t.Fatalf("it does not approach its own clock: %d ns ahead, then %d", was, left)
	}
}

// TestRootTimeHasNoSteps: somebody sets the leader's clock, and sets it back.
func TestRootTimeHasNoSteps(t *testing.T) {
	wall, elapsed := epoch, int64(0)
	rt := &rootTime{wall: func() int64 { return wall }, mono: func() int64 { return elapsed }}
	rt.lead(0)
	last := rt.Now()
	for _, jump := range []int64{600e9, -1200e9, 600e9} {
		wall += jump
		for range 10 {
			wall, elapsed = wall+1e8, elapsed+1e8
			now := rt.Now()
			if rose := now - last; rose < 99e6 || rose > 101e6 {
				t.Fatalf("its clock was set by %d ns: 100 ms are %d ns of root time", jump, rose)
			}
			if told, _, ok := rt.Root(); !ok || told != now {
				t.Fatalf("its clock was set by %d ns: children are told %d, root time is %d", jump, told, now)
			}
			last = now
		}
	}
}

// TestRootTimeStartsWhereTheLogEnds: all roots restart after their clocks were
// set back by minutes. Relays still have the later time, and would refuse
// timestamps far behind it for as long.
func TestRootTimeStartsWhereTheLogEnds(t *testing.T) {
	const told = epoch + 400e9
	wall, elapsed := epoch, int64(0)
	rt := &rootTime{wall: func() int64 { return wall }, mono: func() int64 { return elapsed }}
	rt.lead(told)
	last := rt.Now()
	if last < told || last > told+1e9 {
		t.Fatalf("root time is %d s off what the log tells", (last-told)/1e9)
	}
	for range 100 {
		wall, elapsed = wall+1e9, elapsed+1e9
		now := rt.Now()
		if rose := now - last; rose <= 0 || rose >= 1e9 {
			t.Fatalf("a second of its clock is %d ns of root time", rose)
		}
		last = now
	}
}
