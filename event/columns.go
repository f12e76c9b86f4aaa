package event

import (
	"bytes"
	"unique"

	"pando/event/clock"
	"pando/event/hlc"
)

// Columns is a batch as it lies in its bytes: a list for each field, with an
// entry for each event. Work on many events goes over the few lists it needs;
// [Columns.Event] puts one event together. The zero value is ready for
// [Columns.Decode], which reuses its memory. Not safe for concurrent use.
type Columns struct {
	Header

	Lo, Hi, Point []int64         // of the stamps
	HLC           []hlc.Timestamp // empty: all are zero
	SourceTime    []int64         // empty: no event has one

	Flags       []Flags
	Kind        []Kind
	Criticality []uint8
	Severity    []Severity

	Value []float64

	Source, Entity, Signal, Peer Names

	TraceID          [][16]byte // empty: no event has one; likewise the others
	SpanID, ParentID [][8]byte

	attrs   []Attr   // of all events
	attrsTo []uint32 // where each event's end in attrs; empty: no event has one
	raw     []byte   // of all events; in the memory of the batch's bytes, or of unpacked
	rawTo   []uint32 // where each event's ends in raw; empty: no event has one

	// Memory that is used again from batch to batch.
	unpacked []byte // columns that were compressed
	numbers  []uint64
	indices  []uint32                // of a column of attributes
	texts    [stringColumns][]string // by column
}

// Name is a name that is compared and hashed as one word, however long it is.
type Name = unique.Handle[string]

// Names is a column of names: the distinct ones, "" first, and which of them
// each event has.
type Names struct {
	Texts []string
	Names []Name   // the same
	Index []uint32 // into Texts; empty: all are ""
}

// At is the string of event i.
func (n *Names) At(i int) string {
	if len(n.Index) == 0 {
		return ""
	}
	return n.Texts[n.Index[i]]
}

// Number is which of the distinct strings event i has, 0 for "".
func (n *Names) Number(i int) uint32 {
	if len(n.Index) == 0 {
		return 0
	}
	return n.Index[i]
}

// Attrs are the attributes of event i, valid until the next Decode.
func (c *Columns) Attrs(i int) []Attr {
	if len(c.attrsTo) == 0 {
		return nil
	}
	return within(c.attrs, c.attrsTo, i)
}

// Raw is the original of event i, valid until the next Decode and for as long
// as the batch's bytes do not change.
func (c *Columns) Raw(i int) []byte {
	if len(c.rawTo) == 0 {
		return nil
	}
	return within(c.raw, c.rawTo, i)
}

// within is the part of a list that belongs to event i; nil if it is empty.
func within[T any](list []T, ends []uint32, i int) []T {
	from, to := uint32(0), ends[i]
	if i > 0 {
		from = ends[i-1]
	}
	if from == to {
		return nil
	}
	return list[from:to:to]
}

// Event puts event i together. Its Attrs and Raw are valid for as long as those
// of [Columns.Attrs] and [Columns.Raw]; all else lasts.
func (c *Columns) Event(i int, e *Event) {
	*e = Event{
		Seq: c.First + uint64(i), Stamp: Stamp{Lo: c.Lo[i], Hi: c.Hi[i], Point: c.Point[i]},
		Flags: c.Flags[i], Kind: c.Kind[i], Criticality: c.Criticality[i], Severity: c.Severity[i], Value: c.Value[i],
		Source: c.Source.At(i), Entity: c.Entity.At(i), Signal: c.Signal.At(i), Peer: c.Peer.At(i),
		Attrs: c.Attrs(i), Raw: c.Raw(i),
	}
	if len(c.HLC) > 0 {
		e.HLC = c.HLC[i]
	}
	if len(c.SourceTime) > 0 {
		e.SourceTime = c.SourceTime[i]
	}
	if len(c.TraceID) > 0 {
		e.TraceID = c.TraceID[i]
	}
	if len(c.SpanID) > 0 {
		e.SpanID = c.SpanID[i]
	}
	if len(c.ParentID) > 0 {
		e.ParentID = c.ParentID[i]
	}
}

// Time is [Event.Time] of event i.
func (c *Columns) Time(i int, m clock.Mapping) (clock.Interval, int64) {
	e := Event{Stamp: Stamp{Lo: c.Lo[i], Hi: c.Hi[i], Point: c.Point[i]}, Flags: c.Flags[i]}
	return e.Time(m)
}

// Size is about how many bytes the decoded events take beside the batch's own.
func (c *Columns) Size() int {
	const event, attr = 256, 32                                  // an entry in each list; two strings
	return c.Count*event + len(c.attrs)*attr + 2*len(c.unpacked) // strings are copies
}

// Batch puts all events together. The result shares nothing with c nor with
// the bytes it was decoded from.
func (c *Columns) Batch() *Batch {
	b := &Batch{Unit: c.Unit, First: c.First, Boot: c.Boot, Events: make([]Event, c.Count)}
	if len(c.Positions) > 0 {
		b.Positions = append(b.Positions, c.Positions...)
	}
	attrs, raw := append([]Attr(nil), c.attrs...), bytes.Clone(c.raw)
	for i := range b.Events {
		e := &b.Events[i]
		c.Event(i, e)
		if e.Attrs != nil {
			e.Attrs = within(attrs, c.attrsTo, i)
		}
		if e.Raw != nil {
			e.Raw = within(raw, c.rawTo, i)
		}
	}
	return b
}
