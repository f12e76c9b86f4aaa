package agent

import (
	"math/rand/v2"
	"testing"
	"time"

	"pando/agent/input"
	"pando/event"
	"pando/event/clock"
	"pando/event/hlc"
)

// Whatever waits while the disk is full or a batch is on its way, items leave in
// the order in which they came, each once.
func TestGatherKeepsOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	g := NewGather("eu/a", 1<<30, [event.Lanes]Policy{Block, Block}, [event.Lanes]uint64{})
	put, found := 0, 0
	stamp := func(int) (hlc.Timestamp, error) { return 1, nil }
	for put < 200_000 || g.Waiting() > 0 {
		if n := random.IntN(6000); put < 200_000 {
			var items []input.Item
			for range n {
				items = append(items, input.Item{Event: event.Event{Criticality: 2, Value: float64(put)}})
				put++
			}
			g.Put(items)
		}
		for random.IntN(3) > 0 {
			taken, ok := g.Take(time.Now().Add(time.Hour))
			if !ok {
				break
			}
			if random.IntN(4) == 0 {
				g.Full(taken, time.Now())
				continue
			}
			b, err := g.Batch(taken, 7, clock.Boot{}, stamp)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.Events {
				if b.Events[i].Value != float64(found) || b.Events[i].Seq != uint64(found)+1 {
					t.Fatalf("item %v has number %d where %d is due", b.Events[i].Value, b.Events[i].Seq, found)
				}
				found++
			}
			g.Appended(b, 0)
		}
		if n := g.Waiting(); n != put-found {
			t.Fatalf("%d items wait, %d were put and %d appended", n, put, found)
		}
	}
	if found != put {
		t.Errorf("%d of %d items were appended", found, put)
	}
}
