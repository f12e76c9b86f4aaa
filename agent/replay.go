package agent

import (
	"errors"
	"fmt"
	"path/filepath"

	"pando/event"
	"pando/internal/durable"
	"pando/tree/journal"
	"pando/wal"
)

// walDir is where an agent keeps its log below its data folder.
func walDir(dir string) string { return filepath.Join(dir, "wal") }

// replaySegment is the size of the segment that opening the log may prepare,
// although a replay appends nothing.
const replaySegment = 1 << 20

// Replay steps the log of an agent's data folder again and compares every
// recorded output hash; see [journal.Replay]. The agent must not run. Its name
// is taken from the log.
func Replay(dir string, fsys durable.FS) (journal.Report, error) {
	origin, err := originOf(dir, fsys)
	if err != nil {
		return journal.Report{}, fmt.Errorf("agent: %w", err)
	}
	o := wal.DefaultOptions(walDir(dir))
	o.FS, o.SegmentBytes = fsys, replaySegment
	rep, err := journal.Replay(o, func(id uint64, _ journal.Fetch) (journal.Core, error) { return NewCore(origin, id), nil })
	if err != nil {
		return rep, fmt.Errorf("agent: %w", err)
	}
	return rep, nil
}

// errFound ends a walk that has what it wanted.
var errFound = errors.New("found")

// originOf returns the origin that the log's batches name. A log without a
// batch names none, and needs none.
func originOf(dir string, fsys durable.FS) (origin string, err error) {
	err = wal.Records(fsys, walDir(dir), 0, func(_ wal.Seq, b []byte) error {
		if len(b) == 0 || b[0] != recBatch {
			return nil
		}
		h, err := event.DecodeHeader(b[1:])
		if err != nil {
			return err
		}
		origin = h.Unit.Origin
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return origin, err
}

// Batches calls visit for every batch in the log of an agent's data folder,
// in the log's order, decoded and as it stands, without opening or locking it.
// It serves audits from outside: what is here was accepted. The bytes are
// valid during the call.
func Batches(dir string, fsys durable.FS, visit func(b *event.Batch, encoded []byte) error) error {
	err := wal.Records(fsys, walDir(dir), 0, func(seq wal.Seq, rec []byte) error {
		if len(rec) == 0 || rec[0] != recBatch {
			return nil
		}
		b, err := event.Decode(rec[1:])
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		return visit(b, rec[1:])
	})
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}
