//go:build !zos

package raftlog

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pando/internal/durable/faulty"
	"pando/internal/pack"
)

func onDisk(d *faulty.Disk) Options {
	return Options{Dir: "log", FS: d, SegmentBytes: 4 << 10}
}

// promise is what the store has acknowledged at a crash.
type promise struct {
	first, last uint64            // as acknowledged; zeros for an empty log
	terms       map[uint64]uint64 // of every entry ever written, newest wins
	unsure      bool              // a call was under way
	was         [2]uint64         // first and last before that call
	to          [2]uint64         // and after it
}

// script does everything Raft does, until the disk crashes.
func (p *promise) script(d *faulty.Disk) {
	s, _, err := Open(onDisk(d))
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	p.terms = map[uint64]uint64{}
	do := func(first, last uint64, call func() error) bool {
		p.unsure, p.was, p.to = true, [2]uint64{p.first, p.last}, [2]uint64{first, last}
		if call() != nil {
			return false
		}
		p.unsure, p.first, p.last = false, first, last
		return true
	}
	store := func(from, to, term uint64) bool {
		first := p.first
		if first == 0 || from > p.last+1 {
			first = from
		}
		for i := from; i <= to; i++ {
			p.terms[i] = term
		}
		return do(first, to, func() error { return s.StoreLogs(entries(from, to, term)) })
	}
	remove := func(lo, hi, first, last uint64) bool {
		return do(first, last, func() error { return s.DeleteRange(lo, hi) })
	}
	_ = store(1, 20, 1) && store(21, 60, 1) &&
		remove(50, 60, 1, 49) && store(50, 55, 2) &&
		remove(1, 40, 41, 55) && store(56, 90, 2) &&
		remove(41, 90, 0, 0) && store(200, 230, 3) &&
		store(400, 420, 4) // a jump: a snapshot was installed, the deletion was lost
}

// After a crash at any operation the store holds what was acknowledged, or
// what the call under way would have left, or, of entries being appended, a
// part.
func TestCrashAtEveryOperation(t *testing.T) {
	whole := faulty.New()
	new(promise).script(whole)
	for n := 1; n <= whole.Ops(); n++ {
		for _, keep := range []int{0, 50, 100} { // percent of unsynced sectors that survive
			d := faulty.New()
			d.CrashAt(n)
			var p promise
			p.script(d)
			s, _, err := Open(onDisk(d.Reboot(faulty.Fate{Keep: keep, Seed: uint64(n)})))
			if err != nil {
				t.Fatalf("crash at operation %d, keep %d: %v", n, keep, err)
			}
			if err := p.verify(s); err != nil {
				t.Fatalf("crash at operation %d, keep %d: %v; %+v", n, keep, err, p)
			}
			_ = s.Close()
		}
	}
}

func (p *promise) verify(s *Store) error {
	first, last := s.bounds()
	ok := first == p.first && last == p.last
	if p.unsure {
		// Before the call, after it, or on the way: entries are appended one
		// by one, and a jump removes before it appends.
		ok = ok || first == p.to[0] && last == p.to[1] ||
			first == p.was[0] && last >= p.was[1] && last <= p.to[1] ||
			first == p.to[0] && last >= p.to[0] && last <= p.to[1] ||
			first == 0 && last == 0 && (p.was[0] == 0 || p.to[0] > p.was[1])
	}
	if !ok {
		return fmt.Errorf("holds %d to %d", first, last)
	}
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil {
			return err
		}
		if want := p.terms[i]; l.Term != want && !(p.unsure && l.Term == want-1) {
			return fmt.Errorf("entry %d is of term %d, want %d", i, l.Term, want)
		}
	}
	return nil
}

func TestRefusesHoles(t *testing.T) {
	s, _, err := Open(onDisk(faulty.New()))
	must(t, err)
	must(t, s.StoreLogs(entries(10, 20, 1)))
	for name, err := range map[string]error{
		"a batch with a hole":      s.StoreLogs([]*raft.Log{entry(21, 1), entry(23, 1)}),
		"an entry that is there":   s.StoreLog(entry(20, 2)),
		"an entry before the log":  s.StoreLog(entry(3, 2)),
		"a deletion in the middle": s.DeleteRange(12, 15),
	} {
		if !errors.Is(err, ErrNotContiguous) {
			t.Errorf("%s: %v, want ErrNotContiguous", name, err)
		}
	}
	must(t, s.DeleteRange(1, 5))
	must(t, s.DeleteRange(30, 40))
	holds(t, s, 10, 20, term(1))
	must(t, s.Close())
}

// A hanging disk must be noticed while the call hangs, a failing one at once,
// and both only once.
func TestWatchGivesUpOnAStallAndOnAnError(t *testing.T) {
	fatal := make(chan error, 10)
	w := NewWatch(20*time.Millisecond, nil, func(err error) { fatal <- err })
	stall := make(chan struct{})
	done := make(chan error)
	logs := w.Logs(stub{func() error { <-stall; return nil }})
	go func() { done <- logs.StoreLog(entry(1, 1)) }()
	if err := <-fatal; !errors.Is(err, ErrStalled) {
		t.Errorf("stall: %v", err)
	}
	close(stall)
	must(t, <-done)

	broken := errors.New("input/output error")
	w = NewWatch(time.Minute, nil, func(err error) { fatal <- err })
	logs = w.Logs(stub{func() error { return broken }})
	for range 2 {
		if err := logs.DeleteRange(1, 2); !errors.Is(err, broken) {
			t.Errorf("the error was swallowed: %v", err)
		}
	}
	if err := <-fatal; !errors.Is(err, broken) {
		t.Errorf("failure: %v", err)
	}
	if len(fatal) != 0 {
		t.Error("one failure was reported twice")
	}
	if logs.(raft.MonotonicLogStore).IsMonotonic() {
		t.Error("the watch claims more than its store")
	}
}

// A process that was stopped for longer than the limit finds its timers over
// and its disk in order.
func TestWatchForgivesAStoppedProcess(t *testing.T) {
	fatal := make(chan error, 1)
	w := NewWatch(2*time.Second, nil, func(err error) { fatal <- err })
	logs := w.Logs(stub{func() error {
		stop := fmt.Sprintf("kill -STOP %[1]d; sleep 2.5; kill -CONT %[1]d", os.Getpid())
		return exec.Command("sh", "-c", stop).Run()
	}})
	must(t, logs.StoreLog(entry(1, 1)))
	if len(fatal) != 0 {
		t.Errorf("a stopped process gives up: %v", <-fatal)
	}
}

// stub is a log store whose writes do what f does.
type stub struct{ f func() error }

func (s stub) FirstIndex() (uint64, error)      { return 0, nil }
func (s stub) LastIndex() (uint64, error)       { return 0, nil }
func (s stub) GetLog(uint64, *raft.Log) error   { return raft.ErrLogNotFound }
func (s stub) StoreLog(*raft.Log) error         { return s.f() }
func (s stub) StoreLogs([]*raft.Log) error      { return s.f() }
func (s stub) DeleteRange(uint64, uint64) error { return s.f() }

func FuzzDecodeRecord(f *testing.F) {
	w := pack.NewWriter()
	appendEntry(w, entry(7, 3))
	f.Add(w.Copy())
	w.Reset()
	appendDelete(w, 3, 9)
	f.Add(w.Copy())
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeRecord(b)
		if err != nil {
			return
		}
		w := pack.NewWriter()
		if rec.kind == kindEntry {
			appendEntry(w, &rec.log)
		} else {
			appendDelete(w, rec.min, rec.max)
		}
		again, err := decodeRecord(w.Bytes())
		if err != nil || again.log.Index != rec.log.Index || string(again.log.Data) != string(rec.log.Data) || again.max != rec.max {
			t.Errorf("%x reads back differently: %v", b, err)
		}
	})
}
