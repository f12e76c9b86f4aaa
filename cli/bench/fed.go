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
	// readEvery of the events begin another read of the source: those of one
	// read have the same lower end of their time.
	readEvery = 64
)

// fed is one agent that the feeder stands for. As an agent does on its disk, it
// keeps what is not settled, here in memory, and hands it over again where the
// relay of the next session wants it.
type fed struct {
	*feeder
	options transport.Options
	origin  string
	wal     event.WALID
	events  *events
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
		if err := x.hand(ctx, &e, event.Critical, []event.Event{x.heartbeat(event.Critical)}, exact.Sum{}, time.Now()); err != nil {
			return err
		}
	}
	<-ctx.Done() // a part that ends earlier has failed
	return nil
}

func (x *fed) heartbeat(l event.Lane) event.Event {
	e := event.Event{Kind: event.Heartbeat, Source: x.events.source, Entity: x.origin, Signal: "readable", Severity: event.SeverityInfo}
	if l == event.Bulk {
		e.Criticality = 2
	}
	return e
}

// send sends batches, as many as the relay takes or at the rate that was asked
// for, until the feeder is halted.
func (x *fed) send(ctx context.Context, begin time.Time) error {
	var e event.Encoder
	list, arena := make([]event.Event, x.spec.Batch, x.spec.Batch+1), make([]event.Attr, x.spec.Batch*attrsOfLog)
	interval := time.Duration(0)
	if x.spec.Rate > 0 {
		interval = time.Duration(float64(time.Second) * float64(x.spec.Batch*len(x.agents)) / x.spec.Rate)
	}
	// One agent after the other, as none knows of the others.
	begin = begin.Add(interval * time.Duration(x.wal-1) / time.Duration(len(x.agents)))
	beat := begin
	for n := time.Duration(1); !x.halted.Load() && ctx.Err() == nil; n++ {
		due := time.Now()
		if interval > 0 {
			due = begin.Add(n * interval)
			pause(ctx, time.Until(due))
		}
		sum := x.events.fill(list, arena)
		batch := list
		if time.Since(beat) >= beatEvery {
			beat = time.Now()
			batch = append(list, x.heartbeat(event.Bulk))
		}
		if err := x.hand(ctx, &e, event.Bulk, batch, sum, due); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// hand stamps events as an agent does that has just read them, makes them the
// lane's next batch, and waits until the one before went out. Each lane has one
// caller.
func (x *fed) hand(ctx context.Context, enc *event.Encoder, l event.Lane, list []event.Event, sum exact.Sum, due time.Time) error {
	ln := &x.lanes[l]
	stamp, err := x.clock.Stamp()
	if err != nil {
		return err
	}
	now := x.clock.Mono()
	x.place(ln, list, max(stamp, ln.hlc+1), now)
	b := event.Batch{Unit: event.Unit{Origin: x.origin, WAL: x.wal, Lane: l}, First: ln.next, Boot: x.clock.Boot(), Events: list,
		Positions: []event.Position{{Source: x.events.source, File: "bench", Offset: int64(ln.next), Replayable: true}}}
	body, err := enc.Encode(ln.buffer[:0], &b)
	if err != nil {
		return err
	}
	ln.buffer = body
	m := wire.Batch{Before: ln.chain, DurableTo: b.Last(), Bytes: body}
	if m.Map, m.Mapped = x.clock.Mapping(); !m.Mapped {
		m.Map = clock.Mapping{Boot: b.Boot, At: now}
	}
	beats := uint64(0)
	if list[len(list)-1].Kind == event.Heartbeat {
		beats = 1
	}
	made := flight{b.First, b.Last(), uint64(len(list)) - beats, due, wire.Encode(&m)}
	chain := event.Chain(ln.chain, body)
	x.mu.Lock()
	defer x.mu.Unlock()
	ln.chain, ln.next = chain, b.Last()+1
	ln.sum, ln.heartbeats, ln.events = ln.sum.Add(sum), ln.heartbeats+beats, ln.events+made.events
	ln.flight, ln.bytes = append(ln.flight, made), ln.bytes+len(made.message.Body)
	x.moved.Broadcast()
	for (len(ln.flight)-ln.out > aheadOf || ln.bytes > keptBytes/len(x.agents)) && ctx.Err() == nil {
		x.moved.Wait()
	}
	return nil
}

// place numbers events and spreads them over the time since the batch before.
func (x *fed) place(ln *fedLane, list []event.Event, at hlc.Timestamp, now int64) {
	if ln.stamp == 0 {
		ln.stamp = now - int64(beatEvery)
	}
	step := max((now-ln.stamp)/int64(len(list)), 0)
	read := ln.stamp
	for i := range list {
		hi := ln.stamp + int64(i+1)*step
		if i%readEvery == 0 {
			read = ln.stamp + int64(i)*step
		}
		e := &list[i]
		e.Seq, e.HLC = ln.next+uint64(i), at+hlc.Timestamp(i)
		e.Stamp = event.Stamp{Lo: read, Hi: hi, Point: hi}
		if e.Kind == event.Heartbeat {
			e.Stamp = event.Stamp{Lo: hi, Hi: hi, Point: hi}
		}
	}
	ln.stamp, ln.hlc = ln.stamp+int64(len(list))*step, at+hlc.Timestamp(len(list))
}
