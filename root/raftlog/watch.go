//go:build !zos

package raftlog

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// ErrStalled reports a write to the store that took longer than the limit.
var ErrStalled = errors.New("raft store stalled")

// Watch gives a member up when its disk fails or hangs. A leader whose disk
// hangs goes on sending heartbeats, so no other member would stand for
// election (hashicorp/raft issues 503 and 612); a write that fails or times
// out and is then ignored is worse. So the first such write calls fatal,
// once, whose duty it is to silence this member and end the process.
type Watch struct {
	limit   time.Duration
	observe func(time.Duration) // called with the time StoreLogs took; may be nil
	fatal   func(error)
	once    sync.Once
}

// NewWatch returns a watch that allows each write limit.
func NewWatch(limit time.Duration, observe func(time.Duration), fatal func(error)) *Watch {
	return &Watch{limit: limit, observe: observe, fatal: fatal}
}

// patience is in how many parts the limit is waited for. A process that was
// stopped (a virtual machine that moves, a frozen container) wakes up with the
// limit long over and its disk in order: it sees one part end, not all, and
// the write has the rest of them to return.
const patience = 10

// guard runs one write under the limit.
func (w *Watch) guard(op string, write func() error) error {
	var mu sync.Mutex
	left, over := patience, false
	var timer *time.Timer
	mu.Lock()
	timer = time.AfterFunc(w.limit/patience, func() {
		mu.Lock()
		defer mu.Unlock()
		if left--; over {
			return
		}
		if left > 0 {
			timer.Reset(w.limit / patience)
			return
		}
		w.fire(fmt.Errorf("%s has not returned after %s; check the disk: %w", op, w.limit, ErrStalled))
	})
	mu.Unlock()
	err := write()
	mu.Lock()
	over = true
	timer.Stop()
	mu.Unlock()
	if err != nil {
		w.fire(fmt.Errorf("%s: %w", op, err))
	}
	return err
}

func (w *Watch) fire(err error) { w.once.Do(func() { w.fatal(err) }) }

// Logs watches a log store.
func (w *Watch) Logs(s raft.LogStore) raft.LogStore { return &watchedLogs{s, w} }

// Stable watches the store of term and vote.
func (w *Watch) Stable(s raft.StableStore) raft.StableStore { return &watchedStable{s, w} }

type watchedLogs struct {
	raft.LogStore
	watch *Watch
}

// IsMonotonic passes on what the store says of itself; embedding would hide
// it from Raft.
func (s *watchedLogs) IsMonotonic() bool {
	m, ok := s.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

func (s *watchedLogs) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *watchedLogs) StoreLogs(logs []*raft.Log) error {
	began := time.Now()
	err := s.watch.guard("store raft entries", func() error { return s.LogStore.StoreLogs(logs) })
	if err == nil && s.watch.observe != nil {
		s.watch.observe(time.Since(began))
	}
	return err
}

func (s *watchedLogs) DeleteRange(lo, hi uint64) error {
	return s.watch.guard("delete raft entries", func() error { return s.LogStore.DeleteRange(lo, hi) })
}

type watchedStable struct {
	raft.StableStore
	watch *Watch
}

func (s *watchedStable) Set(key, val []byte) error {
	return s.watch.guard("store raft term or vote", func() error { return s.StableStore.Set(key, val) })
}

func (s *watchedStable) SetUint64(key []byte, val uint64) error {
	return s.watch.guard("store raft term or vote", func() error { return s.StableStore.SetUint64(key, val) })
}
