package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"pando/internal/durable"
)

// Seq numbers the records of a log. The first record is 1; sequences rise by
// one for the whole life of the log, restarts included.
type Seq uint64

const (
	segmentSuffix  = ".wal"
	preparedSuffix = ".prep"   // being zero-filled; worthless after a crash
	brokenSuffix   = ".broken" // bytes that recovery cut off
	nameDigits     = 16

	// indexStep is how many bytes of frames lie between two entries of a
	// segment's index: one read of this size finds any short record, and the
	// index of a 64 MiB segment takes 32 KiB.
	indexStep = 16 << 10
)

func segmentName(number uint64) string {
	return fmt.Sprintf("%0*d%s", nameDigits, number, segmentSuffix)
}

// segmentNumber is the inverse of segmentName; 0 for other names.
func segmentNumber(name string) uint64 {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != nameDigits {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// SegmentInfo describes one segment file.
type SegmentInfo struct {
	Name        string // file name within the log's folder
	Number      uint64
	First, Last Seq   // Last is First−1 while there is no record
	Bytes       int64 // used, from the start of the file
	Sealed      bool
	// SHA256 is the hash of a sealed segment: over all its bytes but the seal
	// frame, which are the first Bytes − [SealBytes] bytes of the file. The
	// segment after it repeats the hash in its start frame.
	SHA256 [hashSize]byte
}

// SealBytes is the length of the seal frame that ends a sealed segment.
const SealBytes = sealSize

// segment is what is known of one segment file. The fields below mu are
// guarded by the owning Log's mutex.
type segment struct {
	name string
	pre  preamble
	seed uint32 // derived from pre

	first Seq
	chain uint32 // before the start frame

	// guarded by Log.mu
	last   Seq   // first−1 while empty
	end    int64 // everything before it is synced and may be read
	sealed bool
	sum    [hashSize]byte
	index  sparseIndex
	file   durable.File // open for reading, or nil
	pins   int          // readers using file
}

func (s *segment) info() SegmentInfo {
	return SegmentInfo{
		Name: s.name, Number: s.pre.number, First: s.first, Last: s.last,
		Bytes: s.end, Sealed: s.sealed, SHA256: s.sum,
	}
}

// fileBytes is the size of the segment's file.
func (s *segment) fileBytes() int64 {
	if s.sealed {
		return s.end
	}
	return s.pre.size
}

// sparseIndex finds the neighbourhood of a record in a segment.
type sparseIndex struct {
	entries []indexEntry
}

type indexEntry struct {
	record uint32 // sequence − first of the segment
	off    uint32 // of its frame
}

// add notes a record, if the last noted one is far enough behind.
func (x *sparseIndex) add(record uint64, off int64) {
	if n := len(x.entries); n > 0 && off-int64(x.entries[n-1].off) < indexStep {
		return
	}
	x.entries = append(x.entries, indexEntry{uint32(record), uint32(off)})
}

// find returns a noted record at or before the given one, and its offset.
func (x *sparseIndex) find(record uint64) (at uint64, off int64) {
	i := sort.Search(len(x.entries), func(i int) bool { return uint64(x.entries[i].record) > record })
	if i == 0 {
		return 0, preambleSize
	}
	e := x.entries[i-1]
	return uint64(e.record), int64(e.off)
}

// createSegment makes an unused segment: zero-filled, with its preamble, under
// its final name. After a crash the name stands for a whole unused segment or
// is not there. The file is open for writing. Pause is that of [durable.ZeroFill].
func createSegment(fsys durable.FS, dir string, pre preamble, pause func(at int64) error) (durable.File, error) {
	name := filepath.Join(dir, segmentName(pre.number))
	temp := name + preparedSuffix
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := fillSegment(fsys, f, pre, temp, name, pause); err != nil {
		_ = f.Close()
		_ = fsys.Remove(temp) // gives back the space; the next attempt removes it too
		return nil, fmt.Errorf("create segment %s: %w", filepath.Base(name), err)
	}
	return f, nil
}

func fillSegment(fsys durable.FS, f durable.File, pre preamble, temp, name string, pause func(at int64) error) error {
	if _, err := f.WriteAt(pre.encode(), 0); err != nil {
		return err
	}
	if err := durable.ZeroFill(f, preambleSize, pre.size, pause); err != nil {
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}
