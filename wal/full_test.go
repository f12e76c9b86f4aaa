package wal

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pando/internal/durable/faulty"
)

// fillUp appends until the log is full and returns the last record accepted.
func fillUp(t *testing.T, l *Log) Seq {
	t.Helper()
	for range 10000 {
		if _, err := l.Append(content(l.Last()+1), false); errors.Is(err, ErrFull) {
			return l.Last()
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the log never got full")
	return 0
}

// eventually retries what needs another goroutine's step.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func appends(l *Log) func() bool {
	return func() bool {
		_, err := l.Append(content(l.Last()+1), false)
		return err == nil
	}
}

func TestFullDiskPasses(t *testing.T) {
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	disk.SetCapacity(5*minSegmentBytes + 100)
	last := fillUp(t, l)
	mustWait(t, l, last) // what was accepted has its space
	check(t, l, 1, last)
	if l.Err() != nil {
		t.Fatalf("a full disk is final: %v", l.Err())
	}
	disk.SetCapacity(0)
	eventually(t, "append after space came back", appends(l))
	mustAppend(t, l, 40)
	check(t, l, 1, l.Last())
	mustClose(t, l)
}

func TestSizeLimitPassesByTrimming(t *testing.T) {
	disk := faulty.New()
	o := small(disk)
	o.MaxBytes = 4 * minSegmentBytes
	l, _ := mustOpen(t, o)
	last := fillUp(t, l)
	mustWait(t, l, last)
	if l.Size() > o.MaxBytes {
		t.Errorf("%d bytes, limit %d", l.Size(), o.MaxBytes)
	}
	mustClose(t, l)
	l, rec := mustOpen(t, o)
	if rec.LastSeq != last {
		t.Fatalf("reopened full: %+v", rec)
	}
	if err := l.TrimBefore(last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "append after a trim", appends(l))
	check(t, l, l.First(), l.Last())
	mustClose(t, l)
}

// On file systems that copy on write even a preallocated place may have no
// room. Nothing accepted is lost, and the close says what is not synced.
func TestFullDuringWrite(t *testing.T) {
	disk := faulty.New()
	var full atomic.Bool
	disk.Fault = func(op faulty.Op) error {
		if full.Load() && op.Kind == faulty.Write {
			return syscall.ENOSPC
		}
		return nil
	}
	l, _ := mustOpen(t, small(disk))
	mustAppend(t, l, 3)
	full.Store(true)
	if _, err := l.Append(content(4), false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refusal", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.stuck != nil
	})
	if _, err := l.Append(content(5), true); !errors.Is(err, ErrFull) {
		t.Errorf("append while writes fail: %v", err)
	}
	full.Store(false)
	mustWait(t, l, 4)
	check(t, l, 1, 4)

	full.Store(true)
	if _, err := l.Append(content(5), false); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, ErrFull) {
		t.Errorf("close with an unsynced record: %v", err)
	}
	full.Store(false)
	l, rec := mustOpen(t, small(disk))
	if rec.LastSeq < 4 {
		t.Errorf("%+v", rec)
	}
	mustClose(t, l)
}

func TestFailedPreparationIsFinal(t *testing.T) {
	disk := faulty.New()
	broken := errors.New("input/output error")
	disk.Fault = func(op faulty.Op) error {
		if op.Kind == faulty.Rename && op.Path != dir+"/"+segmentName(1)+preparedSuffix {
			return broken
		}
		return nil
	}
	l, _ := mustOpen(t, small(disk))
	for {
		if _, err := l.Append(content(l.Last()+1), false); err != nil {
			if !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
				t.Errorf("append: %v", err)
			}
			break
		}
	}
	_ = l.Close()
}

// A log that is opened without room gets one segment beyond its limit, as often
// as that is used up, and says so until a trim has made up for it.
func TestFullLogIsOpenedWithRoom(t *testing.T) {
	disk := faulty.New()
	o := small(disk)
	o.MaxBytes = 4 * minSegmentBytes
	l, _ := mustOpen(t, o)
	fillUp(t, l)
	for err := error(nil); err == nil; { // to the last byte
		_, err = l.Append(nil, false)
	}
	last := l.Last()
	mustClose(t, l)
	for range 5 {
		l, _ = mustOpen(t, o)
		if size := l.Size(); size > o.MaxBytes+o.SegmentBytes || !errors.Is(l.Over(), ErrFull) || !errors.Is(l.Full(), ErrFull) {
			t.Fatalf("%d bytes, limit %d: over: %v, full: %v", size, o.MaxBytes, l.Over(), l.Full())
		}
		mustAppend(t, l, 1)
		mustClose(t, l)
	}
	l, _ = mustOpen(t, o)
	if err := l.TrimBefore(last); err != nil {
		t.Fatal(err)
	}
	if err := l.Over(); err != nil {
		t.Errorf("after a trim: %v", err)
	}
	mustClose(t, l)
}
