//go:build !zos

package relay

import (
	"fmt"
	"path/filepath"

	"pando/internal/durable"
	"pando/tree/journal"
	"pando/wal"
)

// replaySegment is the size of the segment that opening the log may prepare,
// although a replay appends nothing.
const replaySegment = 1 << 20

// Replay steps the log of a relay's data folder again and compares every
// recorded output hash; see [journal.Replay]. The relay must not run. Its name
// comes from the log.
func Replay(dir string, fsys durable.FS) (journal.Report, error) {
	o := wal.DefaultOptions(filepath.Join(dir, "wal"))
	o.FS, o.SegmentBytes = fsys, replaySegment
	rep, err := journal.Replay(o, func(_ uint64, fetch journal.Fetch) (journal.Core, error) { return newCore("", fetch) })
	if err != nil {
		return rep, fmt.Errorf("relay: %w", err)
	}
	return rep, nil
}
