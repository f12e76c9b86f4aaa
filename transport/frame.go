package transport

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame, big endian:
//
//	length   u32  of the payload
//	type     u8
//	flags    u8   bit 0: more chunks of this message follow
//	reserved u16  zero
//	hlc      u64
//	crc      u32  CRC-32C of the 16 bytes before it and the payload
//	payload
const (
	headerSize = 20
	crcAt      = 16

	// maxPayload leaves room for a chunk's prefix.
	maxPayload = MaxChunk + 64

	flagMore = 1

	// readBuffer holds the largest frame whole and makes one read serve many
	// small ones. A TLS record brings at most 16 KiB.
	readBuffer = 64 << 10
)

type frameType uint8

const (
	frameHello frameType = iota + 1
	frameWelcome
	frameRefuse
	frameAttach
	frameAttached
	framePing
	framePong
	frameCredit
	frameClose
	frameControl
	frameData

	frameTypes = frameData
)

func (t frameType) String() string {
	names := [...]string{"frame 0", "HELLO", "WELCOME", "REFUSE", "ATTACH", "ATTACHED", "PING", "PONG", "CREDIT", "CLOSE", "CONTROL", "DATA"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("frame %d", uint8(t))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a frame whose payload is prefix followed by payload.
// Together they must not exceed maxPayload.
func appendFrame(dst []byte, typ frameType, more bool, hlc uint64, prefix, payload []byte) []byte {
	at := len(dst)
	var header [headerSize]byte
	binary.BigEndian.PutUint32(header[0:], uint32(len(prefix)+len(payload)))
	header[4] = byte(typ)
	if more {
		header[5] = flagMore
	}
	binary.BigEndian.PutUint64(header[8:], hlc)
	dst = append(dst, header[:]...)
	dst = append(dst, prefix...)
	dst = append(dst, payload...)
	crc := crc32.Update(0, castagnoli, dst[at:at+crcAt])
	crc = crc32.Update(crc, castagnoli, dst[at+headerSize:])
	binary.BigEndian.PutUint32(dst[at+crcAt:], crc)
	return dst
}

// frame is one frame as it came in.
type frame struct {
	typ     frameType
	more    bool
	hlc     uint64
	payload []byte // valid until the next frame is read
}

// frameReader cuts frames out of a stream. It never allocates after its
// buffer: a frame above the limit is refused by its header. Not safe for
// concurrent use.
type frameReader struct {
	src   io.Reader
	peer  string // for error messages
	buf   []byte
	r, w  int  // unread bytes are buf[r:w]
	fresh bool // bytes came from src since the last call of took
}

func newFrameReader(src io.Reader, peer string) *frameReader {
	return &frameReader{src: src, peer: peer, buf: make([]byte, readBuffer)}
}

// took reports, once, that bytes have come from the stream since it last did.
func (f *frameReader) took() bool {
	fresh := f.fresh
	f.fresh = false
	return fresh
}

// next returns the next frame. io.EOF means that the stream ended between
// two frames; other damage is an error that wraps [ErrProtocol].
func (f *frameReader) next() (frame, error) {
	if err := f.fill(headerSize); err != nil {
		return frame{}, err
	}
	header := f.buf[f.r : f.r+headerSize]
	length := binary.BigEndian.Uint32(header)
	if length > maxPayload {
		return frame{}, violation(CodeOversize, "frame of %d bytes from %s, limit %d: %w", length, f.peer, maxPayload, ErrFrameTooLarge)
	}
	size := headerSize + int(length)
	if err := f.fill(size); err != nil {
		return frame{}, err
	}
	raw := f.buf[f.r : f.r+size] // fill may have moved the bytes
	f.r += size
	crc := crc32.Update(0, castagnoli, raw[:crcAt])
	crc = crc32.Update(crc, castagnoli, raw[headerSize:])
	if want := binary.BigEndian.Uint32(raw[crcAt:]); crc != want {
		return frame{}, violation(CodeChecksum, "frame of %d bytes from %s: crc %08x, header says %08x: %w", length, f.peer, crc, want, ErrChecksum)
	}
	typ, flags := frameType(raw[4]), raw[5]
	if typ == 0 || typ > frameTypes || flags&^flagMore != 0 || raw[6] != 0 || raw[7] != 0 {
		return frame{}, violation(CodeMalformed, "%s with flags %#x from %s: %w", typ, flags, f.peer, ErrProtocol)
	}
	return frame{typ: typ, more: flags&flagMore != 0, hlc: binary.BigEndian.Uint64(raw[8:]), payload: raw[headerSize:]}, nil
}

// fill reads until n bytes are unread in the buffer; n is at most a frame.
func (f *frameReader) fill(n int) error {
	for f.w-f.r < n {
		if f.r == f.w {
			f.r, f.w = 0, 0
		} else if f.r+n > len(f.buf) {
			f.w = copy(f.buf, f.buf[f.r:f.w])
			f.r = 0
		}
		got, err := f.src.Read(f.buf[f.w:])
		f.w += got
		if got > 0 {
			f.fresh = true
			continue
		}
		if err == io.EOF && f.w > f.r {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}
