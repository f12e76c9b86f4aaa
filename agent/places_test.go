package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pando/agent/input"
	"pando/event"
	"pando/event/clock"
	"pando/event/hlc"
	"pando/internal/pack"
)

// More files than one batch has positions for must neither break a batch nor
// lose a position, and the state that holds them must be readable.
func TestManyFilesKeepTheirPositions(t *testing.T) {
	const files = 6000
	g := NewGather("eu/a", 1<<30, [event.Lanes]Policy{Block, Block}, [event.Lanes]uint64{})
	for i := range files {
		p := event.Position{Source: fmt.Sprintf("s#%d", i), File: strings.Repeat("f", 60), Offset: 1, Replayable: true}
		g.Put([]input.Item{{Event: event.Event{Source: "s", Criticality: 2}, Position: p}})
	}
	l := newLog(t)
	stamp := func(int) (hlc.Timestamp, error) { return 1, nil }
	for {
		taken, ok := g.Take(time.Now())
		if !ok {
			break
		}
		b, err := g.Batch(taken, 7, clock.Boot{}, stamp)
		if err != nil {
			t.Fatal(err)
		}
		g.Appended(b, 0)
		body, err := b.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		l.do(recBatch, body)
	}
	if n := len(l.core.lanes[event.Bulk].positions); n != files {
		t.Errorf("%d of %d positions are kept", n, files)
	}
	w := pack.NewWriter()
	l.core.AppendState(w)
	if err := NewCore("eu/a", 7).ReadState(pack.NewReader(w.Bytes())); err != nil {
		t.Errorf("the agent could not start again: %v", err)
	}
}
