// Package pack reads and writes the msgpack subset that every Pando format is
// made of: unsigned and signed integers, floats, strings, byte strings and
// arrays, in an order fixed by the format. There are no maps and each value
// has one form only, its shortest, so equal values have equal bytes and may be
// hashed; the reader refuses every other form.
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
	"io"
	"math"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrMalformed is wrapped by every error of a [Reader]: the bytes are not
// what the format says, whoever wrote them.
var ErrMalformed = errors.New("malformed")

// nan has the bits of the one NaN that is written.
const nan = 0x7ff8000000000001

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

// Grow makes room for n bytes more.
func (w *Writer) Grow(n int) { w.buf.Grow(n) }

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
		v = math.Float64frombits(nan)
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

// Reader takes values off a byte slice in the order they were written. It
// takes the bytes that a [Writer] makes and no others, so what was read is
// written again as the same bytes. Its first error sticks: later calls return
// zero values, so a decoder reads all its fields and checks [Reader.Err] once.
// Not safe for concurrent use.
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

func (r *Reader) at() int { return len(r.raw) - r.src.Len() }

// Fail records err, unless an earlier error stands.
func (r *Reader) Fail(field string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s at byte %d: %w: %w", field, r.at(), ErrMalformed, err)
	}
}

// Done reports an error if bytes are left over, or the sticky error.
func (r *Reader) Done() error {
	if r.err == nil && r.src.Len() != 0 {
		r.Fail("end", fmt.Errorf("%d bytes left over", r.src.Len()))
	}
	return r.err
}

// errLonger refuses a second form of a value that has a shorter one.
var errLonger = errors.New("not in its shortest form")

// The first bytes that a [Writer] begins a value with, lowest and highest, in
// the order of https://github.com/msgpack/msgpack/blob/master/spec.md.
var (
	unsignedCodes = codes{what: "an unsigned integer", ranges: [][2]byte{{0x00, 0x7f}, {0xcc, 0xcf}}}
	integerCodes  = codes{what: "an integer", ranges: [][2]byte{{0x00, 0x7f}, {0xcc, 0xcf}, {0xd0, 0xd3}, {0xe0, 0xff}}}
	boolCodes     = codes{what: "true or false", ranges: [][2]byte{{0xc2, 0xc3}}}
	floatCodes    = codes{what: "a float", ranges: [][2]byte{{0xcb, 0xcb}}}
	binCodes      = codes{what: "a byte string", ranges: [][2]byte{{0xc4, 0xc6}}}
	stringCodes   = codes{what: "a string", ranges: [][2]byte{{0xa0, 0xbf}, {0xd9, 0xdb}}}
	arrayCodes    = codes{what: "an array", ranges: [][2]byte{{0x90, 0x9f}, {0xdc, 0xdd}}}
)

type codes struct {
	what   string
	ranges [][2]byte
}

// expect refuses a value whose first byte is not one of c: msgpack/v5 would
// convert a float, wrap a negative integer and take a string for bytes.
func (r *Reader) expect(c codes) error {
	code, err := r.dec.PeekCode()
	if err != nil {
		return err
	}
	for _, span := range c.ranges {
		if span[0] <= code && code <= span[1] {
			return nil
		}
	}
	return fmt.Errorf("code %#x where %s belongs", code, c.what)
}

// Uint reads an unsigned integer not above limit.
func (r *Reader) Uint(field string, limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	start := r.at()
	err := r.expect(unsignedCodes)
	var v uint64
	if err == nil {
		v, err = r.dec.DecodeUint64()
	}
	switch {
	case err != nil:
	case r.at()-start != uintSize(v):
		err = errLonger
	case v > limit:
		err = fmt.Errorf("%d is above the limit of %d", v, limit)
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return v
}

// uintSize is the number of bytes that v takes in its shortest form.
func uintSize(v uint64) int {
	switch {
	case v <= math.MaxInt8:
		return 1
	case v <= math.MaxUint8:
		return 2
	case v <= math.MaxUint16:
		return 3
	case v <= math.MaxUint32:
		return 5
	default:
		return 9
	}
}

// Int reads a signed integer.
func (r *Reader) Int(field string) int64 {
	if r.err != nil {
		return 0
	}
	start := r.at()
	err := r.expect(integerCodes)
	unsigned := err == nil && r.raw[start] >= 0xcc && r.raw[start] <= 0xcf
	var v int64
	if err == nil {
		v, err = r.dec.DecodeInt64()
	}
	switch {
	case err != nil:
	case unsigned && v < 0:
		err = errors.New("integer does not fit 64 signed bits")
	case r.at()-start != intSize(v), v >= 0 && !unsigned && v > math.MaxInt8:
		err = errLonger
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return v
}

// intSize is the number of bytes that v takes in its shortest form, which is
// that of an unsigned integer unless v is negative.
func intSize(v int64) int {
	switch {
	case v >= 0:
		return uintSize(uint64(v))
	case v >= -32:
		return 1
	case v >= math.MinInt8:
		return 2
	case v >= math.MinInt16:
		return 3
	case v >= math.MinInt32:
		return 5
	default:
		return 9
	}
}

// Bool reads true or false.
func (r *Reader) Bool(field string) bool {
	if r.err != nil {
		return false
	}
	err := r.expect(boolCodes)
	var v bool
	if err == nil {
		v, err = r.dec.DecodeBool()
	}
	if err != nil {
		r.Fail(field, err)
		return false
	}
	return v
}

// Float reads a float; infinities and the one NaN pass, the caller judges
// them.
func (r *Reader) Float(field string) float64 {
	if r.err != nil {
		return 0
	}
	err := r.expect(floatCodes)
	var v float64
	if err == nil {
		v, err = r.dec.DecodeFloat64()
	}
	if err == nil && v != v && math.Float64bits(v) != nan {
		err = errors.New("a NaN with other bits than the one allowed")
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return v
}

// Bin reads a byte string of at most limit bytes. The result shares memory
// with the reader's input.
func (r *Reader) Bin(field string, limit int) []byte {
	return r.bytes(field, limit, binCodes, func(n int) int {
		switch {
		case n <= math.MaxUint8:
			return 2
		case n <= math.MaxUint16:
			return 3
		default:
			return 5
		}
	})
}

// String reads a string of at most limit bytes.
func (r *Reader) String(field string, limit int) string {
	return string(r.bytes(field, limit, stringCodes, func(n int) int {
		switch {
		case n <= 31:
			return 1
		case n <= math.MaxUint8:
			return 2
		case n <= math.MaxUint16:
			return 3
		default:
			return 5
		}
	}))
}

// bytes reads a length and as many bytes; prefix is the size of the shortest
// form of a length.
func (r *Reader) bytes(field string, limit int, c codes, prefix func(n int) int) []byte {
	if r.err != nil {
		return nil
	}
	start := r.at()
	err := r.expect(c)
	var n int
	if err == nil {
		n, err = r.dec.DecodeBytesLen()
	}
	switch {
	case err != nil:
	case n > limit:
		err = fmt.Errorf("%d bytes are above the limit of %d", n, limit)
	case n > r.src.Len():
		err = fmt.Errorf("%d bytes announced, %d there", n, r.src.Len())
	case r.at()-start != prefix(n):
		err = errLonger
	}
	at := r.at()
	if err == nil {
		_, err = r.src.Seek(int64(n), io.SeekCurrent)
	}
	if err != nil {
		r.Fail(field, err)
		return nil
	}
	return r.raw[at : at+n : at+n]
}

// Array reads the length of an array of at most limit values, each at least
// one byte long, so that the length can never exceed the bytes left.
func (r *Reader) Array(field string, limit int) int {
	if r.err != nil {
		return 0
	}
	start := r.at()
	err := r.expect(arrayCodes)
	var n int
	if err == nil {
		n, err = r.dec.DecodeArrayLen()
	}
	switch {
	case err != nil:
	case n > limit:
		err = fmt.Errorf("%d values are above the limit of %d", n, limit)
	case n > r.src.Len():
		err = fmt.Errorf("%d values announced, %d bytes there", n, r.src.Len())
	case r.at()-start != arraySize(n):
		err = errLonger
	}
	if err != nil {
		r.Fail(field, err)
		return 0
	}
	return n
}

// arraySize is the number of bytes that the length n takes in its shortest
// form.
func arraySize(n int) int {
	switch {
	case n <= 15:
		return 1
	case n <= math.MaxUint16:
		return 3
	default:
		return 5
	}
}
