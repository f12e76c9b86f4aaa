package agent

import (
	"math/rand/v2"
	"testing"

	"pando/event"
	"pando/tree/wire"
	"pando/wal"
)

// A sender that comes to the end of the log and goes on at the batch which it is
// told of misses none of its lane, however reading, appending and the notice of
// that interleave: a batch may be read before the handover hears of it.
func TestSenderMissesNoBatch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		h := NewHandover(NewCore("eu/a", 7))
		if err := h.Opened(&wire.Opened{Resume: [event.Lanes]uint64{1, 1}}); err != nil {
			t.Fatal(err)
		}
		var log []appendedBatch // record at stands at at-1
		var last [event.Lanes]uint64
		noticed := 0
		next, at, ended := uint64(1), wal.Seq(1), false // of the sender of the critical lane
		for len(log) < 40 || next <= last[event.Critical] {
			switch random.IntN(3) {
			case 0:
				if len(log) == 40 {
					continue
				}
				lane := event.Lane(random.IntN(event.Lanes))
				last[lane]++
				log = append(log, appendedBatch{lane, last[lane], wal.Seq(len(log) + 1)})
			case 1:
				if noticed < len(log) {
					b := log[noticed]
					h.Appended(b.lane, b.last, b.at)
					noticed++
				}
			default:
				if ended {
					if h.out[event.Critical].Last >= next {
						at, ended = max(at, h.fresh[event.Critical]), false
					}
					continue
				}
				if ended = int(at) > len(log); ended {
					continue // more may come before it waits
				}
				b := log[at-1]
				at++
				if b.lane != event.Critical {
					continue
				}
				if b.last != next {
					t.Fatalf("batch %d is sent where %d is due", b.last, next)
				}
				h.Send(event.Critical, b.last)
				next++
			}
		}
	}
}
