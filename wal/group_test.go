package wal

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"pando/internal/durable/faulty"
)

// held is a disk whose syncs wait while it is held.
type held struct {
	*faulty.Disk
	gate  sync.Mutex
	syncs atomic.Int64
	sizes sync.Map // number of the sync → bytes written since the one before
	bytes atomic.Int64
}

func newHeld() *held {
	h := &held{Disk: faulty.New()}
	h.Fault = func(op faulty.Op) error {
		switch op.Kind {
		case faulty.Write:
			h.bytes.Add(int64(op.Len))
		case faulty.Sync:
			h.gate.Lock()
			h.sizes.Store(h.syncs.Add(1), h.bytes.Swap(0))
			h.gate.Unlock()
		}
		return nil
	}
	return h
}

func TestAppendsShareASync(t *testing.T) {
	h := newHeld()
	o := small(h)
	o.SegmentBytes = 4 << 20
	l, _ := mustOpen(t, o)
	defer l.Close()
	const writers = 64
	var seen [writers + 2]atomic.Int32
	var appended, synced sync.WaitGroup

	h.gate.Lock()
	before := h.syncs.Load()
	mustNot(t, append1(l)) // its sync is held
	eventually(t, "first group in flight", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.pending.len() == 0
	})
	appended.Add(writers)
	for range writers {
		synced.Go(func() {
			seq, err := l.Append([]byte("x"), false)
			appended.Done()
			if err == nil {
				err = l.Wait(context.Background(), seq)
			}
			if err != nil || l.Synced() < seq {
				t.Errorf("record %d: %v, synced %d", seq, err, l.Synced())
				return
			}
			seen[seq].Add(1)
		})
	}
	appended.Wait()
	h.gate.Unlock()
	synced.Wait()
	for seq := 2; seq < len(seen); seq++ {
		if seen[seq].Load() != 1 {
			t.Errorf("sequence %d given out %d times", seq, seen[seq].Load())
		}
	}
	if n := h.syncs.Load() - before; n > 3 { // the third may be a mark
		t.Errorf("%d syncs for %d records", n, writers+1)
	}
}

func append1(l *Log) error {
	_, err := l.Append(content(l.Last()+1), false)
	return err
}

func mustNot(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A sealed segment is all that knows where the log stands until the next one
// has a synced frame: a trim must leave it.
func TestTrimLeavesTheOnlySyncedSegment(t *testing.T) {
	h := newHeld()
	stall := make(chan struct{})
	fault := h.Fault
	h.Fault = func(op faulty.Op) error {
		if op.Kind == faulty.Sync && op.Path == dir+"/"+segmentName(2) {
			<-stall
		}
		return fault(op)
	}
	l, _ := mustOpen(t, small(h))
	var last Seq
	for len(l.Segments()) == 1 {
		mustNot(t, append1(l))
		last = l.Last()
		eventually(t, "sync or rotation", func() bool { return l.Synced() == last || len(l.Segments()) == 2 })
	}
	mustNot(t, l.TrimBefore(last+1))
	lost := h.Reboot(faulty.Fate{})
	close(stall)
	_ = l.Close()
	l, rec := mustOpen(t, small(lost))
	if rec.Created {
		t.Errorf("the trim lost the log: %+v", rec)
	}
	mustClose(t, l)
}

// While urgent records come in, bulk must not pile up in front of them.
func TestUrgentKeepsGroupsShort(t *testing.T) {
	h := newHeld()
	o := small(h)
	o.SegmentBytes, o.GroupBytes = 16<<20, 8<<10
	l, _ := mustOpen(t, o)
	defer l.Close()
	if _, err := l.Append([]byte("urgent"), true); err != nil {
		t.Fatal(err)
	}
	mustWait(t, l, 1)
	from := h.syncs.Load()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 12 << 10 / 100 * 4 {
			if _, err := l.Append(make([]byte, 100), i%100 == 0); err != nil {
				t.Error(err)
			}
		}
	}()
	<-done
	mustWait(t, l, l.Last())
	for i := from + 1; i <= h.syncs.Load(); i++ {
		if n, ok := h.sizes.Load(i); ok && n.(int64) > int64(o.GroupBytes)+200 {
			t.Errorf("sync %d covered %d bytes, limit %d", i, n, o.GroupBytes)
		}
	}
}

func TestPrefixOfAGroup(t *testing.T) {
	g := newGroup(10)
	for i := range 8 {
		g.add(i == 4 || i == 6, make([]byte, 100-headerSize)) // frames of 104 bytes
	}
	for name, c := range map[string]struct {
		limit, short int
		boundary     Seq
		want         int
	}{
		"everything":                    {10000, 10000, 0, 8},
		"limit":                         {350, 350, 0, 3},
		"short limit behind the urgent": {10000, 624, 0, 6},
		"other segment":                 {10000, 10000, 13, 3},
		"old boundary":                  {10000, 10000, 10, 8},
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.prefix(c.limit, c.short, c.boundary); got != c.want {
				t.Errorf("%d records, want %d", got, c.want)
			}
		})
	}
	rest := newGroup(0)
	g.split(5, rest)
	if rest.first != 15 || len(rest.records) != 3 || rest.urgent != 1 || len(g.records) != 5 {
		t.Errorf("split into %d and %+v", len(g.records), rest)
	}
}
