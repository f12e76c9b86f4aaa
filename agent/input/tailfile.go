package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"pando/ebcdic"
	"pando/event"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// file is one open file that is read forward. The tail owns it.
type file struct {
	fd   *os.File
	key  fileKey // of what fd reads
	path string  // the lineage's path

	id   identity // what positions say of it; length 0 until the file has bytes
	slot string   // the positions' Source
	name string   // the positions' File
	head []byte   // first bytes as seen so far

	done   [event.Lanes]int64 // lines that end at or before are durable
	offset int64              // after the last line taken
	lines  splitter           // holds what follows offset
	size   int64              // when last looked at
	mtime  int64

	fault      error // why it could not be read, or nil
	before     seen  // the last read that found the end
	partial    seen  // the same, for the first byte of the incomplete line
	rotated    bool  // the path names another file by now, or none
	deleted    bool  // no path names it
	quietSince int64 // monotonic ns of the last growth
}

// retire notes that the path names the file no more; the grace begins.
func (f *file) retire(now int64) {
	if !f.rotated {
		f.rotated, f.quietSince = true, max(f.quietSince, now)
	}
}

// readAt is where the next byte is read.
func (f *file) readAt() int64 { return f.offset + f.lines.held() }

func (f *file) atEnd() bool { return f.readAt() >= f.size }

// remember reads more of the head, if it is not whole, and keeps the identity
// up to date. The identity changes at most twice: with the first bytes, and
// when the head is whole.
func (f *file) remember(name string) error {
	if len(f.head) == headBytes {
		return nil
	}
	head, err := headOf(f.fd, headBytes)
	if err != nil {
		return fmt.Errorf("read beginning: %w", err)
	}
	f.head = head
	if f.id.length == 0 && len(head) > 0 || len(head) == headBytes {
		f.id = identify(f.id.fileKey, f.id.generation, f.id.from, head)
		f.slot, f.name = name+positionMark+f.id.slot(), f.id.String()
	}
	return nil
}

// intact reports whether the file still begins as it did.
func (f *file) intact() bool {
	head, err := headOf(f.fd, len(f.head))
	return err == nil && bytes.Equal(head, f.head)
}

// position is where the file stands.
func (f *file) position() event.Position {
	return event.Position{Source: f.slot, File: f.name, Offset: f.offset, Replayable: true}
}

// durable reports whether a line of this lane that ends at the file's offset
// needs no reading again.
func (f *file) durable(l event.Lane) bool { return f.offset <= f.done[l] }

// open opens the file that path named a moment before, as one of a lineage.
func (t *tail) open(path string, key fileKey, l *lineage) (*file, error) {
	fd, st, err := openAs(path, key)
	if err != nil {
		return nil, err
	}
	return &file{
		fd: fd, key: key, path: l.path, lines: t.newSplitter(), size: st.size, mtime: st.mtime, quietSince: t.clock(),
	}, nil
}

// begin places a file that was just opened.
func (f *file) begin(name string, id identity, done [event.Lanes]int64) error {
	f.id, f.done = id, done
	for l := range f.done {
		f.done[l] = min(f.done[l], f.size) // what is appended from now on is not done
	}
	f.offset = min(f.done[event.Critical], f.done[event.Bulk])
	f.slot, f.name = name+positionMark+id.slot(), id.String()
	return f.remember(name)
}

// lastLine finds where the last line that is not complete begins, so that
// reading from the end never begins inside a line.
func (t *tail) lastLine(f *file) (int64, error) {
	n := min(f.size, int64(t.spec.MaxLine))
	b := make([]byte, n)
	got, err := f.fd.ReadAt(b, f.size-n)
	if err != nil && !isEOF(err) {
		return 0, fmt.Errorf("read end: %w", err)
	}
	for i := got - 1; i >= 0; i-- {
		if b[i] == f.lines.end || b[i] == f.lines.other {
			return f.size - n + int64(i) + 1, nil
		}
	}
	return f.size - n, nil
}

// newSplitter splits as the spec says; EBCDIC is split before it is decoded.
func (t *tail) newSplitter() splitter {
	s := splitter{end: '\n', other: '\n', limit: t.spec.MaxLine}
	switch t.spec.NewLine {
	case NewLineNEL:
		s.end, s.other = ebcdic.NEL, ebcdic.NEL
	case NewLineBoth:
		s.end, s.other = ebcdic.NEL, ebcdic.LF
	case NewLineLF:
		if t.spec.CodePage != "" {
			s.end, s.other = ebcdic.LF, ebcdic.LF
		}
	}
	return s
}
