package event

import (
	"errors"
	"fmt"

	"pando/event/clock"
	"pando/internal/pack"
)

// Version is the newest of the batch format, the first value of each batch.
// Both are read; a batch is written in version 2 where that pays.
//
// A batch of version 1 is a sequence of msgpack values, without an array around
// them. The header comes first:
//
//	version, origin, WAL id, lane, first sequence, number of events n,
//	boot (16 bytes), array of positions: source, file, offset, replayable
//
// Then the columns, each one bin; an empty one holds only defaults:
//
//	hi            numbers, always listed, without a form
//	lo            numbers, rising
//	point         numbers: hi - point
//	hlc           numbers, rising
//	source time   numbers, rising
//	flags, kind, criticality, severity    a byte an event, or one byte for all
//	value         see below; the default is 1
//	source, entity, signal, peer          strings
//	trace id, span id, parent id          (n+7)/8 bytes of presence bits, then those there are
//	attribute counts                      numbers
//	attribute keys, attribute values      strings; absent without attributes
//	raw lengths                           numbers
//	raw                                   the bytes; absent without any
//
// A column of numbers begins with a form: 1, one varint is the number of all,
// or, of a rising column, a zigzag varint is the first and another the step
// to each next; 2, a varint each. Of a rising column, and of hi, the listed
// varints are zigzag differences to the number before, modulo 2^64. A varint
// is LEB128 in its shortest form.
//
// Values begin with a form: 1, eight bytes, little-endian, are the value of
// all; 2, all are whole and within ±2^53, a zigzag varint each; 3, eight
// bytes each. Every NaN is 7ff8000000000001.
//
// Strings are three bins: the lengths of the distinct ones as varints; those
// strings; and each entry's index, from 1 in the order of first use, 0 for
// the empty string, little-endian in the fewest of 0, 1, 2, 4 bytes that hold
// the greatest; or a single 1 if all entries are equal.
//
// Of the forms that could hold a column the writer must take the first, so
// that a batch has one encoding and its hash means its content.
//
// In version 2 one bin follows the header, then the columns of times, values
// and identities as in version 1. The bin holds the others (codes, names,
// attributes, raw), as in version 1 and in its order, as one block of Snappy
// (https://github.com/google/snappy/blob/main/format_description.txt). Any block
// is taken that gives these bytes: who writes the batch chooses one, and its
// hash means that choice and its content. A batch must not be longer than
// [MaxBatchBytes] in version 1 either.
const Version = 2

// Header is what a batch says of itself.
type Header struct {
	Unit      Unit
	First     uint64     // sequence of the first event
	Count     int        // of events
	Boot      clock.Boot // whose monotonic clock the stamps are of
	Positions []Position // as of the last event; sorted by source
}

// Last is the sequence of the batch's last event.
func (h *Header) Last() uint64 { return h.First + uint64(h.Count) - 1 }

// header is the batch's header.
func (b *Batch) header() Header {
	return Header{Unit: b.Unit, First: b.First, Count: len(b.Events), Boot: b.Boot, Positions: b.Positions}
}

// append writes the header of version 1.
func (h *Header) append(w *pack.Writer) {
	w.Uint(flat)
	w.String(h.Unit.Origin)
	w.Uint(uint64(h.Unit.WAL))
	w.Uint(uint64(h.Unit.Lane))
	w.Uint(h.First)
	w.Uint(uint64(h.Count))
	w.Bin(h.Boot[:])
	w.Array(len(h.Positions))
	for _, p := range h.Positions {
		w.String(p.Source)
		w.String(p.File)
		w.Uint(uint64(p.Offset))
		w.Bool(p.Replayable)
	}
}

// DecodeHeader reads a batch's header without its events. The header is
// fully checked; the rest of b is not looked at.
func DecodeHeader(b []byte) (Header, error) {
	var h Header
	r := pack.NewReader(b)
	if _, err := h.read(r, b); err != nil {
		return Header{}, fmt.Errorf("decode batch header: %w", err)
	}
	return h, nil
}

// read reads and checks a header at the start of b, and returns its version.
func (h *Header) read(r *pack.Reader, b []byte) (version uint64, err error) {
	if len(b) > MaxBatchBytes {
		return 0, invalid("batch of %d bytes: limit %d", len(b), MaxBatchBytes)
	}
	version = r.Uint("version", 1<<16)
	if r.Err() == nil && version != flat && version != packed {
		return 0, invalid("version %d: this program reads %d and %d", version, flat, packed)
	}
	h.Unit.Origin = r.String("origin", MaxName)
	h.Unit.WAL = WALID(r.Uint("wal id", 1<<64-1))
	h.Unit.Lane = Lane(r.Uint("lane", Lanes-1))
	h.First = r.Uint("first", 1<<64-1)
	h.Count = int(r.Uint("count", MaxBatchEvents))
	if boot := r.Bin("boot", len(h.Boot)); r.Err() == nil && copy(h.Boot[:], boot) != len(h.Boot) {
		r.Fail("boot", errors.New("too short"))
	}
	h.Positions = h.Positions[:0]
	for n := r.Array("positions", MaxPositions); n > 0 && r.Err() == nil; n-- {
		h.Positions = append(h.Positions, Position{
			Source:     r.String("position source", MaxName),
			File:       r.String("position file", MaxName),
			Offset:     int64(r.Uint("position offset", 1<<63-1)),
			Replayable: r.Bool("position replayable"),
		})
	}
	if r.Err() != nil {
		return 0, r.Err()
	}
	return version, h.check()
}

// errNotCanonical refuses bytes that mean a batch which has other bytes: the
// hash over a batch must prove its content and nothing else.
var errNotCanonical = errors.New("not in canonical form")
