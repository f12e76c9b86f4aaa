package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Format is the version of the segment format this package writes and the
// only one it reads.
const Format = 1

const (
	// MaxRecord is the longest record in bytes. A batch of events is at most
	// 1 MiB, a Raft entry at most 512 KiB; the rest is room for the content
	// of models and configuration.
	MaxRecord = 4 << 20

	preambleSize = 64
	headerSize   = 32
	alignment    = 8 // of frames; a search for frames steps by it
	hashSize     = 32

	startSize = headerSize + hashSize // bytes of a start frame
	sealSize  = headerSize + hashSize // bytes of a seal
	markSize  = headerSize            // bytes of a mark

	lengthBits = 24 // of the payload length in the frame header
	lengthMask = 1<<lengthBits - 1
)

var magic = [8]byte{'P', 'A', 'N', 'D', 'O', 'W', 'A', 'L'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // immutable

// kind says what a frame is for.
type kind uint8

const (
	kindRecord kind = 1 // a caller's record
	kindStart  kind = 2 // first frame of a segment: where the log stood
	kindMark   kind = 3 // says that everything before it is synced
	kindSeal   kind = 4 // last frame of a segment
)

// preamble is written into a segment before the segment gets its name.
type preamble struct {
	id     uint64 // of the log
	number uint64 // of the segment, from 1
	size   int64  // bytes preallocated
	salt   uint64 // random; keeps the segment's frames apart from any copy of them
}

func (p preamble) encode() []byte {
	b := make([]byte, preambleSize)
	copy(b, magic[:])
	le := binary.LittleEndian
	le.PutUint32(b[8:], Format)
	le.PutUint32(b[12:], preambleSize)
	le.PutUint64(b[16:], p.id)
	le.PutUint64(b[24:], p.number)
	le.PutUint64(b[32:], uint64(p.size))
	le.PutUint64(b[40:], p.salt)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func decodePreamble(b []byte) (preamble, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < preambleSize:
		return preamble{}, fmt.Errorf("%d bytes are too few for a preamble", len(b))
	case [8]byte(b[:8]) != magic:
		return preamble{}, fmt.Errorf("not a segment: it begins with %q", b[:8])
	case crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]):
		return preamble{}, fmt.Errorf("checksum of the preamble does not match")
	case le.Uint32(b[8:]) != Format || le.Uint32(b[12:]) != preambleSize:
		return preamble{}, fmt.Errorf("format %d is unknown, this program reads format %d", le.Uint32(b[8:]), Format)
	}
	p := preamble{
		id: le.Uint64(b[16:]), number: le.Uint64(b[24:]),
		size: int64(le.Uint64(b[32:])), salt: le.Uint64(b[40:]),
	}
	if p.size < minSegmentBytes || p.size > maxSegmentBytes || p.id == 0 || p.number == 0 {
		return preamble{}, fmt.Errorf("preamble holds impossible values: size %d, log %x, number %d", p.size, p.id, p.number)
	}
	return p, nil
}

// seed is the checksum state that every frame of the segment starts from.
func (p preamble) seed() uint32 {
	var b [24]byte
	le := binary.LittleEndian
	le.PutUint64(b[0:], p.id)
	le.PutUint64(b[8:], p.number)
	le.PutUint64(b[16:], p.salt)
	return crc32.Checksum(b[:], castagnoli)
}

// header is a frame's header. All of its fields are covered by its checksum,
// which also covers, unwritten, the segment's salt and the frame's offset.
type header struct {
	kind    kind
	length  int    // of the payload, padding not included
	seq     Seq    // of the record; for other kinds of the last record before
	behind  uint32 // seq − behind is synced-to, the last record synced when the frame was written
	group   uint32 // offset in the segment before which all bytes were synced
	chain   uint32 // chain value before this frame
	payload uint32 // CRC32C of payload and padding
	crc     uint32 // CRC32C of salt, offset and the header before this field
}

func (h header) synced() Seq  { return h.seq - Seq(h.behind) }
func (h header) size() int64  { return frameSize(h.length) }
func (h header) next() uint32 { return chainAfter(h.chain, h.crc) }

// frameSize is the size of a frame with a payload of n bytes.
func frameSize(n int) int64 {
	return int64(headerSize + (n+alignment-1)&^(alignment-1))
}

// chainAfter is the chain value after a frame with checksum crc: CRC32C over
// the checksums of all frames of the log, in order. As each of them covers
// its frame, a frame or segment that is missing, doubled or out of place
// shows at the next one.
func chainAfter(chain, crc uint32) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], crc)
	return crc32.Update(chain, castagnoli, b[:])
}

// finish computes both checksums of a frame at offset off and writes the
// header in front of the payload. frame is the whole frame; its payload is
// there and its padding is zero. It returns the chain value after the frame.
func (h *header) finish(frame []byte, seed uint32, off int64) uint32 {
	h.payload = crc32.Checksum(frame[headerSize:], castagnoli)
	le := binary.LittleEndian
	le.PutUint32(frame[0:], uint32(h.kind)<<lengthBits|uint32(h.length))
	le.PutUint32(frame[4:], h.payload)
	le.PutUint64(frame[8:], uint64(h.seq))
	le.PutUint32(frame[16:], h.behind)
	le.PutUint32(frame[20:], h.group)
	le.PutUint32(frame[24:], h.chain)
	h.crc = headerCRC(frame, seed, off)
	le.PutUint32(frame[28:], h.crc)
	return h.next()
}

func headerCRC(frame []byte, seed uint32, off int64) uint32 {
	var b [8 + headerSize - 4]byte
	binary.LittleEndian.PutUint64(b[:], uint64(off))
	copy(b[8:], frame[:headerSize-4])
	return crc32.Update(seed, castagnoli, b[:])
}

// decodeHeader reads the header of a frame at offset off in a segment of
// limit bytes. It fails unless the header was written for that very place.
func decodeHeader(b []byte, seed uint32, off, limit int64) (header, error) {
	le := binary.LittleEndian
	if len(b) < headerSize {
		return header{}, fmt.Errorf("%d bytes are too few for a frame header", len(b))
	}
	word := le.Uint32(b)
	h := header{
		kind: kind(word >> lengthBits), length: int(word & lengthMask), payload: le.Uint32(b[4:]),
		seq: Seq(le.Uint64(b[8:])), behind: le.Uint32(b[16:]), group: le.Uint32(b[20:]),
		chain: le.Uint32(b[24:]), crc: le.Uint32(b[28:]),
	}
	switch {
	case h.kind < kindRecord || h.kind > kindSeal:
		return h, fmt.Errorf("kind %d of a frame is unknown", h.kind)
	case h.length > MaxRecord || off+h.size() > limit:
		return h, fmt.Errorf("frame of %d bytes does not fit", h.length)
	case int64(h.group) > off || h.group < preambleSize || h.group%alignment != 0:
		return h, fmt.Errorf("frame claims that bytes up to %d were synced before it", h.group)
	case Seq(h.behind) > h.seq:
		return h, fmt.Errorf("frame of record %d claims %d unsynced ones before it", h.seq, h.behind)
	case headerCRC(b, seed, off) != h.crc:
		return h, fmt.Errorf("checksum of the frame header does not match")
	}
	return h, nil
}

// checkPayload compares the frame's payload and padding with the header.
func (h header) checkPayload(frame []byte) error {
	if crc32.Checksum(frame[headerSize:h.size()], castagnoli) != h.payload {
		return fmt.Errorf("checksum of the payload does not match")
	}
	return nil
}
