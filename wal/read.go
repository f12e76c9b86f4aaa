package wal

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"

	"pando/internal/durable"
)

// maxOpenSegments is how many segment files stay open for reading while
// nobody reads them. Readers work in a few places of a log at a time.
const maxOpenSegments = 16

// openFiles opens segments for reading and keeps the last used ones open.
// Guarded by Log.mu.
type openFiles struct {
	fs   durable.FS
	dir  string
	open []*segment // most recently used last
}

// pin returns the segment's file, which stays open until unpin.
func (o *openFiles) pin(s *segment) (durable.File, error) {
	if s.file == nil {
		f, err := o.fs.Open(filepath.Join(o.dir, s.name))
		if err != nil {
			return nil, fmt.Errorf("open segment: %w", err)
		}
		s.file = f
	} else if i := slices.Index(o.open, s); i >= 0 {
		o.open = slices.Delete(o.open, i, i+1)
	}
	o.open = append(o.open, s)
	s.pins++
	return s.file, nil
}

// unpin ends one use. Files are read only, so closing them cannot lose data
// and its error means nothing.
func (o *openFiles) unpin(s *segment) {
	s.pins--
	for i := 0; len(o.open) > maxOpenSegments && i < len(o.open); i++ {
		if t := o.open[i]; t.pins == 0 {
			o.forget(t)
			i--
		}
	}
}

// forget closes the segment's file unless somebody reads it.
func (o *openFiles) forget(s *segment) {
	i := slices.Index(o.open, s)
	if i < 0 || s.pins > 0 {
		return
	}
	_ = s.file.Close()
	s.file = nil
	o.open = slices.Delete(o.open, i, i+1)
}

func (o *openFiles) closeAll() {
	for _, s := range o.open {
		_ = s.file.Close()
		s.file = nil
	}
	o.open = nil
}

// Read returns a copy of one record, synced or not. A record older than
// First gives [ErrTrimmed], one that was not appended yet [io.EOF].
func (l *Log) Read(seq Seq) ([]byte, error) {
	r := l.Reader(seq)
	r.single = true
	_, rec, err := r.Next()
	if err != nil {
		return nil, fmt.Errorf("read record %d: %w", seq, err)
	}
	return bytes.Clone(rec), nil
}

// Reader reads records in order, from one that is chosen. It holds no lock
// and no open file between calls, so it needs no Close. Not safe for
// concurrent use.
type Reader struct {
	log    *Log
	next   Seq
	single bool // one record is wanted: read little ahead
	retain bool // what buf was once stays as it is

	seg *segment // where the next record's frame is, if off is not 0
	off int64
	end int64 // of seg, as known at the last look
	at  int64 // offset of buf in seg
	buf []byte
}

// Reader returns a reader whose first record is from. The log may be appended
// to and trimmed meanwhile.
func (l *Log) Reader(from Seq) *Reader { return &Reader{log: l, next: max(from, 1)} }

// Skip makes to the next record, if that is further on. What lies between is
// not read.
func (r *Reader) Skip(to Seq) {
	if to > r.next {
		r.next, r.off = to, 0
	}
}

// Retain makes the bytes of the records to come valid for good. As long as any of
// them is in use, so is the memory of up to 256 KB around it.
func (r *Reader) Retain() { r.retain = true }

// readAhead is how much a reader takes from the file at a time.
const readAhead = 256 << 10

// Next returns the next record and its sequence, synced or not. The bytes are
// valid until the next call, unless [Reader.Retain] was called. [io.EOF] means
// that no more is appended yet, and a later call may succeed; [ErrTrimmed] that the
// record is gone.
func (r *Reader) Next() (Seq, []byte, error) {
	for {
		if rec, ok, err := r.fromBuffer(); err != nil {
			return 0, nil, err
		} else if ok {
			r.next++
			return r.next - 1, rec, nil
		}
		rec, err := r.look()
		if err != nil {
			return 0, nil, err
		}
		if rec != nil {
			r.next++
			return r.next - 1, rec, nil
		}
	}
}

// fromBuffer takes the next record out of the buffer, if it is wholly there.
func (r *Reader) fromBuffer() ([]byte, bool, error) {
	for r.off != 0 && r.off < r.end {
		from := r.off - r.at
		if from < 0 || from+headerSize > int64(len(r.buf)) {
			return nil, false, nil
		}
		b := r.buf[from:]
		h, bad := decodeHeader(b, r.seg.seed, r.off, r.end)
		if bad != nil {
			return nil, false, r.corrupt(bad)
		}
		if int64(len(b)) < h.size() {
			return nil, false, nil
		}
		if h.kind != kindRecord || h.seq < r.next {
			r.off += h.size()
			continue
		}
		if bad = h.checkPayload(b); bad == nil && h.seq != r.next {
			bad = fmt.Errorf("sequence %d where %d belongs", h.seq, r.next)
		}
		if bad != nil {
			return nil, false, r.corrupt(bad)
		}
		r.off += h.size()
		return b[headerSize : headerSize+h.length : headerSize+h.length], true, nil
	}
	return nil, false, nil
}

func (r *Reader) corrupt(bad error) error {
	return &CorruptError{Segment: r.seg.name, Offset: r.off, Reason: bad.Error(), Advice: restoreAdvice}
}

// look asks the log where the next record is. It returns the record if it is
// still in memory, or fills the buffer with the part of the file where it is.
func (r *Reader) look() ([]byte, error) {
	l := r.log
	l.mu.Lock()
	if rec, err := r.lookMemory(); rec != nil || err != nil {
		l.mu.Unlock()
		return rec, err
	}
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].first > r.next }) - 1
	s := l.segs[i]
	switch {
	case s == r.seg && r.off >= s.end:
		l.mu.Unlock()
		return nil, r.corrupt(fmt.Errorf("record %d is not there", r.next))
	case s != r.seg || r.off == 0:
		r.seg = s
		_, r.off = s.index.find(uint64(r.next - s.first))
	}
	r.end = s.end
	f, err := l.files.pin(s)
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	err = r.fill(f)
	l.mu.Lock()
	l.files.unpin(s)
	l.mu.Unlock()
	return nil, err
}

// lookMemory answers for records that are not in a file yet, or not any more.
// The log's mutex is held.
func (r *Reader) lookMemory() ([]byte, error) {
	l := r.log
	switch {
	case l.err != nil:
		return nil, l.err
	case r.next < l.segs[0].first:
		return nil, fmt.Errorf("record %d: %w: the first one kept is %d", r.next, ErrTrimmed, l.segs[0].first)
	case r.next > l.last:
		return nil, io.EOF
	case r.next <= l.synced:
		return nil, nil
	}
	rec := l.flight.payload(r.next)
	if rec == nil {
		rec = l.pending.payload(r.next)
	}
	r.off = 0
	if r.retain {
		r.buf = nil
	}
	r.buf = append(r.buf[:0], rec...)
	if r.buf == nil { // an empty record is there, too
		r.buf = []byte{}
	}
	return r.buf[:len(r.buf):len(r.buf)], nil
}

// fill reads the frame at r.off whole, and more if more is wanted.
func (r *Reader) fill(f durable.File) error {
	want := int64(readAhead)
	if r.single {
		want = indexStep
	}
	if r.retain {
		r.buf = nil
	}
	for {
		want = min(want, r.end-r.off)
		if int64(cap(r.buf)) < want {
			r.buf = make([]byte, want)
		}
		r.at, r.buf = r.off, r.buf[:want]
		if n, err := f.ReadAt(r.buf, r.off); int64(n) < want {
			r.buf = r.buf[:0]
			return fmt.Errorf("read segment %s at byte %d: %w", r.seg.name, r.off, err)
		}
		if want < headerSize {
			return r.corrupt(fmt.Errorf("%d bytes are too few for a frame", want))
		}
		h, bad := decodeHeader(r.buf, r.seg.seed, r.off, r.end)
		if bad != nil {
			return r.corrupt(bad)
		}
		if h.size() <= want {
			return nil
		}
		want = h.size()
	}
}
