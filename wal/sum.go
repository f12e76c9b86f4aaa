package wal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"pando/internal/durable"
)

const (
	// maxLate bounds the bytes that a [sum] keeps for later.
	maxLate = 1 << 20
	// startLate is how many of them make it begin: a log that is only read, or is
	// about to be, needs no sum.
	startLate = 4 << 10
)

// sum is the SHA-256 of a segment that grows. That of a segment which was there
// before is worked out beside its writer, once that goes on: at a gigabyte or two a
// second it would hold up a start by as much as the scan of the whole log does. A
// file that was read for that scan, and cannot be read again, is told at the seal.
// One goroutine uses it.
type sum struct {
	hash  hash.Hash
	ready chan struct{} // closed when hash holds what was there before
	begin func()        // works that out; nil once begun
	err   error         // of reading
	late  []byte        // what was written since
}

// newSum is the sum of no bytes.
func newSum() *sum {
	s := &sum{hash: sha256.New(), ready: make(chan struct{})}
	close(s.ready)
	return s
}

// sumOf is the sum of the first n bytes of f, which may be closed when nobody wants
// the sum any more.
func sumOf(f durable.File, n int64) *sum {
	s := &sum{ready: make(chan struct{})}
	s.begin = func() {
		s.begin = nil
		go func() {
			defer close(s.ready)
			s.hash, s.err = hashPrefix(f, n)
		}()
	}
	return s
}

// write adds what was written behind the bytes so far. It copies b, or waits.
func (s *sum) write(b []byte) {
	if s.busy() && len(s.late)+len(b) <= maxLate {
		if s.late = append(s.late, b...); s.begin != nil && len(s.late) >= startLate {
			s.begin()
		}
		return
	}
	if s.wait() == nil {
		s.hash.Write(b)
	}
}

func (s *sum) busy() bool {
	select {
	case <-s.ready:
		return false
	default:
		return true
	}
}

// wait returns once hash holds all bytes so far.
func (s *sum) wait() error {
	if s.begin != nil {
		s.begin()
	}
	<-s.ready
	if s.err == nil {
		s.hash.Write(s.late)
	}
	s.late = nil
	return s.err
}

// leave gives the sum up: it returns when nothing reads the file any more, which is
// closed, or all of it was read.
func (s *sum) leave() {
	if s.begin == nil {
		<-s.ready
	}
}

// total is the hash of all bytes.
func (s *sum) total() (sum [hashSize]byte, err error) {
	if err := s.wait(); err != nil {
		return sum, fmt.Errorf("read the segment for its hash: %w", err)
	}
	return [hashSize]byte(s.hash.Sum(nil)), nil
}

// hashPrefix is the SHA-256 state over the first n bytes of f.
func hashPrefix(f durable.File, n int64) (hash.Hash, error) {
	h := sha256.New()
	buf := make([]byte, scanWindow)
	switch got, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, n), buf); {
	case err != nil:
		return nil, err
	case got < n:
		return nil, errors.Join(io.ErrUnexpectedEOF, fmt.Errorf("%d bytes of %d", got, n))
	}
	return h, nil
}
