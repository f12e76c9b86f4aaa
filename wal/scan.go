package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"pando/internal/durable"
)

// scanWindow is how much of a file a scan holds in memory, unless a single
// frame is longer. Larger reads gain nothing on the machines measured.
const scanWindow = 256 << 10

// window reads a file forwards through one buffer.
type window struct {
	f    durable.File
	size int64 // of the file
	at   int64 // offset of buf
	buf  []byte
	mem  []byte // what buf is a part of
}

// bytes returns the n bytes at off, or fewer at the end of the file. They are
// valid until the next call.
func (w *window) bytes(off int64, n int) ([]byte, error) {
	if off < w.at || off+int64(n) > w.at+int64(len(w.buf)) {
		if err := w.load(off, n); err != nil {
			return nil, err
		}
	}
	from := min(off-w.at, int64(len(w.buf)))
	return w.buf[from:min(from+int64(n), int64(len(w.buf)))], nil
}

func (w *window) load(off int64, n int) error {
	want := max(n, scanWindow)
	if cap(w.mem) < want {
		w.mem = make([]byte, want)
	}
	w.at = off
	w.buf = w.mem[:max(0, min(int64(want), w.size-off))]
	got, err := w.f.ReadAt(w.buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	w.buf = w.buf[:got]
	return nil
}

// scan is what reading a segment from its start found.
type scan struct {
	name string
	pre  preamble
	seed uint32
	size int64 // of the file

	started bool // there is a valid start frame
	first   Seq
	last    Seq
	prev    [hashSize]byte // hash of the segment before, from the start frame
	chain   uint32         // before the start frame
	after   uint32         // after the last valid frame
	end     int64          // behind the last valid frame
	group   int64          // of the last valid frame: bytes before it are synced for certain
	vouched bool           // the last frame itself says that all bytes before it are synced
	sealed  bool
	sum     [hashSize]byte // from the seal
	index   sparseIndex

	damage *damage // nil: nothing but zeros after end
}

// damage is a place where the frames of a segment stop making sense.
type damage struct {
	off     int64
	reason  string
	dirty   int64 // behind the last byte that is not zero
	vouched bool  // the bytes at off had been synced, so they were not torn by a crash
	alive   bool  // a valid frame lies at or behind off
}

type visitor func(h header, off int64, payload []byte) error

// scanSegment reads a segment and checks every frame. It fails only if the
// file cannot be read; damage is part of the result. visit, if not nil, sees
// each frame; its payload is valid during the call, and its error ends the
// scan.
func scanSegment(f durable.File, name string, visit visitor) (*scan, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", name, err)
	}
	s := &scan{name: name, size: size, end: preambleSize, group: preambleSize}
	w := &window{f: f, size: size}
	var dirty int64
	var unread error
	var tail sync.WaitGroup // what is empty yet is read beside what is full
	tail.Go(func() { dirty, unread = lastNonZero(f, size) })
	ok, err := s.frames(w, visit)
	tail.Wait()
	if ok && err == nil {
		if err = unread; err == nil {
			err = s.judge(w, max(dirty, s.end))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", name, err)
	}
	return s, nil
}

// frames goes to where the frames end, in order or by damage. It reports false if
// the file is damaged as a whole.
func (s *scan) frames(w *window, visit visitor) (bool, error) {
	head, err := w.bytes(0, preambleSize)
	if err != nil {
		return false, err
	}
	if s.pre, err = decodePreamble(head); err != nil {
		s.damage = &damage{off: 0, reason: err.Error(), vouched: true}
		return false, nil
	}
	s.seed = s.pre.seed()
	switch {
	case s.pre.number != segmentNumber(s.name):
		s.damage = &damage{off: 0, reason: fmt.Sprintf("the file holds segment %d", s.pre.number), vouched: true}
		return false, nil
	case s.size > s.pre.size:
		s.damage = &damage{off: s.pre.size, reason: "the file is longer than its preamble says", vouched: true}
		return false, nil
	}
	for !s.sealed {
		more, err := s.frame(w, visit)
		if err != nil {
			return false, err
		}
		if !more {
			break
		}
	}
	return true, nil
}

// frame checks the frame at s.end and moves behind it. It reports false where
// the frames end, in order or by damage.
func (s *scan) frame(w *window, visit visitor) (bool, error) {
	off := s.end
	b, err := w.bytes(off, headerSize)
	if err != nil || len(b) < headerSize || isZero(b) {
		return false, err
	}
	h, bad := decodeHeader(b, s.seed, off, min(s.size, s.pre.size))
	if bad == nil {
		if b, err = w.bytes(off, int(h.size())); err != nil {
			return false, err
		}
		bad = s.check(h, b)
	}
	if bad != nil {
		s.damage = &damage{off: off, reason: bad.Error()}
		return false, nil
	}
	payload := b[headerSize : headerSize+h.length]
	s.apply(h, off, payload)
	if visit != nil {
		return true, visit(h, off, payload)
	}
	return true, nil
}

// check compares a frame that was written for this place with what came
// before it.
func (s *scan) check(h header, frame []byte) error {
	if int64(len(frame)) < h.size() {
		return fmt.Errorf("the file ends within the frame")
	}
	if err := h.checkPayload(frame); err != nil {
		return err
	}
	if (h.kind == kindStart) == s.started {
		return fmt.Errorf("a start frame must be the first frame and no other")
	}
	if !s.started {
		if h.length != hashSize {
			return fmt.Errorf("start frame of %d bytes", h.length)
		}
		return nil
	}
	want := s.last
	if h.kind == kindRecord {
		want++
	}
	switch {
	case h.seq != want:
		return fmt.Errorf("sequence %d where %d belongs", h.seq, want)
	case h.chain != s.after:
		return fmt.Errorf("chain value %08x where %08x belongs", h.chain, s.after)
	case int64(h.group) < s.group:
		return fmt.Errorf("synced offset went back from %d to %d", s.group, h.group)
	case h.kind == kindSeal && h.length != hashSize, h.kind == kindMark && h.length != 0:
		return fmt.Errorf("frame of kind %d with %d bytes", h.kind, h.length)
	}
	return nil
}

func (s *scan) apply(h header, off int64, payload []byte) {
	switch h.kind {
	case kindStart:
		s.started, s.first, s.last, s.chain = true, h.seq+1, h.seq, h.chain
		s.prev = [hashSize]byte(payload)
	case kindRecord:
		s.last = h.seq
		s.index.add(uint64(h.seq-s.first), off)
	case kindSeal:
		s.sealed = true
		s.sum = [hashSize]byte(payload)
	}
	s.after = h.next()
	s.vouched = int64(h.group) == off && h.kind != kindRecord
	s.group = int64(h.group)
	s.end = off + h.size()
}

// judge looks at what lies behind the last valid frame: zeros, a torn write
// or damage to bytes that had been synced.
func (s *scan) judge(w *window, dirty int64) error {
	switch {
	case s.damage != nil:
	case s.sealed && dirty > s.end:
		s.damage = &damage{off: s.end, reason: "bytes after the seal", vouched: true}
	case !s.sealed && dirty > s.end:
		s.damage = &damage{off: s.end, reason: "zeros where a frame should be, with other bytes behind them"}
	case !s.sealed && s.size < s.pre.size:
		// The size was synced before the segment got its name.
		s.damage = &damage{off: s.end, reason: fmt.Sprintf("the file has %d bytes of %d", s.size, s.pre.size), vouched: true}
	default:
		return nil
	}
	s.damage.dirty = max(dirty, s.damage.off)
	return s.seekVoucher(w)
}

// seekVoucher searches the bytes behind the damage for a frame that was
// written after the damaged bytes had been synced. Only the frame's header
// needs to be whole: its checksum covers a secret salt and its own offset, so
// neither chance nor a copy of a frame within a payload passes for one.
func (s *scan) seekVoucher(w *window) error {
	d := s.damage
	limit := min(s.size, s.pre.size)
	for off := d.off; off < d.dirty && off+headerSize <= limit; off += alignment {
		b, err := w.bytes(off, headerSize)
		if err != nil {
			return err
		}
		h, bad := decodeHeader(b, s.seed, off, limit)
		if bad != nil {
			continue
		}
		d.alive = true
		if int64(h.group) > d.off {
			d.vouched = true
			d.reason += fmt.Sprintf("; the frame at byte %d was written after these bytes had been synced", off)
			return nil
		}
	}
	return nil
}

// lastNonZero returns the offset behind the last byte of a file that is not zero.
func lastNonZero(f durable.File, size int64) (int64, error) {
	buf := make([]byte, min(scanWindow, size))
	for end := size; end > 0; {
		b := buf[:min(int64(len(buf)), end)]
		at := end - int64(len(b))
		if n, err := f.ReadAt(b, at); n < len(b) {
			return 0, errors.Join(io.ErrUnexpectedEOF, err)
		}
		if !isZero(b) {
			return at + int64(len(bytes.TrimRight(b, "\x00"))), nil
		}
		end = at
	}
	return 0, nil
}

func isZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

var zeros [4096]byte // never written
