// Package pack reads and writes the msgpack subset that every Pando format is
// made of: unsigned and signed integers, floats, strings, byte strings and
// arrays, in an order fixed by the format. There are no maps, so equal values
// have equal bytes and may be hashed.
//
// The reader trusts nothing: each length is checked against a cap named by
// the caller and against the bytes that are left before anything is
// allocated. (The slice allocation limit of msgpack/v5 does not hold: five
// bytes can ask for 33 million elements.)
package pack

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrMalformed is wrapped by every error of a [Reader]: the bytes are not
// what the format says, whoever wrote them.
var ErrMalformed = errors.New("malformed")

// Writer appends values to a growing buffer. Its zero value is not usable;
// call [NewWriter]. Not safe for concurrent use.
type Writer struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

// NewWriter returns an empty Writer.
func NewWriter() *Writer {
	w := &Writer{}
	w.enc = msgpack.NewEncoder(&w.buf)
	w.enc.UseCompactInts(true)
	return w
}

// Reset empties the writer and keeps its buffer; slices returned by
// [Writer.Bytes] before are overwritten.
func (w *Writer) Reset() { w.buf.Reset() }

// Bytes returns what was written since the last Reset. It is valid until the
// next write.
func (w *Writer) Bytes() []byte { return w.buf.Bytes() }

// Copy returns the written bytes in a slice of their own.
func (w *Writer) Copy() []byte { return bytes.Clone(w.buf.Bytes()) }

// Len is the number of bytes written.
func (w *Writer) Len() int { return w.buf.Len() }

// Writes to a bytes.Buffer cannot fail, so the encoder's errors are nil.

// Uint writes an unsigned integer in its shortest form.
func (w *Writer) Uint(v uint64) { _ = w.enc.EncodeUint(v) }

// Int writes a signed integer in its shortest form.
func (w *Writer) Int(v int64) { _ = w.enc.EncodeInt(v) }

// Bool writes true or false.
func (w *Writer) Bool(v bool) { _ = w.enc.EncodeBool(v) }

// Float writes the IEEE 754 bits of v; every NaN becomes the same NaN, so
// that equal values have equal bytes on every machine.
func (w *Writer) Float(v float64) {
	if v != v {
		v = math.Float64frombits(0x7ff8000000000001)
	}
	_ = w.enc.EncodeFloat64(v)
}

// String writes a UTF-8 string.
func (w *Writer) String(s string) { _ = w.enc.EncodeString(s) }

// Bin writes a byte string; nil and empty are the same.
func (w *Writer) Bin(b []byte) {
	_ = w.enc.EncodeBytesLen(len(b))
	w.buf.Write(b)
}

// Array opens an array of n values; the caller writes them next.
func (w *Writer) Array(n int) { _ = w.enc.EncodeArrayLen(n) }

// Reader takes values off a byte slice in the order they were written. Its
// first error sticks: later calls return zero values, so a decoder reads all
// its fields and checks [Reader.Err] once. Not safe for concurrent use.
type Reader struct {
	src *bytes.Reader
	raw []byte
	dec *msgpack.Decoder
	err error
}

// NewReader reads from b, which must not change while the reader is used.
func NewReader(b []byte) *Reader {
	src := bytes.NewReader(b)
	return &Reader{src: src, raw: b, dec: msgpack.NewDecoder(src)}
}

// Err returns the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Left is the number of bytes not read yet.
func (r *Reader) Left() int { return r.src.Len() }

// Fail records err, unless an earlier error stands.
func (r *Reader) Fail(field string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s at byte %d: %w: %w", field, len(r.raw)-r.src.Len(), ErrMalformed, err)
	}
}

// Done reports an error if bytes are left over, or the sticky error.
func (r *Reader) Done() error {
	if r.err == nil && r.src.Len() != 0 {
		r.Fail("end", fmt.Errorf("%d bytes left over", r.src.Len()))
	}
	return r.err
}

// Uint reads an unsigned integer not above limit.
func (r *Reader) Uint(field string, limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	code, err := r.integer()
	if err == nil && isNegative(code, r.rest()) {
		err = errors.New("negative where an unsigned integer belongs")
	}
	var v uint64
	if err == nil {
		v, err = r.dec.DecodeUint64()
	}
	if err == nil && v > limit {
		err = fmt.Errorf("%d is above the limit of %d", v, limit)
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return v
}

// integer peeks at the next value's code and refuses all but integers:
// msgpack/v5 would convert a float, which differs between machines.
func (r *Reader) integer() (byte, error) {
	code, err := r.dec.PeekCode()
	if err == nil && code > 0x7f && code < 0xe0 && (code < 0xcc || code > 0xd3) {
		err = fmt.Errorf("code %#x where an integer belongs", code)
	}
	return code, err
}

func (r *Reader) rest() []byte { return r.raw[len(r.raw)-r.src.Len():] }

// isNegative tells whether the integer that starts with code is below zero:
// msgpack/v5 would otherwise wrap it round into a huge unsigned value.
func isNegative(code byte, rest []byte) bool {
	if code >= 0xe0 {
		return true
	}
	return code >= 0xd0 && code <= 0xd3 && len(rest) > 1 && rest[1] >= 0x80
}

// Int reads a signed integer.
func (r *Reader) Int(field string) int64 {
	if r.err != nil {
		return 0
	}
	code, err := r.integer()
	if err == nil && code == 0xcf { // uint64
		if rest := r.rest(); len(rest) > 1 && rest[1] >= 0x80 {
			err = errors.New("integer does not fit 64 signed bits")
		}
	}
	var v int64
	if err == nil {
		v, err = r.dec.DecodeInt64()
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return v
}

// Bool reads true or false.
func (r *Reader) Bool(field string) bool {
	if r.err != nil {
		return false
	}
	v, err := r.dec.DecodeBool()
	if err != nil {
		r.Fail(field, err)
		return false
	}
	return v
}

// Float reads a float; infinities and NaN pass, the caller judges them.
func (r *Reader) Float(field string) float64 {
	if r.err != nil {
		return 0
	}
	v, err := r.dec.DecodeFloat64()
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return v
}

// Bin reads a byte string of at most limit bytes. The result shares memory
// with the reader's input.
func (r *Reader) Bin(field string, limit int) []byte {
	n := r.bytesLen(field, limit)
	if r.err != nil {
		return nil
	}
	at := len(r.raw) - r.src.Len()
	if _, err := r.src.Seek(int64(n), 1); err != nil {
		r.Fail(field, err)
		return nil
	}
	return r.raw[at : at+n : at+n]
}

// String reads a string of at most limit bytes.
func (r *Reader) String(field string, limit int) string { return string(r.Bin(field, limit)) }

func (r *Reader) bytesLen(field string, limit int) int {
	if r.err != nil {
		return 0
	}
	n, err := r.dec.DecodeBytesLen()
	switch {
	case err != nil:
	case n < 0:
		err = errors.New("nil where bytes belong")
	case n > limit:
		err = fmt.Errorf("%d bytes are above the limit of %d", n, limit)
	case n > r.src.Len():
		err = fmt.Errorf("%d bytes announced, %d there", n, r.src.Len())
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return n
}

// Array reads the length of an array of at most limit values, each at least
// one byte long, so that the length can never exceed the bytes left.
func (r *Reader) Array(field string, limit int) int {
	if r.err != nil {
		return 0
	}
	n, err := r.dec.DecodeArrayLen()
	switch {
	case err != nil:
	case n < 0:
		err = errors.New("nil where an array belongs")
	case n > limit:
		err = fmt.Errorf("%d values are above the limit of %d", n, limit)
	case n > r.src.Len():
		err = fmt.Errorf("%d values announced, %d bytes there", n, r.src.Len())
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return n
}
