package wire

import (
	"fmt"
	"strings"
	"testing"

	"pando/event"
	"pando/internal/golden"
	"pando/stream"
	"pando/tree/custody"
)

// TestGoldenMessages pins the bytes of one message of each kind, and of a
// section: other nodes run other versions of this program. A change of them
// needs another version of the transport, which both ends agree on.
func TestGoldenMessages(t *testing.T) {
	var out strings.Builder
	for _, m := range samples() {
		x := Encode(m)
		fmt.Fprintf(&out, "%d %s %x\n", x.Kind, strings.TrimPrefix(fmt.Sprintf("%T", m), "*wire."), x.Body)
	}
	fold := stream.NewFold(stream.DefaultLimits())
	fold.Merge(stream.RowsOf(&event.Event{Seq: 5, Entity: "e", Signal: "s", Peer: "p", Value: 2.5}, 1e9))
	fmt.Fprintf(&out, "section %x\n", EncodeSection(&Section{
		Head:      custody.Head{Unit: unit, Relay: "eu/r", Term: custody.Term{Epoch: 3, Session: 9}, From: 5, To: 5, Before: event.Hash{1}, After: event.Hash{2}, Rest: true, Resumes: true},
		Positions: []event.Position{{Source: "s", Offset: 1}}, Rows: fold.Take()}))
	golden.Compare(t, "messages.golden", []byte(out.String()), "raise the transport's version")
}

// Every kind has a sample: a new message is pinned too.
func TestEveryKindHasASample(t *testing.T) {
	have := map[uint8]bool{}
	for _, m := range samples() {
		have[Encode(m).Kind] = true
	}
	for k := KindOpen; k <= KindPatterns; k++ {
		if !have[k] {
			t.Errorf("kind %d has no sample", k)
		}
	}
}
