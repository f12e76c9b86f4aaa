package event

import (
	"encoding/binary"
	"math"
)

// shape is what one look over a batch's events finds out before any column is
// written: which columns are needed at all, and in which form. It is a
// function of the events, so equal batches get equal forms.
type shape struct {
	hlc, lo, source    progression
	point, attrs, raws level

	codes  uint32 // bits in which [Event.codes] differ from the first event's
	values uint64 // bits in which values differ from the first event's
	whole  bool   // all values are whole numbers

	trace, span, parent               bool // some event has one
	sources, entities, signals, peers bool // some event has one

	attrCount int
	rawBytes  int
}

// progression tells whether a rising column's numbers rise by one same step.
type progression struct {
	first, step uint64
	off         uint64 // not 0 if some number is off the line
}

// level tells whether another column's numbers are all the same.
type level struct {
	first uint64
	off   uint64 // not 0 if some number differs
}

// Numbers that a batch's columns are made of, as unsigned 64-bit values that
// wrap, so that every int64 has one.
func pointGap(e *Event) uint64 { return uint64(e.Stamp.Hi) - uint64(e.Stamp.Point) }

// measure looks over the events and checks each but for its strings. It is
// two loops a block because one would need more variables than a processor
// has registers; a block's events stay in the first cache between them.
func (s *shape) measure(b *Batch) error {
	const block = 64
	first := &b.Events[0]
	*s = shape{whole: true}
	s.hlc.first, s.lo.first, s.source.first = uint64(first.HLC), uint64(first.Stamp.Lo), uint64(first.SourceTime)
	s.point.first, s.attrs.first, s.raws.first = pointGap(first), uint64(len(first.Attrs)), uint64(len(first.Raw))
	if len(b.Events) > 1 {
		second := &b.Events[1]
		s.hlc.step = uint64(second.HLC) - s.hlc.first
		s.lo.step = uint64(second.Stamp.Lo) - s.lo.first
		s.source.step = uint64(second.SourceTime) - s.source.first
	}
	for at := 0; at < len(b.Events); at += block {
		events := b.Events[at:min(at+block, len(b.Events))]
		if !s.measureTimes(b.Unit.Lane, b.First, uint64(at), events) {
			return b.misplaced()
		}
		s.measureContent(first, events)
	}
	if s.attrCount > MaxBatchAttrs {
		return invalid("batch of %d attributes: limit %d", s.attrCount, MaxBatchAttrs)
	}
	return nil
}

// measureTimes looks at the numbers that are times, and reports whether all
// events are well formed and in their place. The first of them is event at of
// the batch.
func (s *shape) measureTimes(lane Lane, seq, at uint64, events []Event) bool {
	hlcWant, hlcStep, hlcOff := s.hlc.first+at*s.hlc.step, s.hlc.step, uint64(0)
	loWant, loStep, loOff := s.lo.first+at*s.lo.step, s.lo.step, uint64(0)
	sourceWant, sourceStep, sourceOff := s.source.first+at*s.source.step, s.source.step, uint64(0)
	gap, gapOff := s.point.first, uint64(0)
	seq += at
	for i := range events {
		e := &events[i]
		if e.Stamp.Lo > e.Stamp.Point || e.Stamp.Point > e.Stamp.Hi ||
			e.Flags&^allFlags != 0 || e.Criticality > 3 || e.Kind > Loss || e.Severity > MaxSeverity ||
			e.Seq != seq || e.Lane() != lane ||
			len(e.Raw) > MaxRaw || len(e.Attrs) > 0 && e.check() != nil {
			return false
		}
		seq++
		hlcOff |= uint64(e.HLC) ^ hlcWant
		hlcWant += hlcStep
		loOff |= uint64(e.Stamp.Lo) ^ loWant
		loWant += loStep
		sourceOff |= uint64(e.SourceTime) ^ sourceWant
		sourceWant += sourceStep
		gapOff |= pointGap(e) ^ gap
	}
	s.hlc.off |= hlcOff
	s.lo.off |= loOff
	s.source.off |= sourceOff
	s.point.off |= gapOff
	return true
}

// measureContent looks at everything else, without branches for the most
// part.
func (s *shape) measureContent(first *Event, events []Event) {
	firstCodes, firstValue := first.codes(), valueBits(first.Value)
	attrs, raws := len(first.Attrs), len(first.Raw)
	var codes uint32
	var values, trace, span, parent uint64
	var sources, entities, signals, peers, attrsOff, rawsOff int
	for i := range events {
		e := &events[i]
		codes |= e.codes() ^ firstCodes
		values |= valueBits(e.Value) ^ firstValue
		sources |= len(e.Source)
		entities |= len(e.Entity)
		signals |= len(e.Signal)
		peers |= len(e.Peer)
		trace |= binary.NativeEndian.Uint64(e.TraceID[:]) | binary.NativeEndian.Uint64(e.TraceID[8:])
		span |= binary.NativeEndian.Uint64(e.SpanID[:])
		parent |= binary.NativeEndian.Uint64(e.ParentID[:])
		attrsOff |= len(e.Attrs) ^ attrs
		rawsOff |= len(e.Raw) ^ raws
		s.attrCount += len(e.Attrs)
		s.rawBytes += len(e.Raw)
	}
	for i := 0; s.whole && i < len(events); i++ {
		s.whole = integral(events[i].Value)
	}
	s.codes |= codes
	s.values |= values
	s.sources = s.sources || sources != 0
	s.entities = s.entities || entities != 0
	s.signals = s.signals || signals != 0
	s.peers = s.peers || peers != 0
	s.trace = s.trace || trace != 0
	s.span = s.span || span != 0
	s.parent = s.parent || parent != 0
	s.attrs.off |= uint64(attrsOff)
	s.raws.off |= uint64(rawsOff)
}

// codes are the event's four single bytes in one number.
func (e *Event) codes() uint32 {
	return uint32(e.Flags) | uint32(e.Kind)<<8 | uint32(e.Criticality)<<16 | uint32(e.Severity)<<24
}

// misplaced names the first event at fault, or in the wrong place.
func (b *Batch) misplaced() error {
	for i := range b.Events {
		e := &b.Events[i]
		if err := e.check(); err != nil {
			return invalidEvent(e.Seq, err)
		}
		if want := b.First + uint64(i); e.Seq != want {
			return invalid("event %d where sequence %d belongs", e.Seq, want)
		}
		if e.Lane() != b.Unit.Lane {
			return invalidEvent(e.Seq, invalid("criticality %d in a batch of lane %v", e.Criticality, b.Unit.Lane))
		}
	}
	return nil
}

// canonicalNaN is the one NaN in any batch, as in package pack: the bits of a
// NaN differ between processors.
const canonicalNaN = 0x7ff8000000000001

func valueBits(v float64) uint64 {
	if v != v {
		return canonicalNaN
	}
	return math.Float64bits(v)
}

// maxIntegral is the greatest magnitude written as an integer: up to it a
// float64 holds every integer, and as a varint takes no more than its own
// eight bytes.
const maxIntegral = 1 << 53

// integral reports whether v is a whole number that converts to an integer
// and back without loss; negative zero is not.
func integral(v float64) bool {
	return v >= -maxIntegral && v <= maxIntegral && math.Float64bits(float64(int64(v))) == math.Float64bits(v)
}
