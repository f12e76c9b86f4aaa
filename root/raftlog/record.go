//go:build !zos

package raftlog

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"pando/internal/pack"
	"pando/wal"
)

// A record is: kind, then for an entry index, term, type, appended at (Unix
// nanoseconds, 0 for unknown), data, extensions; for a deletion the first and
// the last index.
const (
	kindEntry  = 1
	kindDelete = 2
)

type record struct {
	kind     uint64
	log      raft.Log
	min, max uint64
}

func appendEntry(w *pack.Writer, l *raft.Log) {
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	w.Uint(kindEntry)
	w.Uint(l.Index)
	w.Uint(l.Term)
	w.Uint(uint64(l.Type))
	w.Int(at)
	w.Bin(l.Data)
	w.Bin(l.Extensions)
}

func appendDelete(w *pack.Writer, lo, hi uint64) {
	w.Uint(kindDelete)
	w.Uint(lo)
	w.Uint(hi)
}

// decodeRecord reads a record; the entry's bytes share memory with b.
func decodeRecord(b []byte) (record, error) {
	const any64 = ^uint64(0)
	r := pack.NewReader(b)
	rec := record{kind: r.Uint("kind", 255)}
	switch {
	case r.Err() != nil:
	case rec.kind == kindEntry:
		rec.log.Index = r.Uint("index", any64)
		rec.log.Term = r.Uint("term", any64)
		rec.log.Type = raft.LogType(r.Uint("type", 255))
		if at := r.Int("appended at"); at != 0 {
			rec.log.AppendedAt = time.Unix(0, at)
		}
		if data := r.Bin("data", wal.MaxRecord); len(data) > 0 {
			rec.log.Data = data
		}
		if ext := r.Bin("extensions", wal.MaxRecord); len(ext) > 0 {
			rec.log.Extensions = ext
		}
	case rec.kind == kindDelete:
		rec.min, rec.max = r.Uint("first", any64), r.Uint("last", any64)
	default:
		return rec, fmt.Errorf("kind %d is unknown, a newer version wrote it: %w", rec.kind, ErrFormat)
	}
	if err := r.Done(); err != nil {
		return rec, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if rec.kind == kindEntry && rec.log.Index == 0 {
		return rec, fmt.Errorf("entry with index 0: %w", ErrFormat)
	}
	return rec, nil
}
