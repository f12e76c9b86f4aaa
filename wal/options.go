package wal

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"pando/internal/durable"
)

const (
	minSegmentBytes = 1 << 10 // room for the frames every segment has
	maxSegmentBytes = 1 << 30 // offsets in a segment are 32 bits wide
	minGroupBytes   = 512     // less than a sector saves no time

	// maxGroup is the most bytes one sync covers, unless a single record is
	// longer. 1 MiB takes 7 to 20 ms on an ordinary disk, and more in one
	// sync gains no throughput.
	maxGroup = 1 << 20
)

// Options configures a log. [DefaultOptions] gives usable values.
type Options struct {
	Dir string     // the log's folder, created if missing; nothing else writes there
	FS  durable.FS // the file system

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed

	// SegmentBytes is the size of a new segment file, 1 KiB to 1 GiB. It is
	// preallocated and zero-filled. Existing segments keep theirs.
	SegmentBytes int64
	// GroupBytes is the most bytes that one sync covers while urgent appends
	// come in, 512 B to 1 MiB: a bound on what an urgent record waits for.
	// Without urgent ones a group grows to 1 MiB.
	GroupBytes int
	// MaxBytes is the most disk that segments may take, the prepared one
	// included; 0 leaves it to the disk. At least two segments. A log that is
	// found full by Open takes one more, which is not for data: see [Log.Over].
	MaxBytes int64
}

// DefaultOptions are the options for a log in dir on the real file system.
func DefaultOptions(dir string) Options {
	return Options{
		Dir: dir, FS: durable.OS(), Logger: slog.New(slog.DiscardHandler),
		SegmentBytes: 64 << 20, GroupBytes: 128 << 10,
	}
}

func (o Options) validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Dir == "" {
		bad("the folder is missing")
	}
	if o.FS == nil {
		bad("the file system is missing")
	}
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes || o.SegmentBytes%alignment != 0 {
		bad("segment size %d must be between %d and %d and divisible by %d", o.SegmentBytes, minSegmentBytes, maxSegmentBytes, alignment)
	}
	if o.GroupBytes < minGroupBytes || o.GroupBytes > maxGroup {
		bad("group size %d must be between %d and %d", o.GroupBytes, minGroupBytes, maxGroup)
	}
	if o.MaxBytes != 0 && o.MaxBytes < 2*o.SegmentBytes {
		bad("size limit %d must be 0 or at least two segments, %d", o.MaxBytes, 2*o.SegmentBytes)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("wal options: %w", errors.Join(faults...))
}

// maxRecord is the longest record that fits a segment of its own.
func (o Options) maxRecord() int {
	return int(min(MaxRecord, o.SegmentBytes-preambleSize-startSize-headerSize-trailer-alignment))
}
