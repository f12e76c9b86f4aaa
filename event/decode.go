package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pando/event/hlc"
	"pando/internal/pack"
)

// Decode reads a batch from bytes that nobody vouches for. The result shares
// nothing with b. Every error wraps [ErrInvalid]. What it accepts is
// canonical: encoding the result gives b again.
func Decode(b []byte) (*Batch, error) {
	var d Decoder
	batch := &Batch{}
	if err := d.Decode(bytes.Clone(b), batch); err != nil {
		return nil, err
	}
	return batch, nil
}

// Decoder reads batches into memory that it keeps and reuses. The zero value
// is ready. Not safe for concurrent use.
type Decoder struct {
	events    []Event
	arena     []Attr
	positions []Position
	numbers   []uint64
	texts     []string                  // of the string column being read
	indices   []uint32                  // into texts
	dicts     [stringColumns]dictionary // find repetitions in texts
}

// Decode is [Decode] into batch. What batch then points to is valid until the
// next call of this Decoder, but for strings, which last; the events' Raw
// shares memory with b.
func (d *Decoder) Decode(b []byte, batch *Batch) error {
	h := Header{Positions: d.positions[:0]}
	r := pack.NewReader(b)
	err := h.read(r, b)
	if err == nil && h.Count > r.Left() {
		err = invalid("%d events announced, %d bytes there", h.Count, r.Left())
	}
	if err == nil {
		d.positions = h.Positions
		err = d.read(r, &h)
	}
	if err != nil {
		if !errors.Is(err, ErrInvalid) {
			err = fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return fmt.Errorf("decode batch: %w", err)
	}
	*batch = Batch{Unit: h.Unit, First: h.First, Boot: h.Boot, Events: d.events}
	if len(h.Positions) > 0 {
		batch.Positions = h.Positions
	}
	return nil
}

// read reads the columns after the header.
func (d *Decoder) read(r *pack.Reader, h *Header) error {
	if cap(d.events) < h.Count {
		d.events = make([]Event, h.Count)
	}
	d.events = d.events[:h.Count]
	for i := range d.events {
		d.events[i] = Event{Seq: h.First + uint64(i), Value: 1}
	}
	d.times(r)
	d.codes(r, h.Unit.Lane)
	d.values(r)
	d.names(r)
	d.traces(r)
	d.attrs(r)
	d.raws(r)
	return r.Done()
}

// times reads the five columns of time.
func (d *Decoder) times(r *pack.Reader) {
	events := d.events
	column := r.Bin("hi", MaxBatchBytes)
	if r.Err() != nil {
		return
	}
	if d.numbers = d.list(r, "hi", column, len(events), true); r.Err() != nil {
		return
	}
	for i, v := range d.numbers {
		events[i].Stamp.Hi = int64(v)
	}
	if v := d.column(r, "lo", len(events), true); v != nil {
		for i := range events {
			events[i].Stamp.Lo = int64(v[i])
		}
	}
	if v := d.column(r, "point", len(events), false); v != nil {
		for i := range events {
			s := &events[i].Stamp
			// The gap must not lead past the least int64: with lo not above
			// point, the check below, it is then no wrap-around.
			s.Point = int64(uint64(s.Hi) - v[i])
			if s.Point > s.Hi || s.Point < s.Lo {
				r.Fail("point", fmt.Errorf("%d outside [%d, %d]", s.Point, s.Lo, s.Hi))
				return
			}
		}
	} else {
		for i := range events {
			s := &events[i].Stamp
			s.Point = s.Hi
			if s.Lo > s.Hi {
				r.Fail("lo", fmt.Errorf("%d after %d", s.Lo, s.Hi))
				return
			}
		}
	}
	if v := d.column(r, "hlc", len(events), true); v != nil {
		for i := range events {
			events[i].HLC = hlc.Timestamp(v[i])
		}
	}
	if v := d.column(r, "source time", len(events), true); v != nil {
		for i := range events {
			events[i].SourceTime = int64(v[i])
		}
	}
}

// column reads a column of n numbers: nil if all are zero. Of a rising column
// the list holds differences.
func (d *Decoder) column(r *pack.Reader, field string, n int, rising bool) []uint64 {
	column := r.Bin(field, MaxBatchBytes)
	if len(column) == 0 {
		return nil
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
			return nil
		}
		d.numbers = sized(d.numbers, n)
		for i := range d.numbers {
			d.numbers[i] = first
			first += step
		}
		return d.numbers
	case formList:
		d.numbers = d.list(r, field, column[1:], n, rising)
		if r.Err() == nil && steady(d.numbers, rising) {
			r.Fail(field, errNotCanonical)
		}
		if r.Err() != nil {
			return nil
		}
		return d.numbers
	}
	r.Fail(field, fmt.Errorf("form %d is unknown", column[0]))
	return nil
}

// list reads n varints that fill the column.
func (d *Decoder) list(r *pack.Reader, field string, column []byte, n int, rising bool) []uint64 {
	if n > len(column) {
		r.Fail(field, fmt.Errorf("%d numbers announced, %d bytes there", n, len(column)))
		return nil
	}
	numbers := sized(d.numbers, n)
	at := 0
	for i := range numbers {
		if at < len(column)-1 {
			// One and two bytes are nearly all there are.
			b := uint64(column[at])
			if b < 0x80 {
				numbers[i] = b
				at++
				continue
			}
			if c := uint64(column[at+1]); c < 0x80 && c != 0 {
				numbers[i] = b&0x7f | c<<7
				at += 2
				continue
			}
		}
		v, next := uvarint(column, at)
		if next == 0 {
			r.Fail(field, fmt.Errorf("varint %d of %d: %w", i+1, n, errNotCanonical))
			return nil
		}
		numbers[i], at = v, next
	}
	if at != len(column) {
		r.Fail(field, fmt.Errorf("%d bytes left over after %d numbers", len(column)-at, n))
		return nil
	}
	if rising {
		before := uint64(0)
		for i, v := range numbers {
			before += unzigzag(v)
			numbers[i] = before
		}
	}
	return numbers
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
func steady(numbers []uint64, rising bool) bool {
	if len(numbers) < 2 {
		return true
	}
	step := uint64(0)
	if rising {
		step = numbers[1] - numbers[0]
	}
	want, off := numbers[0], uint64(0)
	for _, n := range numbers {
		off |= n ^ want
		want += step
	}
	return off == 0
}

// codes reads the four columns of one byte an event.
func (d *Decoder) codes(r *pack.Reader, lane Lane) {
	for _, c := range []struct {
		field string
		valid func(byte) bool
		set   func(*Event, byte)
	}{
		{"flags", func(b byte) bool { return Flags(b)&^allFlags == 0 }, func(e *Event, b byte) { e.Flags = Flags(b) }},
		{"kind", func(b byte) bool { return Kind(b) <= Loss }, func(e *Event, b byte) { e.Kind = Kind(b) }},
		{"criticality", func(b byte) bool { return b <= 3 && (b == 0) == (lane == Critical) },
			func(e *Event, b byte) { e.Criticality = b }},
		{"severity", func(b byte) bool { return Severity(b) <= MaxSeverity }, func(e *Event, b byte) { e.Severity = Severity(b) }},
	} {
		column := r.Bin(c.field, MaxBatchEvents)
		if r.Err() != nil {
			return
		}
		valid := true
		switch {
		case len(column) == 0:
			valid = c.valid(0)
		case len(column) == 1:
			valid = column[0] != 0 && c.valid(column[0])
			for i := range d.events {
				c.set(&d.events[i], column[0])
			}
		case len(column) == len(d.events):
			var differ byte
			for i, b := range column {
				valid = valid && c.valid(b)
				differ |= b ^ column[0]
				c.set(&d.events[i], b)
			}
			valid = valid && differ != 0
		default:
			valid = false
		}
		if !valid {
			r.Fail(c.field, errors.New("a code that is unknown, of the other lane, or not in canonical form"))
			return
		}
	}
}

// values reads the column of values.
func (d *Decoder) values(r *pack.Reader) {
	const field = "values"
	column := r.Bin(field, MaxBatchBytes)
	if len(column) == 0 {
		return
	}
	events, form := d.events, column[0]
	column = column[1:]
	whole, vary := true, false
	switch {
	case form == formSame && len(column) == 8:
		v := math.Float64frombits(binary.LittleEndian.Uint64(column))
		if v == 1 || !canonicalValue(v) {
			r.Fail(field, errNotCanonical)
			return
		}
		for i := range events {
			events[i].Value = v
		}
		return
	case form == formList:
		d.numbers = d.list(r, field, column, len(events), false)
		for i, n := range d.numbers {
			v := int64(unzigzag(n))
			if v > maxIntegral || v < -maxIntegral {
				r.Fail(field, errNotCanonical)
			}
			events[i].Value = float64(v)
			vary = vary || n != d.numbers[0]
		}
	case form == formFloats && len(column) == 8*len(events):
		first := binary.LittleEndian.Uint64(column)
		for i := range events {
			bits := binary.LittleEndian.Uint64(column[8*i:])
			v := math.Float64frombits(bits)
			if !canonicalValue(v) {
				r.Fail(field, errNotCanonical)
				return
			}
			events[i].Value = v
			whole = whole && integral(v)
			vary = vary || bits != first
		}
		if whole {
			r.Fail(field, errNotCanonical)
		}
	default:
		r.Fail(field, fmt.Errorf("form %d with %d bytes for %d events", form, len(column), len(events)))
	}
	if !vary {
		r.Fail(field, errNotCanonical)
	}
}

// canonicalValue reports whether v is not another NaN than the one allowed.
func canonicalValue(v float64) bool { return v == v || math.Float64bits(v) == canonicalNaN }

// sized returns a slice of n numbers, s if it is large enough.
func sized(s []uint64, n int) []uint64 {
	if cap(s) < n {
		return make([]uint64, n)
	}
	return s[:n]
}
