//go:build !zos

package bench

import (
	"context"
	"sync"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/event/hlc"
	"pando/internal/exact"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/wire"
)

const (
	// beatEvery is how often agents say that their sources are readable.
	beatEvery = 200 * time.Millisecond
	// keptBytes bounds what all agents together keep. Beyond it they wait for
	// settlement: three seconds' worth at the rates that a root can settle.
	keptBytes = 256 << 20
)

// fed is one agent that the feeder stands for. As an agent does on its disk, it
// keeps what is not settled, here in memory, and hands it over again where the
// relay of the next session wants it.
type fed struct {
	*feeder
	options transport.Options
	origin  string
	wal     event.WALID
	batches []template   // of bulk events, that go round
	term    custody.Term // of the last session; of the goroutine that serves
	opened  chan struct{}

	mu    sync.Mutex
	moved *sync.Cond // something was made, sent, acknowledged, or has ended
	lanes [event.Lanes]fedLane
	lost  uint64 // sessions
}

// fedLane is one unit.
type fedLane struct {
	next   uint64 // sequence number
	chain  event.Hash
	hlc    hlc.Timestamp // last
	stamp  int64         // last
	buffer []byte        // of whoever makes batches
	flight []flight      // not settled, in their order
	bytes  int           // of these
	out    int           // of these, sent in this session
	acked  int           // of these, acknowledged in any session

	durable, settled   uint64 // events; sequence number
	events, heartbeats uint64
	sum                exact.Sum
}

// flight is a batch that is not settled.
type flight struct {
	first, last uint64
	events      uint64
	due         time.Time // when it was to be sent
	message     transport.Message
}

// beat keeps the critical lane alive, as an agent without critical events does.
func (x *fed) beat(ctx context.Context) error {
	var e event.Encoder
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for !x.halted.Load() {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := x.heartbeat(ctx, &e, event.Critical); err != nil {
			return err
		}
	}
	<-ctx.Done() // a part that ends earlier has failed
	return nil
}

// heartbeat hands over a batch that says that the source is readable.
func (x *fed) heartbeat(ctx context.Context, enc *event.Encoder, l event.Lane) error {
	return x.hand(ctx, l, time.Now(), made{count: 1}, func(b []byte, h *event.Header, s span) ([]byte, error) {
		e := event.Event{Seq: h.First, HLC: s.hlc, Kind: event.Heartbeat, Source: source, Entity: x.origin, Signal: "readable", Severity: event.SeverityInfo}
		e.Stamp.Hi = s.stamp(0).Hi
		e.Stamp.Lo, e.Stamp.Point = e.Stamp.Hi, e.Stamp.Hi
		if l == event.Bulk {
			e.Criticality = 2
		}
		return enc.Encode(b, &event.Batch{Unit: h.Unit, First: h.First, Boot: h.Boot, Positions: h.Positions, Events: []event.Event{e}})
	})
}

// send sends batches, as many as the relay takes or at the rate that was asked
// for, until the feeder is halted.
func (x *fed) send(ctx context.Context, begin time.Time) error {
	var e event.Encoder
	var buf scratch
	interval := time.Duration(0)
	if x.spec.Rate > 0 {
		interval = time.Duration(float64(time.Second) * float64(x.spec.Batch*len(x.agents)) / x.spec.Rate)
	}
	// One agent after the other, as none knows of the others.
	begin = begin.Add(interval * time.Duration(x.wal-1) / time.Duration(len(x.agents)))
	beat := begin
	for n := 0; !x.halted.Load() && ctx.Err() == nil; n++ {
		due := time.Now()
		if interval > 0 {
			due = begin.Add(time.Duration(n+1) * interval)
			pause(ctx, time.Until(due))
		}
		t, round := &x.batches[n%len(x.batches)], uint64(n/len(x.batches))
		m := made{count: t.count, events: uint64(t.count), sum: t.sum}
		if err := x.hand(ctx, event.Bulk, due, m, func(b []byte, h *event.Header, s span) ([]byte, error) {
			return t.append(b, h, s, round, &buf), nil
		}); err != nil {
			return err
		}
		if time.Since(beat) >= beatEvery {
			beat = time.Now()
			if err := x.heartbeat(ctx, &e, event.Bulk); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return nil
}

// made is what a batch holds.
type made struct {
	count  int    // heartbeats included
	events uint64 // without
	sum    exact.Sum
}

// hand makes the lane's next batch, of events that an agent has just read, and
// waits until the one before went out. Each lane has one caller.
func (x *fed) hand(ctx context.Context, l event.Lane, due time.Time, m made,
	encode func(b []byte, h *event.Header, s span) ([]byte, error)) error {
	ln := &x.lanes[l]
	stamp, err := x.clock.Stamp()
	if err != nil {
		return err
	}
	now := x.clock.Mono()
	h := event.Header{Unit: event.Unit{Origin: x.origin, WAL: x.wal, Lane: l}, First: ln.next, Count: m.count, Boot: x.clock.Boot(),
		Positions: []event.Position{{Source: source, File: "bench", Offset: int64(ln.next), Replayable: true}}}
	body, err := encode(ln.buffer[:0], &h, ln.span(m.count, stamp, now))
	if err != nil {
		return err
	}
	ln.buffer = body
	batch := wire.Batch{Before: ln.chain, DurableTo: h.Last(), Bytes: body}
	if batch.Map, batch.Mapped = x.clock.Mapping(); !batch.Mapped {
		batch.Map = clock.Mapping{Boot: h.Boot, At: now}
	}
	next := flight{h.First, h.Last(), m.events, due, wire.Encode(&batch)}
	chain := event.Chain(ln.chain, body)
	x.mu.Lock()
	defer x.mu.Unlock()
	ln.chain, ln.next = chain, h.Last()+1
	ln.sum, ln.heartbeats, ln.events = ln.sum.Add(m.sum), ln.heartbeats+uint64(m.count)-m.events, ln.events+m.events
	ln.flight, ln.bytes = append(ln.flight, next), ln.bytes+len(next.message.Body)
	x.moved.Broadcast()
	for (len(ln.flight)-ln.out > aheadOf || ln.bytes > keptBytes/len(x.agents)) && ctx.Err() == nil {
		x.moved.Wait()
	}
	return nil
}

// span spreads n events over the time since the batch before.
func (ln *fedLane) span(n int, at hlc.Timestamp, now int64) span {
	if ln.stamp == 0 {
		ln.stamp = now - int64(beatEvery)
	}
	s := span{from: ln.stamp, step: max((now-ln.stamp)/int64(n), 0), hlc: max(at, ln.hlc+1)}
	ln.stamp, ln.hlc = ln.stamp+int64(n)*s.step, s.hlc+hlc.Timestamp(n)
	return s
}
