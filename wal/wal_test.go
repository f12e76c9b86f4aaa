package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pando/internal/durable"
	"pando/internal/durable/faulty"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "/log"

// patience bounds what a test waits for; it is never reached when all is well.
const patience = 20 * time.Second

// small are options for a log on fsys whose segments hold a few records.
func small(fsys durable.FS) Options {
	o := DefaultOptions(dir)
	o.FS, o.SegmentBytes, o.GroupBytes = fsys, minSegmentBytes, minGroupBytes
	return o
}

func mustOpen(t *testing.T, o Options) (*Log, Recovery) {
	t.Helper()
	l, rec, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l, rec
}

func mustClose(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// content is what the tests write as record n: its length and its bytes vary.
func content(n Seq) []byte {
	b := fmt.Appendf(nil, "record %d ", n)
	for i := Seq(0); i < n*37%90; i++ {
		b = append(b, byte(n+i))
	}
	return b
}

func mustAppend(t *testing.T, l *Log, n int) {
	t.Helper()
	for range n {
		if _, err := l.Append(content(l.Last()+1), false); err != nil {
			t.Fatal(err)
		}
	}
	mustWait(t, l, l.Last())
}

func mustWait(t *testing.T, l *Log, seq Seq) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Wait(ctx, seq); err != nil {
		t.Fatal(err)
	}
}

// check reads the whole log in both ways and compares every record.
func check(t *testing.T, l *Log, first, last Seq) {
	t.Helper()
	if l.First() != first || l.Last() != last {
		t.Fatalf("records %d to %d, want %d to %d", l.First(), l.Last(), first, last)
	}
	r := l.Reader(first)
	for want := first; want <= last; want++ {
		seq, rec, err := r.Next()
		if err != nil || seq != want || string(rec) != string(content(want)) {
			t.Fatalf("Next gave record %d %q, %v; want %d", seq, rec, err, want)
		}
		if rec, err = l.Read(want); err != nil || string(rec) != string(content(want)) {
			t.Fatalf("Read(%d) gave %q, %v", want, rec, err)
		}
	}
	if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("behind the last record: %v", err)
	}
}

func TestReopenKeepsRecordsAndIdentity(t *testing.T) {
	disk := faulty.New()
	l, rec := mustOpen(t, small(disk))
	if !rec.Created || rec.FirstSeq != 1 || rec.LastSeq != 0 {
		t.Fatalf("new log: %+v", rec)
	}
	id := l.ID()
	for range 4 {
		mustAppend(t, l, 17)
		check(t, l, 1, l.Last())
		last := l.Last()
		mustClose(t, l)
		l, rec = mustOpen(t, small(disk))
		if rec.Created || rec.CutBytes != 0 || rec.LastSeq != last || l.ID() != id {
			t.Fatalf("reopened log %x: %+v; want log %x with record %d", l.ID(), rec, id, last)
		}
		check(t, l, 1, last)
	}
	mustClose(t, l)
	if err := Verify(disk, dir); err != nil {
		t.Error(err)
	}
}

func TestLimitsOfRecords(t *testing.T) {
	disk := faulty.New()
	var stalled sync.Mutex // held while a record is to stay in memory
	disk.Fault = func(op faulty.Op) error {
		if op.Kind == faulty.Write {
			stalled.Lock()
			defer stalled.Unlock()
		}
		return nil
	}
	o := small(disk)
	o.SegmentBytes = 8 << 20
	l, _ := mustOpen(t, o)
	defer l.Close()
	if _, err := l.Append(make([]byte, MaxRecord+1), false); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record above the limit: %v", err)
	}
	for _, n := range []int{0, 1, 7, 8, maxGroup, MaxRecord} {
		stalled.Lock()
		seq, err := l.Append(make([]byte, n), true)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := l.Read(seq); err != nil || len(rec) != n {
			t.Errorf("pending record of %d bytes: %d bytes, %v", n, len(rec), err)
		}
		stalled.Unlock()
		mustWait(t, l, seq)
		if rec, err := l.Read(seq); err != nil || len(rec) != n {
			t.Errorf("record of %d bytes: %d bytes, %v", n, len(rec), err)
		}
	}
	if _, err := l.Read(99); !errors.Is(err, io.EOF) {
		t.Errorf("a record to come: %v", err)
	}
}

func TestOptionsNameEveryFault(t *testing.T) {
	_, _, err := Open(Options{SegmentBytes: 3, MaxBytes: 5})
	for _, want := range []string{"folder", "file system", "segment size", "group size", "size limit"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name the %s", err, want)
		}
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	for name, o := range map[string]Options{"memory": small(faulty.New()), "real": DefaultOptions(t.TempDir())} {
		o.SegmentBytes = minSegmentBytes
		l, _ := mustOpen(t, o)
		if _, _, err := Open(o); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: second opener: %v", name, err)
		}
		if _, err := Inspect(o.FS, o.Dir); err != nil {
			t.Errorf("%s: inspect of a log in use: %v", name, err)
		}
		mustClose(t, l)
		l, _ = mustOpen(t, o)
		mustClose(t, l)
	}
}

// A log that is appended to, rotated and trimmed all the while is sound at
// every look.
func TestInspectALogInUse(t *testing.T) {
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := Seq(1); i <= 2000; i++ {
			if _, err := l.Append(content(i), false); err != nil {
				t.Error(err)
				return
			}
			if i%50 == 0 {
				if err := l.TrimBefore(i - 25); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for looking := true; looking; {
		select {
		case <-done:
			looking = false
		default:
		}
		r, err := Inspect(disk, dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errChanging) {
			continue // trimmed or sealed under its eyes, each time
		}
		if err != nil || r.Damage != nil {
			t.Fatalf("%+v, %v", r.Damage, err)
		}
	}
	mustClose(t, l)
}

// The newest seal vouches for all that was sealed before.
func TestSealedTellsTheNewestSeal(t *testing.T) {
	l, _ := mustOpen(t, small(faulty.New()))
	if s, ok := l.Sealed(); ok {
		t.Errorf("a new log is sealed: %+v", s)
	}
	mustAppend(t, l, 60)
	if err := l.Wait(t.Context(), 60); err != nil {
		t.Fatal(err)
	}
	s, ok := l.Sealed()
	if list := l.Segments(); !ok || len(list) < 3 || s != list[len(list)-2] || !s.Sealed || s.SHA256 == [hashSize]byte{} {
		t.Errorf("sealed %+v, %t; segments %+v", s, ok, list)
	}
	mustClose(t, l)
}

func TestTrimKeepsWhatIsAskedFor(t *testing.T) {
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	mustAppend(t, l, 60)
	behind := l.Reader(1)
	if err := l.TrimBefore(30); err != nil {
		t.Fatal(err)
	}
	first := l.First()
	if first < 2 || first > 30 {
		t.Fatalf("first record %d after a trim before 30", first)
	}
	check(t, l, first, 60)
	if _, err := l.Read(first - 1); !errors.Is(err, ErrTrimmed) {
		t.Errorf("trimmed record: %v", err)
	}
	if _, _, err := behind.Next(); !errors.Is(err, ErrTrimmed) {
		t.Errorf("reader of a trimmed record: %v", err)
	}
	if err := l.TrimBefore(1000); err != nil {
		t.Fatal(err)
	}
	first, id := l.First(), l.ID()
	mustClose(t, l)
	l, rec := mustOpen(t, small(disk))
	defer l.Close()
	if rec.Created || l.ID() != id || rec.LastSeq != 60 {
		t.Errorf("after a trim of everything: %+v", rec)
	}
	check(t, l, first, 60)
}

func TestReaderFollowsAppends(t *testing.T) {
	l, _ := mustOpen(t, small(faulty.New()))
	defer l.Close()
	const n = 400
	done := make(chan error, 1)
	go func() {
		for i := Seq(1); i <= n; i++ {
			if _, err := l.Append(content(i), i%5 == 0); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	r := l.Reader(1)
	deadline := time.After(patience)
	for want := Seq(1); want <= n; {
		seq, rec, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			select {
			case <-l.Notify():
			case <-deadline:
				t.Fatalf("nothing after record %d", want-1)
			}
		case err != nil || seq != want || string(rec) != string(content(want)):
			t.Fatalf("record %d %q, %v; want %d", seq, rec, err, want)
		default:
			want++
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Records in files, of other segments, and in memory.
func TestReaderSkips(t *testing.T) {
	l, _ := mustOpen(t, small(faulty.New()))
	defer l.Close()
	const n = 60
	mustAppend(t, l, n)
	for from := Seq(1); from < n; from++ {
		for to := Seq(1); to <= n; to++ {
			r := l.Reader(from)
			if _, _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			r.Skip(to)
			want := max(from+1, to)
			if seq, rec, err := r.Next(); err != nil || seq != want || string(rec) != string(content(want)) {
				t.Fatalf("from %d skip to %d: record %d %q, %v", from, to, seq, rec, err)
			}
		}
	}
	r := l.Reader(1)
	r.Skip(n + 1)
	if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last record: %v", err)
	}
}

// TestRetainedRecordsStay reads records from files, across segments, and from
// memory, and looks at all of them when the last was read.
func TestRetainedRecordsStay(t *testing.T) {
	l, _ := mustOpen(t, small(faulty.New()))
	defer mustClose(t, l)
	const n = 500
	mustAppend(t, l, n)
	r := l.Reader(1)
	r.Retain()
	var all [][]byte
	for range n {
		_, b, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	for i, b := range all {
		if want := content(Seq(i + 1)); !bytes.Equal(b, want) {
			t.Fatalf("record %d became %q, want %q", i+1, b, want)
		}
	}
	if len(l.segs) < 3 {
		t.Errorf("%d segments: want some", len(l.segs))
	}
}

// TestReopenedSegmentIsSealedRight goes on with a segment that another process
// began: with so little room that the next record seals it at once, or with room
// for less than its sum leaves for later, or for much more. The seal holds the hash
// of all of it.
func TestReopenedSegmentIsSealedRight(t *testing.T) {
	const size, step = 8 << 20, 64 << 10
	for _, room := range []int{step / 2, step + startLate/2, step + 3*startLate, 3 << 20} {
		o := DefaultOptions(dir)
		o.FS, o.SegmentBytes = faulty.New(), size
		for _, n := range []int{size - room, room + step} {
			l, _ := mustOpen(t, o)
			for ; n > 0; n -= step {
				if _, err := l.Append(make([]byte, min(n, step)), false); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, l)
		}
		if err := Verify(o.FS, dir); err != nil {
			t.Errorf("%d bytes of room: %v", room, err)
		}
		if rep, err := Inspect(o.FS, dir); err != nil || len(rep.Segments) < 2 || !rep.Segments[0].Sealed {
			t.Errorf("%d bytes of room: %+v, %v: want a sealed segment", room, rep, err)
		}
	}
}

// A segment that can be read no more is not sealed as if it had been.
func TestUnreadableSegmentIsNotSealed(t *testing.T) {
	f, err := faulty.New().Create("/x")
	if err != nil {
		t.Fatal(err)
	}
	s := sumOf(f, 10) // it is empty
	s.write([]byte("more"))
	if _, err := s.total(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("hashed with %v", err)
	}
	s.leave()
}
