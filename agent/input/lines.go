package input

import "bytes"

// splitter cuts a stream of bytes into lines, before anything is decoded. It
// holds at most one incomplete line, and of a line beyond the limit only its
// beginning. Not safe for concurrent use.
type splitter struct {
	end   byte // what ends a line
	other byte // what ends one too; equal to end if nothing else does
	limit int  // bytes of a line that are kept

	rest []byte // of the incomplete line
	cut  int64  // bytes of it beyond the limit
}

// next takes the first line from chunk. The line is valid until the next
// call; size is how many bytes of the stream it took, its end and what was cut
// included. ok is false when the chunk held no end of line: all of it is kept
// for the next one.
func (s *splitter) next(chunk []byte) (text []byte, cut, size int64, left []byte, ok bool) {
	i := s.index(chunk)
	if i < 0 {
		s.keep(chunk)
		return nil, 0, 0, nil, false
	}
	if len(s.rest) == 0 && s.cut == 0 && i <= s.limit {
		return trimCR(chunk[:i]), 0, int64(i) + 1, chunk[i+1:], true
	}
	s.keep(chunk[:i])
	text, cut, size = s.take()
	return text, cut, size + 1, chunk[i+1:], true
}

// take gives the incomplete line away, as it is.
func (s *splitter) take() (text []byte, cut, size int64) {
	text, cut, size = s.rest, s.cut, s.held()
	s.rest, s.cut = s.rest[:0], 0
	if cut == 0 {
		text = trimCR(text)
	}
	return text, cut, size
}

// held is how many bytes of the stream the incomplete line took so far.
func (s *splitter) held() int64 { return int64(len(s.rest)) + s.cut }

func (s *splitter) keep(b []byte) {
	room := min(s.limit-len(s.rest), len(b))
	s.rest = append(s.rest, b[:room]...)
	s.cut += int64(len(b) - room)
}

func (s *splitter) index(b []byte) int {
	i := bytes.IndexByte(b, s.end)
	if s.other == s.end {
		return i
	}
	if i >= 0 {
		b = b[:i]
	}
	if k := bytes.IndexByte(b, s.other); k >= 0 {
		return k
	}
	return i
}

// trimCR takes one carriage return away; it is the same byte in ASCII and
// EBCDIC.
func trimCR(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}
