package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"pando/internal/durable/faulty"
)

// oracle knows what a log owes after a crash.
type oracle struct {
	id         uint64 // 0: no Open has returned yet
	acked      Seq    // newest record for which Wait returned
	appended   Seq    // newest record that was accepted
	trimmed    Seq    // nothing from here on may be missing
	checkpoint Seq    // newest checkpoint whose write returned
}

// workload appends, waits, trims, writes checkpoints and reopens, until the
// machine crashes or the script ends. It notes in the oracle what was
// promised.
func (o *oracle) workload(disk *faulty.Disk) {
	ctx := context.Background()
	for round := range 3 {
		l, rec, err := Open(small(disk))
		if err != nil {
			return
		}
		o.id, o.acked, o.appended = l.ID(), rec.LastSeq, rec.LastSeq
		for i := range 14 {
			seq, err := l.Append(content(o.appended+1), i%4 == 0)
			if err != nil {
				break
			}
			o.appended = seq
			if i%3 == round && l.Wait(ctx, seq) == nil {
				o.acked = seq
			}
		}
		if at := o.appended; l.WriteCheckpoint(ctx, Checkpoint{Seq: at, State: content(at)}) == nil {
			o.checkpoint, o.acked = at, at
		}
		if round > 0 && o.acked > 8 {
			o.trimmed = o.acked - 8
			_ = l.TrimBefore(o.trimmed)
		}
		if l.Close() == nil {
			o.acked = o.appended
		}
	}
}

// verify opens the log after a crash and compares it with what was promised.
// It returns the records found.
func (o *oracle) verify(t *testing.T, disk *faulty.Disk) {
	t.Helper()
	l, rec, err := Open(small(disk))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if o.id != 0 && (l.ID() != o.id || rec.Created) {
		t.Fatalf("log %x became log %x: %+v", o.id, l.ID(), rec)
	}
	if rec.LastSeq < o.acked || rec.LastSeq > o.appended || rec.FirstSeq > max(o.trimmed, 1) {
		t.Fatalf("%+v, want records %d to at least %d, at most %d", rec, max(o.trimmed, 1), o.acked, o.appended)
	}
	check(t, l, rec.FirstSeq, rec.LastSeq)
	c, err := ReadCheckpoint(disk, dir)
	switch {
	case err != nil && !(errors.Is(err, ErrNoCheckpoint) && o.checkpoint == 0):
		t.Fatalf("checkpoint: %v", err)
	case err == nil && (c.Seq < o.checkpoint || !bytes.Equal(c.State, content(c.Seq)) || c.Skipped != nil):
		t.Fatalf("checkpoint %d, want %d: %v", c.Seq, o.checkpoint, c.Skipped)
	}
	mustAppend(t, l, 9)
	check(t, l, rec.FirstSeq, rec.LastSeq+9)
	mustClose(t, l)
	if err := Verify(disk, dir); err != nil {
		t.Fatal(err)
	}
	if r := must(Inspect(disk, dir)); len(r.Unfinished) != 0 {
		t.Fatalf("left over: %v", r.Unfinished)
	}
}

// fates from the harshest disk to a process that was killed alone.
func fates(seed uint64) []faulty.Fate {
	return []faulty.Fate{{Keep: 0, Seed: seed}, {Keep: 100}, {Keep: 50, Seed: seed}, {Keep: 85, Seed: seed + 1}}
}

func TestCrashAtEveryOperation(t *testing.T) {
	disk := faulty.New()
	new(oracle).workload(disk)
	ops := disk.Ops()
	if ops < 100 {
		t.Fatalf("the workload has %d operations only", ops)
	}
	for n := 1; n <= ops+10; n++ {
		for _, fate := range fates(uint64(n)) {
			disk := faulty.New()
			disk.CrashAt(n)
			var o oracle
			o.workload(disk)
			if !t.Run(fmt.Sprintf("op=%d/keep=%d", n, fate.Keep), func(t *testing.T) {
				o.verify(t, disk.Reboot(fate))
			}) {
				return
			}
		}
	}
}

// A machine that crashes while it recovers, at every operation of the
// recovery, after a crash or after only the process was killed.
func TestCrashDuringRecovery(t *testing.T) {
	for n := 20; n < 200; n += 7 {
		for k := 1; ; k++ {
			disk := faulty.New()
			disk.CrashAt(n)
			var o oracle
			o.workload(disk)
			if k%2 == 0 {
				disk = disk.Reboot(faulty.Fate{Keep: 50, Seed: uint64(n)})
			} else {
				disk = disk.Kill()
			}
			disk.CrashAt(k)
			l, rec, err := Open(small(disk))
			if err == nil { // what it found may be relied on at once
				o.id, o.acked = l.ID(), rec.LastSeq
			} else if !errors.Is(err, faulty.ErrCrashed) {
				t.Fatalf("crash at %d, then at %d: %v", n, k, err)
			}
			o.verify(t, disk.Reboot(faulty.Fate{Keep: 60 * (k % 3 / 2), Seed: uint64(k)}))
			if err == nil {
				_ = l.Close()
				break
			}
		}
	}
}

// After a failed sync the kernel takes the lost bytes for clean. A reopen
// must make them durable before anyone relies on them.
func TestFailedSyncIsFinalAndRecovered(t *testing.T) {
	disk := faulty.New()
	broken := errors.New("input/output error")
	var failing atomic.Bool
	disk.Fault = func(op faulty.Op) error {
		if failing.Load() && op.Kind == faulty.Sync && op.Path == dir+"/"+segmentName(1) {
			return broken
		}
		return nil
	}
	o := small(disk)
	o.SegmentBytes = 8 << 10
	l, _ := mustOpen(t, o)
	mustAppend(t, l, 5)
	failing.Store(true)
	long := bytes.Repeat(content(6), 100) // the mark shares no sector with its start
	seq, err := l.Append(long, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(context.Background(), seq); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
		t.Fatalf("wait after a failed sync: %v", err)
	}
	failing.Store(false)
	if l.Synced() != 5 {
		t.Errorf("synced %d", l.Synced())
	}
	_, appendErr := l.Append(content(7), false)
	_, readErr := l.Read(1)
	for call, err := range map[string]error{
		"append": appendErr, "read": readErr, "err": l.Err(), "trim": l.TrimBefore(1),
		"checkpoint": l.WriteCheckpoint(context.Background(), Checkpoint{Seq: 5}), "close": l.Close(),
	} {
		if !errors.Is(err, ErrFailed) {
			t.Errorf("%s after a failed sync: %v", call, err)
		}
	}
	// Record 6 is readable, but not on the disk; its sectors count as clean.
	l, rec := mustOpen(t, o)
	if rec.LastSeq != 6 {
		t.Fatalf("recovered %+v", rec)
	}
	o.FS = disk.Reboot(faulty.Fate{})
	_ = l.Close()
	l, rec = mustOpen(t, o)
	if rec.LastSeq != 6 {
		t.Errorf("a power cut after the recovery left %+v", rec)
	}
	mustClose(t, l)
}

func TestStalledSyncAcknowledgesNothing(t *testing.T) {
	disk := faulty.New()
	stall, stalled := make(chan struct{}), make(chan struct{}, 1)
	var on atomic.Bool
	disk.Fault = func(op faulty.Op) error {
		if on.Load() && op.Kind == faulty.Sync {
			wake(stalled)
			<-stall
		}
		return nil
	}
	l, _ := mustOpen(t, small(disk))
	on.Store(true)
	seq, err := l.Append(content(1), true)
	if err != nil {
		t.Fatal(err)
	}
	<-stalled
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Wait(ctx, seq); !errors.Is(err, context.Canceled) || l.Synced() != 0 {
		t.Errorf("wait during a stall: %v, synced %d", err, l.Synced())
	}
	if rec, err := l.Read(seq); err != nil || !bytes.Equal(rec, content(1)) {
		t.Errorf("read during a stall: %q, %v", rec, err)
	}
	lost := disk.Reboot(faulty.Fate{})
	close(stall)
	_ = l.Close()
	if l, rec := mustOpen(t, small(lost)); rec.LastSeq != 0 {
		t.Errorf("a crash during the stall left %+v", rec)
	} else {
		mustClose(t, l)
	}
}
