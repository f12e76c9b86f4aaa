//go:build !zos

package bench

import (
	"encoding/binary"
	"slices"

	"pando/event"
	"pando/event/hlc"
	"pando/internal/exact"
	"pando/internal/pack"
)

// template is a batch that is encoded before the clock starts, by the product's
// encoder, but for what is different each time that it is sent: which events
// these are, when they happened, and their trace ids: its header, the columns of
// time, and one of identities. See [event.Version] for their places.
type template struct {
	version uint64
	count   int
	texts   []byte    // what stands between header and times: in version 2 the compressed texts
	rest    []byte    // what stands behind the times
	traces  int       // where trace ids begin in rest; 0: no event has one
	sum     exact.Sum // of the values
}

// span is when the events of a batch happened, as an agent that reads a source
// says it: evenly from one time to another, some of them with each read.
type span struct {
	from, step int64         // of the agent's clock
	hlc        hlc.Timestamp // of the first event
}

// readEvery of the events begin another read of the source: those of one read
// have the same lower end of their time.
const readEvery = 64

// stamp is the time of event i.
func (s span) stamp(i int) event.Stamp {
	hi := s.from + int64(i+1)*s.step
	return event.Stamp{Lo: s.from + int64(i-i%readEvery)*s.step, Hi: hi, Point: hi}
}

// newTemplate makes a template of an encoded batch.
func newTemplate(batch []byte, sum exact.Sum) (template, error) {
	h, err := event.DecodeHeader(batch)
	if err != nil {
		return template{}, err
	}
	t := template{version: pack.NewReader(batch).Uint("version", event.Version), count: h.Count, sum: sum}
	w := pack.NewWriter()
	appendHeader(w, t.version, &h)
	columns := batch[w.Len():]
	// How many come before the times, are times, and stand between these and
	// the trace ids: codes, values and names, or values alone.
	before, times, between := 0, 5, 17
	if t.version == event.Version {
		before, between = 1, 1
	}
	r := pack.NewReader(columns)
	skip := func(n int) (end int) {
		for range n {
			r.Bin("column", event.MaxBatchBytes)
		}
		return len(columns) - r.Left()
	}
	t.texts = columns[:skip(before)]
	t.rest = columns[skip(times):]
	skip(between)
	if ids := r.Bin("trace ids", event.MaxBatchBytes); len(ids) > 0 {
		t.traces = len(t.rest) - r.Left() - len(ids) + (t.count+7)/8 // bits say first who has one
	}
	return t, r.Err()
}

// encode makes templates of all draws, in batches of so many events.
func (w *events) encode(size int) (list []template, err error) {
	var enc event.Encoder
	batch := event.Batch{Unit: event.Unit{Origin: source, Lane: event.Bulk}, First: 1, Events: make([]event.Event, size)}
	arena := make([]event.Attr, size*attrsOfLog)
	for range (len(w.draws) + size - 1) / size {
		sum := w.fill(batch.Events, arena)
		for i := range batch.Events {
			batch.Events[i].Seq = batch.First + uint64(i)
		}
		body, err := enc.Encode(nil, &batch)
		if err != nil {
			return nil, err
		}
		t, err := newTemplate(body, sum)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// append appends the batch to b as it is sent now, under a header of so many
// events. In another round its trace ids are others than before.
func (t *template) append(b []byte, h *event.Header, s span, round uint64, buf *scratch) []byte {
	w := buf.writer()
	appendHeader(w, t.version, h)
	b = append(append(b, w.Bytes()...), t.texts...)
	w = buf.writer()
	buf.times(s, t.count)
	b = append(b, w.Bytes()...)
	at := len(b) + t.traces
	b = append(b, t.rest...)
	if t.traces > 0 {
		for id := range slices.Chunk(b[at:at+16*t.count], 16) {
			// An even number leaves an odd identity other than zero.
			binary.LittleEndian.PutUint64(id, binary.LittleEndian.Uint64(id)^round<<1)
		}
	}
	return b
}

// appendHeader writes a batch's header.
func appendHeader(w *pack.Writer, version uint64, h *event.Header) {
	w.Uint(version)
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

// scratch is memory that is used again from batch to batch.
type scratch struct {
	w      *pack.Writer
	column []byte
}

// writer returns the writer, empty.
func (b *scratch) writer() *pack.Writer {
	if b.w == nil {
		b.w = pack.NewWriter()
	}
	b.w.Reset()
	return b.w
}

// times writes the columns of time of n events in the forms that the product's
// encoder takes for them: 1 where all is said by the first number and a step, 2
// where differences are listed.
func (b *scratch) times(s span, n int) {
	const same, list = 1, 2
	column := binary.AppendVarint(b.column[:0], s.stamp(0).Hi)
	for range n - 1 {
		column = binary.AppendVarint(column, s.step)
	}
	b.w.Bin(column)
	column = append(column[:0], list)
	if n <= readEvery || s.step == 0 {
		column[0] = same
	}
	column = binary.AppendVarint(column, s.from)
	if column[0] == same {
		column = append(column, 0)
	} else {
		for i := 1; i < n; i++ {
			column = binary.AppendVarint(column, s.stamp(i).Lo-s.stamp(i-1).Lo)
		}
	}
	b.w.Bin(column)
	b.w.Bin(nil) // points: the upper ends
	column = binary.AppendVarint(append(column[:0], same), int64(s.hlc))
	column = binary.AppendVarint(column, int64(min(n-1, 1))) // one event takes no step
	b.w.Bin(column)
	b.w.Bin(nil) // times of the source: none
	b.column = column
}
