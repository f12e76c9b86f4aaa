package event

import "pando/event/clock"

// What encoding takes at most, beside the texts and originals themselves.
const (
	batchOverhead    = 2 << 10 // header without positions, forms and lengths of all columns
	positionOverhead = 24      // three lengths, an offset and a bool
	eventOverhead    = 128     // ten varints, codes, a value, four names' lengths and indices, three identities
	attrOverhead     = 16      // lengths and indices of key and value
)

// Builder gathers events for one batch of one unit until it is full. The zero
// value holds as much as a batch may; set the limits before the first Add.
// Not safe for concurrent use.
type Builder struct {
	// MaxEvents and MaxBytes cut batches smaller than the format allows; 0,
	// or more than that, means what it allows.
	MaxEvents, MaxBytes int

	events []Event
	bytes  int
	attrs  int
}

// Add takes a valid event (see [Event.Validate]) and reports whether there
// was room. An empty Builder has room for any.
func (b *Builder) Add(e Event) bool {
	size := e.EncodedBound()
	if len(b.events) > 0 && (len(b.events) >= limit(b.MaxEvents, MaxBatchEvents) ||
		b.bytes+size > limit(b.MaxBytes, MaxBatchBytes-MaxPositionBytes-MaxPositions*positionOverhead-batchOverhead) ||
		b.attrs+len(e.Attrs) > MaxBatchAttrs) {
		return false
	}
	b.events = append(b.events, e)
	b.bytes += size
	b.attrs += len(e.Attrs)
	return true
}

// Len is the number of events gathered.
func (b *Builder) Len() int { return len(b.events) }

// Bytes is the most that encoding them may take. Metric-like events take
// about a tenth, as their names repeat.
func (b *Builder) Bytes() int { return b.bytes }

// Build numbers the events from first, returns them as a batch, and starts
// again empty. The batch owns its events.
func (b *Builder) Build(u Unit, first uint64, boot clock.Boot, positions []Position) *Batch {
	batch := &Batch{Unit: u, First: first, Boot: boot, Positions: positions, Events: b.events}
	for i := range batch.Events {
		batch.Events[i].Seq = first + uint64(i)
	}
	b.events, b.bytes, b.attrs = nil, 0, 0
	return batch
}

// EncodedBound is the most that the event adds to a batch's bytes. Metric-like
// events take about a tenth.
func (e *Event) EncodedBound() int {
	size := eventOverhead + len(e.Source) + len(e.Entity) + len(e.Signal) + len(e.Peer) + len(e.Raw)
	for i := range e.Attrs {
		size += attrOverhead + len(e.Attrs[i].Key) + len(e.Attrs[i].Value)
	}
	return size
}

// limit is the caller's, if it has a tighter one.
func limit(own, most int) int {
	if own > 0 && own < most {
		return own
	}
	return most
}
