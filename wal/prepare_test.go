package wal

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pando/internal/durable/faulty"
)

// In virtual time, where a disk takes none: whatever passes is waited for.
func virtually(t *testing.T, segment int64, f func(l *Log, disk *faulty.Disk)) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.New()
		o := DefaultOptions(dir)
		o.FS, o.SegmentBytes = disk, segment
		l, _ := mustOpen(t, o)
		f(l, disk)
		mustClose(t, l)
	})
}

func appendBytes(t *testing.T, l *Log, n int) {
	t.Helper()
	if _, err := l.Append(make([]byte, n), false); err != nil {
		t.Fatal(err)
	}
}

// The next segment is there before the present one is full, and not much sooner
// than it is needed.
func TestPreparationKeepsPace(t *testing.T) {
	virtually(t, 16<<20, func(l *Log, _ *faulty.Disk) {
		ready := func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.next != nil
		}
		const step, pause = 256 << 10, 20 * time.Millisecond
		at := 0
		for ; !ready(); at += step {
			if at >= 16<<20 {
				t.Fatal("the segment is full and there is no other")
			}
			appendBytes(t, l, step)
			time.Sleep(pause)
		}
		if at < 10<<20 || at > 13<<20 {
			t.Errorf("the next segment was ready when %d of 16 MiB were full", at>>20)
		}
	})
	virtually(t, 8<<20, func(l *Log, _ *faulty.Disk) { // idle from then on
		appendBytes(t, l, 3<<20)
		appendBytes(t, l, 2<<20)
		time.Sleep(2 * paceAll)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.next == nil {
			t.Error("an idle log has no next segment")
		}
	})
}

// Who waits for the next segment waits for the disk alone.
func TestAwaitedSegmentIsNotHeldBack(t *testing.T) {
	virtually(t, 7<<20, func(l *Log, _ *faulty.Disk) {
		began := time.Now()
		for range 5 {
			appendBytes(t, l, 4<<20-8<<10)
		}
		if d := time.Since(began); d > 5*paceStep { // asleep when it came to be awaited, once a segment
			t.Errorf("five records waited for %v", d)
		}
	})
}

// Closing does not finish a segment that nobody will write to.
func TestCloseGivesPreparationUp(t *testing.T) {
	var disk *faulty.Disk
	virtually(t, 8<<20, func(l *Log, d *faulty.Disk) {
		disk = d
		appendBytes(t, l, 3<<20)
		appendBytes(t, l, 1<<20)
		appendBytes(t, l, 256<<10) // just above a half
		time.Sleep(paceAll / 10)
	})
	names, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := slices.IndexFunc(names, func(s string) bool { return strings.HasSuffix(s, preparedSuffix) }); n >= 0 {
		t.Errorf("%s is left", names[n])
	}
	if n := len(slices.DeleteFunc(names, func(s string) bool { return segmentNumber(s) == 0 })); n != 1 {
		t.Errorf("%d segments, want the one that was written to", n)
	}
}
