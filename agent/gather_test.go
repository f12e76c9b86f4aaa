package agent

import (
	"math/rand/v2"
	"strings"
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
	put, found, now := 0, 0, time.Unix(0, 0)
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
			now = now.Add(time.Duration(random.Int64N(int64(bulkEvery))))
			taken, ok := g.Take(now)
			if !ok {
				break
			}
			if random.IntN(4) == 0 {
				g.Full(taken, now.Add(-fullPause))
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

// Bulk that follows bulk gathers for a while, unless it fills a batch; what comes
// after a pause, what is critical, and what is left at the end waits for nothing.
func TestBulkGathers(t *testing.T) {
	g := NewGather("eu/a", 1<<30, [event.Lanes]Policy{Block, Block}, [event.Lanes]uint64{})
	now := time.Unix(1000, 0)
	item := func(criticality uint8, text string) []input.Item {
		return []input.Item{{Event: event.Event{Criticality: criticality, Raw: []byte(text)}}}
	}
	takes := func(when string, lane event.Lane, want bool) {
		t.Helper()
		taken, ok := g.Take(now)
		if ok != want || ok && taken.Lane != lane {
			t.Fatalf("%s: took %t of %s, want %t of %s", when, ok, taken.Lane, want, lane)
		}
	}
	g.Put(item(2, "a"))
	takes("the first", event.Bulk, true)
	now = now.Add(bulkEvery / 3)
	g.Put(item(2, "b"))
	takes("one that follows", event.Bulk, false)
	if d := g.Due(now); d != bulkEvery-bulkEvery/3 {
		t.Errorf("due in %v", d)
	}
	g.Put(item(0, "c"))
	takes("a critical one", event.Critical, true)
	takes("beside a critical one", event.Bulk, false)
	now = now.Add(g.Due(now))
	takes("after the wait", event.Bulk, true)
	for range batchBytes / (16 << 10) {
		g.Put(item(2, strings.Repeat("d", 16<<10)))
	}
	if d := g.Due(now); d != 0 {
		t.Errorf("a full batch is due in %v", d)
	}
	takes("a full batch", event.Bulk, true)
	now = now.Add(time.Second)
	takes("what it had no room for", event.Bulk, true)
	now = now.Add(time.Second)
	g.Put(item(2, "e"))
	takes("after a pause", event.Bulk, true)
	g.Put(item(2, "f"))
	g.Hurry()
	takes("the last", event.Bulk, true)
	g.Put(item(2, "g"))
	takes("the very last", event.Bulk, true)
}
