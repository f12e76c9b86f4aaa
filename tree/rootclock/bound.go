package rootclock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"pando/internal/durable"
)

// boundFile holds the bound of the hybrid logical clock: two slots of one
// sector each, written in turn, so that a torn write leaves the other one, and
// in place, so that a full disk cannot stop a node that needs no more room.
const (
	boundFile = "hlc.bound"
	slotSize  = 512
	slotBytes = 12 // bound u64, CRC-32C u32, big endian
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// slots is the open bound file. Only one write is under way at a time.
type slots struct {
	fs   durable.FS
	path string
	next int64 // slot that the next write goes to
}

// openBound opens the file, or makes it, and returns the highest bound in it.
func openBound(fsys durable.FS, path string) (*slots, uint64, error) {
	s := &slots{fs: fsys, path: path}
	b, err := durable.ReadFile(fsys, path, 2*slotSize)
	if errors.Is(err, fs.ErrNotExist) {
		return s, 0, durable.WriteFile(fsys, path, make([]byte, 2*slotSize))
	}
	if err != nil {
		return nil, 0, err
	}
	if len(b) != 2*slotSize {
		return nil, 0, fmt.Errorf("%s has %d bytes, want %d: it is not a clock bound", path, len(b), 2*slotSize)
	}
	var bound uint64
	valid := 0
	for i := range int64(2) {
		slot := b[i*slotSize:][:slotBytes]
		n := binary.BigEndian.Uint64(slot)
		switch {
		case n == 0 && binary.BigEndian.Uint32(slot[8:]) == 0:
			valid++ // not written yet
		case crc32.Checksum(slot[:8], castagnoli) == binary.BigEndian.Uint32(slot[8:]):
			valid++
			if n > bound {
				bound, s.next = n, 1-i
			}
		default:
			s.next = i // torn: written first
		}
	}
	if valid == 0 {
		return nil, 0, fmt.Errorf("%s: both slots are damaged; if the folder is otherwise good, remove the file once the time is later than when this node last ran", path)
	}
	return s, bound, nil
}

// write makes a bound durable.
func (s *slots) write(bound uint64) (err error) {
	var b [slotBytes]byte
	binary.BigEndian.PutUint64(b[:], bound)
	binary.BigEndian.PutUint32(b[8:], crc32.Checksum(b[:8], castagnoli))
	f, err := s.fs.OpenWrite(s.path)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(s.path), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(b[:], s.next*slotSize); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(s.path), err)
	}
	if err := f.Datasync(); err != nil {
		return fmt.Errorf("sync %s: %w", filepath.Base(s.path), err)
	}
	s.next = 1 - s.next
	return nil
}
