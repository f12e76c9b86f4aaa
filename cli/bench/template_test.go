//go:build !zos

package bench

import (
	"bytes"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/event/hlc"
)

// What is sent is byte for byte what the product's encoder makes of the same
// events; when they are sent again they have other trace ids, and all else is as
// it was.
func TestATemplateIsSentAsItWouldBeEncoded(t *testing.T) {
	o := &Options{Entities: 160, Signals: 20, Agents: 16}
	var buf scratch
	for _, kind := range []string{KindMetric, KindLog} {
		for _, n := range []int{1, 2, readEvery, readEvery + 1, 300, 4096} {
			templates, err := newEvents(kind, o, 1).encode(n)
			if err != nil {
				t.Fatal(err)
			}
			w := newEvents(kind, o, 1)
			if len(templates)*n < len(w.draws) {
				t.Fatalf("%s: %d batches of %d for %d draws", kind, len(templates), n, len(w.draws))
			}
			for i, step := range []int64{0, 1, 9173} {
				events, s := make([]event.Event, n), span{from: 86_400e9, step: step, hlc: 1_764_000_000_000 << 16}
				h := event.Header{Unit: event.Unit{Origin: "lab/agent1", WAL: 7, Lane: event.Bulk}, First: 1 << 40, Count: n, Boot: clock.Boot{1},
					Positions: []event.Position{{Source: source, File: "bench", Offset: 1 << 40, Replayable: true}}}
				sum := w.fill(events, make([]event.Attr, n*attrsOfLog))
				for i := range events {
					events[i].Seq, events[i].Stamp, events[i].HLC = h.First+uint64(i), s.stamp(i), s.hlc+hlc.Timestamp(i)
				}
				b := event.Batch{Unit: h.Unit, First: h.First, Boot: h.Boot, Positions: h.Positions, Events: events}
				want, err := b.Encode(nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := templates[i].append(nil, &h, s, 0, &buf); !bytes.Equal(got, want) || templates[i].sum != sum {
					t.Fatalf("%s, %d events, step %d:\n%x\nwant\n%x", kind, n, step, got, want)
				}
				again, err := event.Decode(templates[i].append(nil, &h, s, 1, &buf))
				if err != nil {
					t.Fatal(err)
				}
				for i := range again.Events {
					e := &again.Events[i]
					if kind == KindLog && (e.TraceID == events[i].TraceID || e.TraceID == [16]byte{}) {
						t.Fatalf("trace id %x after %x", e.TraceID, events[i].TraceID)
					}
					e.TraceID = events[i].TraceID
				}
				if got, err := again.Encode(nil); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, %d events: sent again they are others (error %v)", kind, n, err)
				}
			}
		}
	}
}
