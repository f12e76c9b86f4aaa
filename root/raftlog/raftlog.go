//go:build !zos

// Package raftlog keeps hashicorp/raft's log on disk. [Open] gives a store on
// the project's write-ahead log: appends only, one fdatasync for a whole
// StoreLogs. [OpenBolt] gives raft-boltdb, which also keeps term and vote.
// Both pass one conformance test. [Watch] ends a member whose disk fails or
// hangs.
//
// The log-structured store assumes what Raft does: indexes rise by one, a
// conflict removes a suffix before it is written anew, compaction removes a
// prefix, and a jump forward happens only behind a snapshot that covers
// everything before it.
package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"pando/internal/durable"
	"pando/internal/pack"
	"pando/wal"
)

var (
	// ErrNotContiguous reports entries that would leave a hole in the log, or
	// a deletion in its middle. Raft asks for neither.
	ErrNotContiguous = errors.New("raft log entries are not contiguous")
	// ErrFormat reports a record that this version cannot read.
	ErrFormat = errors.New("raft log record is not readable")
)

// Options configure a [Store].
type Options struct {
	Dir          string     // the write-ahead log's folder
	FS           durable.FS // durable.OS() outside tests
	SegmentBytes int64      // of the write-ahead log; 0 for its default
	Logger       *slog.Logger
	Registerer   prometheus.Registerer // nil for no metrics
}

// Store is a [raft.LogStore] on a write-ahead log. Entries and deletions are
// appended as records; an index in memory, eight bytes an entry, maps each
// Raft index to its record. Safe for concurrent use.
//
// It is monotonic in Raft's sense: the index is dense and cannot hold a gap.
// Raft then empties the log when it installs a snapshot instead of leaving
// old entries before a gap. A crash between the two leaves the old entries;
// the first entry behind the snapshot then arrives with a jump, and the store
// drops what the snapshot covers.
type Store struct {
	log *wal.Log

	write sync.Mutex // serialises writers, who wait for the disk under it
	w     *pack.Writer

	mu    sync.RWMutex // guards the index
	first uint64       // Raft index of seqs[0]; 0 while the log is empty
	seqs  []wal.Seq
}

var (
	_ raft.LogStore          = (*Store)(nil)
	_ raft.MonotonicLogStore = (*Store)(nil)
)

// Open opens or creates the store and reads it through once to build the
// index. Errors of the write-ahead log come wrapped: wal.ErrCorrupt,
// wal.ErrLocked.
func Open(o Options) (*Store, wal.Recovery, error) {
	wo := wal.DefaultOptions(o.Dir)
	if o.FS != nil {
		wo.FS = o.FS
	}
	if o.Logger != nil {
		wo.Logger = o.Logger
	}
	if o.SegmentBytes != 0 {
		wo.SegmentBytes = o.SegmentBytes
	}
	wo.Registerer = o.Registerer
	log, recovery, err := wal.Open(wo)
	if err != nil {
		return nil, recovery, fmt.Errorf("open raft log: %w", err)
	}
	s := &Store{log: log, w: pack.NewWriter()}
	if err := s.replay(); err != nil {
		return nil, recovery, errors.Join(fmt.Errorf("open raft log in %s: %w", o.Dir, err), log.Close())
	}
	return s, recovery, nil
}

// replay builds the index from the records.
func (s *Store) replay() error {
	r := s.log.Reader(s.log.First())
	for {
		seq, b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		rec, err := decodeRecord(b)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		switch rec.kind {
		case kindEntry:
			err = s.put(rec.log.Index, seq)
		case kindDelete:
			s.cut(rec.min, rec.max)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
	}
}

// put adds an entry to the end of the index.
func (s *Store) put(index uint64, seq wal.Seq) error {
	if len(s.seqs) == 0 {
		s.first = index
	} else if next := s.first + uint64(len(s.seqs)); index != next {
		return fmt.Errorf("entry %d follows %d: %w", index, next-1, ErrNotContiguous)
	}
	s.seqs = append(s.seqs, seq)
	return nil
}

// cut removes [lo, hi], which reaches to one end of the log or beyond it.
func (s *Store) cut(lo, hi uint64) {
	if len(s.seqs) == 0 || hi < s.first {
		return
	}
	last := s.first + uint64(len(s.seqs)) - 1
	switch {
	case lo <= s.first && hi >= last:
		s.first, s.seqs = 0, nil
	case lo <= s.first:
		kept := s.seqs[hi-s.first+1:]
		if len(kept) < cap(s.seqs)/4 {
			kept = append(make([]wal.Seq, 0, 2*len(kept)), kept...) // give memory back
		}
		s.first, s.seqs = hi+1, kept
	case lo <= last:
		s.seqs = s.seqs[:lo-s.first]
	}
}

// bounds returns the first and last index; zeros while the log is empty.
func (s *Store) bounds() (first, last uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.seqs) == 0 {
		return 0, 0
	}
	return s.first, s.first + uint64(len(s.seqs)) - 1
}

// FirstIndex implements [raft.LogStore].
func (s *Store) FirstIndex() (uint64, error) {
	first, _ := s.bounds()
	return first, nil
}

// LastIndex implements [raft.LogStore].
func (s *Store) LastIndex() (uint64, error) {
	_, last := s.bounds()
	return last, nil
}

// IsMonotonic implements [raft.MonotonicLogStore].
func (s *Store) IsMonotonic() bool { return true }

// GetLog implements [raft.LogStore]. It returns [raft.ErrLogNotFound] itself,
// which Raft compares by identity.
func (s *Store) GetLog(index uint64, out *raft.Log) error {
	s.mu.RLock()
	if len(s.seqs) == 0 || index < s.first || index-s.first >= uint64(len(s.seqs)) {
		s.mu.RUnlock()
		return raft.ErrLogNotFound
	}
	seq := s.seqs[index-s.first]
	s.mu.RUnlock()
	b, err := s.log.Read(seq)
	if errors.Is(err, wal.ErrTrimmed) {
		return raft.ErrLogNotFound // compacted since the index was read
	}
	if err != nil {
		return fmt.Errorf("read raft entry %d: %w", index, err)
	}
	rec, err := decodeRecord(b)
	if err != nil {
		return fmt.Errorf("read raft entry %d: %w", index, err)
	}
	if rec.kind != kindEntry || rec.log.Index != index {
		return fmt.Errorf("read raft entry %d: found entry %d: %w", index, rec.log.Index, ErrFormat)
	}
	*out = rec.log
	return nil
}

// StoreLog implements [raft.LogStore].
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements [raft.LogStore]: it returns when all entries are on
// the disk, and only then can they be read.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.makeContiguous(logs); err != nil {
		return fmt.Errorf("store raft entries: %w", err)
	}
	seqs := make([]wal.Seq, len(logs))
	for i, l := range logs {
		s.w.Reset()
		appendEntry(s.w, l)
		seq, err := s.log.Append(s.w.Bytes(), true)
		if err != nil {
			return fmt.Errorf("store raft entry %d: %w", l.Index, err)
		}
		seqs[i] = seq
	}
	if err := s.log.Wait(context.Background(), seqs[len(seqs)-1]); err != nil {
		return fmt.Errorf("store raft entries: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range logs {
		if err := s.put(l.Index, seqs[i]); err != nil {
			return fmt.Errorf("store raft entries: %w", err)
		}
	}
	return nil
}

// makeContiguous checks the entries against one another and against the log.
// A jump forward drops what is there; see [Store].
func (s *Store) makeContiguous(logs []*raft.Log) error {
	for i := 1; i < len(logs); i++ {
		if logs[i].Index != logs[i-1].Index+1 {
			return fmt.Errorf("entry %d follows %d: %w", logs[i].Index, logs[i-1].Index, ErrNotContiguous)
		}
	}
	first, last := s.bounds()
	switch index := logs[0].Index; {
	case last == 0 || index == last+1:
		return nil
	case index > last+1:
		return s.remove(first, last)
	default:
		return fmt.Errorf("entry %d is not behind the last, %d, which was not deleted: %w", index, last, ErrNotContiguous)
	}
}

// DeleteRange implements [raft.LogStore] for a prefix or a suffix of the log.
// It returns when the deletion is on the disk.
func (s *Store) DeleteRange(lo, hi uint64) error {
	s.write.Lock()
	defer s.write.Unlock()
	first, last := s.bounds()
	if last == 0 || hi < first || lo > last || lo > hi {
		return nil
	}
	if lo > first && hi < last {
		return fmt.Errorf("delete raft entries %d to %d of %d to %d: %w", lo, hi, first, last, ErrNotContiguous)
	}
	if err := s.remove(lo, hi); err != nil {
		return fmt.Errorf("delete raft entries %d to %d: %w", lo, hi, err)
	}
	return nil
}

// remove appends the deletion, waits for the disk, and trims segments that
// hold nothing but removed entries. The deletion is always newer than the
// first entry that remains, so trimming never takes a deletion away from
// entries that it hides.
func (s *Store) remove(lo, hi uint64) error {
	s.w.Reset()
	appendDelete(s.w, lo, hi)
	seq, err := s.log.Append(s.w.Bytes(), true)
	if err != nil {
		return err
	}
	if err := s.log.Wait(context.Background(), seq); err != nil {
		return err
	}
	s.mu.Lock()
	s.cut(lo, hi)
	keep := seq
	if len(s.seqs) > 0 {
		keep = s.seqs[0]
	}
	s.mu.Unlock()
	return s.log.TrimBefore(keep)
}

// Close syncs and closes the write-ahead log.
func (s *Store) Close() error { return s.log.Close() }
