package agent

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pando/agent/input"
	"pando/event"
	"pando/internal/pack"
)

// More files than one batch has positions for must neither break a batch nor
// lose a position, and the state that holds them must be readable.
func TestManyFilesKeepTheirPositions(t *testing.T) {
	const files = 6000
	in := &intake{latest: map[string]event.Position{}, limit: 1 << 30, work: make(chan struct{}, 1), room: sync.NewCond(&sync.Mutex{})}
	for l := range in.moved {
		in.moved[l] = map[string]bool{}
	}
	for i := range files {
		p := event.Position{Source: fmt.Sprintf("s#%d", i), File: strings.Repeat("f", 60), Offset: 1, Replayable: true}
		in.takeLocked(input.Item{Event: event.Event{Source: "s", Criticality: 2}, Position: p})
	}
	l := newLog(t)
	for last := false; !last; {
		lane, items, positions := in.take()
		if last = len(items) == 0; last {
			continue
		}
		events := make([]event.Event, len(items))
		first := l.core.lanes[lane].last + 1
		for i := range items {
			events[i] = items[i].Event
			events[i].Seq = first + uint64(i)
		}
		b := event.Batch{Unit: event.Unit{Origin: "eu/a", WAL: 7, Lane: lane}, First: first, Positions: positions, Events: events}
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
	if err := newCore("eu/a", 7).ReadState(pack.NewReader(w.Bytes())); err != nil {
		t.Errorf("the agent could not start again: %v", err)
	}
}
