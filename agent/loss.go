package agent

import (
	"fmt"

	"pando/agent/input"
	"pando/event"
)

// Policy is what happens to a lane's events while the log has no room.
type Policy string

const (
	// Block makes the sources wait: files stay unread, TCP senders are held
	// up, and what comes over UDP is lost in the kernel, where it is counted.
	Block Policy = "block"
	// DropNewest gives up what is read while the disk is full. The sources go
	// on, and the loss ledger says what is missing.
	DropNewest Policy = "drop_newest"
)

func (p Policy) validate() error {
	if p != Block && p != DropNewest {
		return fmt.Errorf("%q: give %s or %s", p, Block, DropNewest)
	}
	return nil
}

// losses returns what takes the place of items that are dropped: for each
// source and file one event that counts them, with the position after them.
// Losses among the items are added up; heartbeats are not missed. The second
// result is how many events are lost now.
func losses(agent string, l event.Lane, items []input.Item) ([]input.Item, uint64) {
	type key struct{ source, position string }
	at := map[key]int{}
	var out []input.Item
	dropped := uint64(0)
	for i := range items {
		it := &items[i]
		e := &it.Event
		if e.Kind == event.Heartbeat {
			continue
		}
		n, lo := uint64(1), e.Stamp.Lo
		if e.Flags&event.OpenStart != 0 {
			lo = e.Stamp.Point
		}
		if e.Kind == event.Loss {
			n, _ = e.Lost()
		} else {
			dropped++
		}
		k := key{e.Source, it.Position.Source}
		j, known := at[k]
		if !known {
			j = len(out)
			at[k] = j
			out = append(out, input.Item{Event: event.NewLoss(e.Source, agent, event.Overflow, n, lo, e.Stamp.Hi)})
			if l == event.Bulk {
				out[j].Event.Criticality = 2
			}
		} else {
			old := &out[j].Event
			m, _ := old.Lost()
			old.Value = event.NewLoss("", "", event.Overflow, m+n, 0, 0).Value
			old.Stamp = event.Stamp{Lo: min(old.Stamp.Lo, lo), Hi: max(old.Stamp.Hi, e.Stamp.Hi), Point: max(old.Stamp.Hi, e.Stamp.Hi)}
		}
		out[j].Position = it.Position
	}
	return out, dropped
}
