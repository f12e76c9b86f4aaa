package event

import (
	"encoding/binary"
	"fmt"

	"pando/internal/pack"
)

// Forms of a column of numbers or values, its first byte. An empty column
// holds only defaults: zeros, or ones where values are meant.
const (
	formSame   = 1 // one number and, if rising, one step for all; or one value
	formList   = 2 // one varint an event
	formFloats = 3 // values: eight bytes an event
)

// Encoder writes batches in the format of [Version]. It keeps its buffers, so
// one that is reused does not allocate. The zero value is ready. Not safe for
// concurrent use.
type Encoder struct {
	head, plain, texts *pack.Writer // the parts of a batch; see pack.go
	at                 bounds
	packed             []byte

	w       *pack.Writer // the part that columns go to at present
	shape   shape
	column  []byte
	numbers []uint32
	dicts   [stringColumns]memoized
	opened  int       // string column being written
	dict    *memoized // its dictionary
	fault   error     // first string that is none or too long
}

// Encode appends the batch's bytes to dst. Equal batches get equal bytes. It
// fails, leaving dst as it was, if the batch breaks a rule or exceeds a limit
// of this package; the error wraps [ErrInvalid]. Who encodes many reuses an
// [Encoder].
func (b *Batch) Encode(dst []byte) ([]byte, error) {
	var e Encoder
	return e.Encode(dst, b)
}

// Encode is [Batch.Encode] with buffers kept from call to call.
func (e *Encoder) Encode(dst []byte, b *Batch) ([]byte, error) {
	if e.head == nil {
		e.head, e.plain, e.texts = pack.NewWriter(), pack.NewWriter(), pack.NewWriter()
	}
	if err := e.encode(b); err != nil {
		return dst, fmt.Errorf("encode batch %v from %d: %w", b.Unit, b.First, err)
	}
	if size := e.head.Len() + e.plain.Len() + e.texts.Len(); size > MaxBatchBytes {
		return dst, fmt.Errorf("encode batch %v from %d: %w", b.Unit, b.First,
			invalid("batch of %d events takes %d bytes: limit %d", len(b.Events), size, MaxBatchBytes))
	}
	return e.join(dst), nil
}

func (e *Encoder) encode(b *Batch) error {
	h := b.header()
	if err := h.check(); err != nil {
		return err
	}
	if err := e.shape.measure(b); err != nil {
		return err
	}
	if e.shape.rawBytes > MaxBatchBytes { // before it is copied
		return invalid("batch of %d bytes of raw: limit %d", e.shape.rawBytes, MaxBatchBytes)
	}
	e.head.Reset()
	e.plain.Reset()
	e.texts.Reset()
	e.fault = nil
	h.append(e.head)

	e.w = e.plain
	e.times(b.Events)
	e.at.times = e.plain.Len()
	e.values(b.Events)
	e.at.values = e.plain.Len()
	e.traces(b.Events)

	e.w = e.texts
	e.codes(b.Events)
	e.at.codes = e.texts.Len()
	e.names(b.Events)
	e.at.names = e.texts.Len()
	e.attrs(b.Events)
	e.raws(b.Events)
	return e.fault
}

// times writes the five columns of time. Hi always has a varint an event, so
// that no batch holds more events than bytes.
func (e *Encoder) times(events []Event) {
	column, before := e.column[:0], uint64(0)
	for i := range events {
		hi := uint64(events[i].Stamp.Hi)
		column = appendUvarint(column, zigzag(hi-before))
		before = hi
	}
	e.bin(column)

	if column, listed := e.rising(&e.shape.lo); listed {
		before = 0
		for i := range events {
			lo := uint64(events[i].Stamp.Lo)
			column = appendUvarint(column, zigzag(lo-before))
			before = lo
		}
		e.bin(column)
	}
	if column, listed := e.level(&e.shape.point); listed {
		for i := range events {
			column = appendUvarint(column, pointGap(&events[i]))
		}
		e.bin(column)
	}
	if column, listed := e.rising(&e.shape.hlc); listed {
		before = 0
		for i := range events {
			t := uint64(events[i].HLC)
			column = appendUvarint(column, zigzag(t-before))
			before = t
		}
		e.bin(column)
	}
	if column, listed := e.rising(&e.shape.source); listed {
		before = 0
		for i := range events {
			t := uint64(events[i].SourceTime)
			column = appendUvarint(column, zigzag(t-before))
			before = t
		}
		e.bin(column)
	}
}

// codes writes the four columns of one byte an event.
func (e *Encoder) codes(events []Event) {
	f := &events[0]
	for _, c := range []struct {
		varies bool
		first  byte
		get    func(*Event) byte
	}{
		{e.shape.codes&0xff != 0, byte(f.Flags), func(e *Event) byte { return byte(e.Flags) }},
		{e.shape.codes>>8&0xff != 0, byte(f.Kind), func(e *Event) byte { return byte(e.Kind) }},
		{e.shape.codes>>16&0xff != 0, f.Criticality, func(e *Event) byte { return e.Criticality }},
		{e.shape.codes>>24 != 0, byte(f.Severity), func(e *Event) byte { return byte(e.Severity) }},
	} {
		column := e.column[:0]
		switch {
		case c.varies:
			for i := range events {
				column = append(column, c.get(&events[i]))
			}
		case c.first != 0:
			column = append(column, c.first)
		}
		e.bin(column)
	}
}

// values writes the column of values.
func (e *Encoder) values(events []Event) {
	column := e.column[:0]
	switch {
	case e.shape.values == 0 && events[0].Value == 1:
	case e.shape.values == 0:
		column = append(column, formSame)
		column = binary.LittleEndian.AppendUint64(column, valueBits(events[0].Value))
	case e.shape.whole:
		column = append(column, formList)
		for i := range events {
			column = appendUvarint(column, zigzag(uint64(int64(events[i].Value))))
		}
	default:
		column = append(column, formFloats)
		for i := range events {
			column = binary.LittleEndian.AppendUint64(column, valueBits(events[i].Value))
		}
	}
	e.bin(column)
}

// raws writes the lengths of the originals and then their bytes.
func (e *Encoder) raws(events []Event) {
	if column, listed := e.level(&e.shape.raws); listed {
		for i := range events {
			column = appendUvarint(column, uint64(len(events[i].Raw)))
		}
		e.bin(column)
	}
	if e.shape.rawBytes == 0 {
		return
	}
	column := e.column[:0]
	for i := range events {
		column = append(column, events[i].Raw...)
	}
	e.bin(column)
}

// traces writes the three columns of identities: a bit an event that tells
// whether it has one, then those there are.
func (e *Encoder) traces(events []Event) {
	column := e.column[:0]
	if e.shape.trace {
		column = append(column, make([]byte, (len(events)+7)/8)...)
		for i := range events {
			if events[i].TraceID != [16]byte{} {
				column[i/8] |= 1 << (i % 8)
				column = append(column, events[i].TraceID[:]...)
			}
		}
	}
	e.bin(column)
	for _, c := range []struct {
		some bool
		get  func(*Event) *[8]byte
	}{
		{e.shape.span, func(e *Event) *[8]byte { return &e.SpanID }},
		{e.shape.parent, func(e *Event) *[8]byte { return &e.ParentID }},
	} {
		column := e.column[:0]
		if c.some {
			column = append(column, make([]byte, (len(events)+7)/8)...)
			for i := range events {
				if id := c.get(&events[i]); *id != [8]byte{} {
					column[i/8] |= 1 << (i % 8)
					column = append(column, id[:]...)
				}
			}
		}
		e.bin(column)
	}
}

// rising begins a rising column. If its numbers rise by one step it writes the
// whole column and reports false; otherwise the caller lists them.
func (e *Encoder) rising(p *progression) (column []byte, listed bool) {
	column = e.column[:0]
	switch {
	case p.off != 0:
		return append(column, formList), true
	case p.first != 0 || p.step != 0:
		column = append(column, formSame)
		column = appendUvarint(column, zigzag(p.first))
		column = appendUvarint(column, zigzag(p.step))
	}
	e.bin(column)
	return nil, false
}

// level is rising for the columns whose numbers do not rise.
func (e *Encoder) level(l *level) (column []byte, listed bool) {
	column = e.column[:0]
	switch {
	case l.off != 0:
		return append(column, formList), true
	case l.first != 0:
		column = append(column, formSame)
		column = appendUvarint(column, l.first)
	}
	e.bin(column)
	return nil, false
}

// bin writes a finished column, and keeps its buffer for the next.
func (e *Encoder) bin(column []byte) {
	e.w.Bin(column)
	e.column = column
}

// appendUvarint is binary.AppendUvarint with the short forms in line.
func appendUvarint(b []byte, v uint64) []byte {
	if v < 1<<7 {
		return append(b, byte(v))
	}
	if v < 1<<14 {
		return append(b, byte(v)|0x80, byte(v>>7))
	}
	return binary.AppendUvarint(b, v)
}

// zigzag maps differences near zero, of either sign, to small numbers.
func zigzag(v uint64) uint64 { return v<<1 ^ uint64(int64(v)>>63) }

func unzigzag(v uint64) uint64 { return v>>1 ^ -(v & 1) }

func invalidEvent(seq uint64, err error) error { return fmt.Errorf("event %d: %w", seq, err) }
