package event

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"pando/internal/pack"
)

// Decode reads a batch from bytes that nobody vouches for. The result shares
// nothing with b. Every error wraps [ErrInvalid]. What it accepts is
// canonical once it is decompressed; see [Version].
func Decode(b []byte) (*Batch, error) {
	var c Columns
	if err := c.Decode(b); err != nil {
		return nil, err
	}
	return c.Batch(), nil
}

// Decode is the function Decode into columns. What c holds is valid until its
// next call, but for strings, which last; raw bytes may share memory with b.
// After an error c holds nothing of use.
func (c *Columns) Decode(b []byte) error {
	r := pack.NewReader(b)
	version, err := c.Header.read(r, b)
	if err == nil && c.Count > r.Left() {
		err = invalid("%d events announced, %d bytes there", c.Count, r.Left())
	}
	if err == nil {
		texts := r
		if c.unpacked = c.unpacked[:0]; version == packed {
			texts = c.unpack(r, len(b))
		}
		err = c.read(r, texts)
	}
	if err != nil {
		if !errors.Is(err, ErrInvalid) {
			err = fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return fmt.Errorf("decode batch: %w", err)
	}
	return nil
}

// read reads the columns: what says something in words from texts, the others
// from r, which is the same reader where nothing is compressed.
func (c *Columns) read(r, texts *pack.Reader) error {
	c.readTimes(r)
	c.Flags = readCodes(texts, "flags", c.Flags, c.Count, &validFlags)
	c.Kind = readCodes(texts, "kind", c.Kind, c.Count, &validKinds)
	c.Criticality = readCodes(texts, "criticality", c.Criticality, c.Count, &validCriticality[c.Unit.Lane])
	c.Severity = readCodes(texts, "severity", c.Severity, c.Count, &validSeverities)
	c.readValues(r)
	c.readNames(texts)
	c.TraceID = readIDs(r, "trace id", c.TraceID, c.Count)
	c.SpanID = readIDs(r, "span id", c.SpanID, c.Count)
	c.ParentID = readIDs(r, "parent id", c.ParentID, c.Count)
	c.readAttrs(texts)
	c.readRaws(texts)
	return cmp.Or(r.Done(), texts.Done())
}

// readTimes reads the five columns of time.
func (c *Columns) readTimes(r *pack.Reader) {
	n := c.Count
	column := r.Bin("hi", MaxBatchBytes)
	if r.Err() != nil {
		return
	}
	if c.Hi = readList(r, "hi", c.Hi, column, n, true); r.Err() != nil {
		return
	}
	c.Lo = readColumn(r, "lo", c.Lo, n, true)
	c.numbers = readColumn(r, "point", c.numbers, n, false)
	if r.Err() != nil {
		return
	}
	if len(c.Lo) == 0 {
		c.Lo = sized(c.Lo, n)
		clear(c.Lo)
	}
	c.Point = sized(c.Point, n)
	copy(c.Point, c.Hi)
	for i, gap := range c.numbers {
		// The gap must not lead past the least int64: with lo not above
		// point, the check below, it is then no wrap-around.
		c.Point[i] = int64(uint64(c.Hi[i]) - gap)
	}
	lo, hi := c.Lo[:n], c.Hi[:n]
	for i, point := range c.Point[:n] {
		if point > hi[i] || point < lo[i] {
			r.Fail("point", fmt.Errorf("%d outside [%d, %d]", point, lo[i], hi[i]))
			return
		}
	}
	c.HLC = readColumn(r, "hlc", c.HLC, n, true)
	c.SourceTime = readColumn(r, "source time", c.SourceTime, n, true)
}

// readColumn reads a column of n numbers into list's memory: none if all are
// zero. Of a rising column the numbers listed are differences.
func readColumn[T ~int64 | ~uint64](r *pack.Reader, field string, list []T, n int, rising bool) []T {
	column := r.Bin(field, MaxBatchBytes)
	if len(column) == 0 {
		return list[:0]
	}
	switch column[0] {
	case formSame:
		first, end := uvarint(column, 1)
		step := uint64(0)
		if rising {
			first = unzigzag(first)
			if end > 0 {
				step, end = uvarint(column, end)
				step = unzigzag(step)
			}
		}
		if end != len(column) || first == 0 && step == 0 || n == 1 && step != 0 {
			r.Fail(field, errNotCanonical)
			return list[:0]
		}
		list = sized(list, n)
		for i := range list {
			list[i] = T(first)
			first += step
		}
		return list
	case formList:
		list = readList(r, field, list, column[1:], n, rising)
		if r.Err() == nil && steady(list, rising) {
			r.Fail(field, errNotCanonical)
		}
		if r.Err() != nil {
			return list[:0]
		}
		return list
	}
	r.Fail(field, fmt.Errorf("form %d is unknown", column[0]))
	return list[:0]
}

// readList reads n varints that fill the column.
func readList[T ~int64 | ~uint64](r *pack.Reader, field string, list []T, column []byte, n int, rising bool) []T {
	if n > len(column) {
		r.Fail(field, fmt.Errorf("%d numbers announced, %d bytes there", n, len(column)))
		return list[:0]
	}
	list = sized(list, n)
	at := 0
	for i := range list {
		if at < len(column)-3 {
			// One to four bytes are nearly all there are.
			b := binary.LittleEndian.Uint32(column[at:])
			if stop := ^b & 0x80808080; stop != 0 {
				size := bits.TrailingZeros32(stop)/8 + 1
				b &= 1<<(8*size) - 1
				v := b&0x7f | b>>1&0x3f80 | b>>2&0x1fc000 | b>>3&0xfe00000
				if v>>(7*(size-1)) != 0 || size == 1 {
					list[i], at = T(v), at+size
					continue
				}
			}
		}
		v, next := uvarint(column, at)
		if next == 0 {
			r.Fail(field, fmt.Errorf("varint %d of %d: %w", i+1, n, errNotCanonical))
			return list[:0]
		}
		list[i], at = T(v), next
	}
	if at != len(column) {
		r.Fail(field, fmt.Errorf("%d bytes left over after %d numbers", len(column)-at, n))
		return list[:0]
	}
	if rising {
		before := uint64(0)
		for i, v := range list {
			before += unzigzag(uint64(v))
			list[i] = T(before)
		}
	}
	return list
}

// uvarint reads the varint at column[at:] and returns the place after it, or
// 0 if there is none in its shortest form that fits 64 bits.
func uvarint(column []byte, at int) (uint64, int) {
	if at >= len(column) {
		return 0, 0
	}
	v, n := binary.Uvarint(column[at:])
	if n <= 0 || n > 1 && column[at+n-1] == 0 {
		return 0, 0
	}
	return v, at + n
}

// steady reports whether the numbers are all the same or, if rising, rise by
// one step: they then have a shorter form.
func steady[T ~int64 | ~uint64](numbers []T, rising bool) bool {
	if len(numbers) < 2 {
		return true
	}
	step := T(0)
	if rising {
		step = numbers[1] - numbers[0]
	}
	want, off := numbers[0], T(0)
	for _, n := range numbers {
		off |= n ^ want
		want += step
	}
	return off == 0
}

// The codes that each column of one byte an event may hold.
var (
	validFlags       = codesWhere(func(b uint8) bool { return Flags(b)&^allFlags == 0 })
	validKinds       = codesWhere(func(b uint8) bool { return Kind(b) <= Loss })
	validSeverities  = codesWhere(func(b uint8) bool { return Severity(b) <= MaxSeverity })
	validCriticality = [Lanes][256]bool{
		Critical: codesWhere(func(b uint8) bool { return b == 0 }),
		Bulk:     codesWhere(func(b uint8) bool { return b >= 1 && b <= 3 }),
	}
)

func codesWhere(valid func(uint8) bool) (codes [256]bool) {
	for b := range codes {
		codes[b] = valid(uint8(b))
	}
	return codes
}

// readCodes reads a column of one byte an event, or one byte for all.
func readCodes[T ~uint8](r *pack.Reader, field string, list []T, n int, valid *[256]bool) []T {
	column := r.Bin(field, MaxBatchEvents)
	if r.Err() != nil {
		return list[:0]
	}
	list = sized(list, n)
	ok := true
	switch {
	case len(column) == 0:
		ok = valid[0]
		clear(list)
	case len(column) == 1:
		ok = column[0] != 0 && valid[column[0]]
		for i := range list {
			list[i] = T(column[0])
		}
	case len(column) == n:
		var differ byte
		for i, b := range column {
			ok = ok && valid[b]
			differ |= b ^ column[0]
			list[i] = T(b)
		}
		ok = ok && differ != 0
	default:
		ok = false
	}
	if !ok {
		r.Fail(field, errors.New("a code that is unknown, of the other lane, or not in canonical form"))
		return list[:0]
	}
	return list
}

// readValues reads the column of values.
func (c *Columns) readValues(r *pack.Reader) {
	const field = "values"
	column := r.Bin(field, MaxBatchBytes)
	if r.Err() != nil {
		return
	}
	c.Value = sized(c.Value, c.Count)
	if len(column) == 0 {
		for i := range c.Value {
			c.Value[i] = 1
		}
		return
	}
	form := column[0]
	column = column[1:]
	switch {
	case form == formSame && len(column) == 8:
		v := math.Float64frombits(binary.LittleEndian.Uint64(column))
		if v == 1 || !canonicalValue(v) {
			r.Fail(field, errNotCanonical)
		}
		for i := range c.Value {
			c.Value[i] = v
		}
	case form == formList:
		c.readWholes(r, field, column)
	case form == formFloats && len(column) == 8*c.Count:
		whole, canonical, differ := true, true, uint64(0)
		first := binary.LittleEndian.Uint64(column)
		for i := range c.Value {
			bits := binary.LittleEndian.Uint64(column[8*i:])
			v := math.Float64frombits(bits)
			canonical = canonical && canonicalValue(v)
			whole = whole && integral(v)
			differ |= bits ^ first
			c.Value[i] = v
		}
		if whole || differ == 0 || !canonical {
			r.Fail(field, errNotCanonical)
		}
	default:
		r.Fail(field, fmt.Errorf("form %d with %d bytes for %d events", form, len(column), c.Count))
	}
}

// readWholes reads values that are whole numbers.
func (c *Columns) readWholes(r *pack.Reader, field string, column []byte) {
	c.numbers = readList(r, field, c.numbers, column, c.Count, false)
	if r.Err() != nil {
		return
	}
	differ := uint64(0)
	for i, n := range c.numbers {
		v := int64(unzigzag(n))
		if v > maxIntegral || v < -maxIntegral {
			r.Fail(field, errNotCanonical)
			return
		}
		c.Value[i] = float64(v)
		differ |= n ^ c.numbers[0]
	}
	if differ == 0 {
		r.Fail(field, errNotCanonical)
	}
}

// canonicalValue reports whether v is not another NaN than the one allowed.
func canonicalValue(v float64) bool { return v == v || math.Float64bits(v) == canonicalNaN }

// sized returns a list of n entries, in the memory of s if it is large enough.
// What they are is undefined.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
