//go:build !zos

package bench

import (
	"context"
	"fmt"
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
	// readEvery of the events begin another read of the source: those of one
	// read have the same lower end of their time.
	readEvery = 64
)

// fed is one agent that the feeder stands for.
type fed struct {
	*feeder
	session *transport.Session
	term    custody.Term
	origin  string
	wal     event.WALID
	events  *events
	opened  chan struct{}

	mu    sync.Mutex
	lanes [event.Lanes]fedLane
}

// fedLane is one unit.
type fedLane struct {
	next   uint64 // sequence number
	chain  event.Hash
	hlc    hlc.Timestamp // last
	stamp  int64         // last
	flight []flight      // without an acknowledgement, in their order

	durable, settled   uint64 // events; sequence number
	events, heartbeats uint64
	sum                exact.Sum
}

// flight is a batch that the relay has not acknowledged.
type flight struct {
	last   uint64
	events uint64
	due    time.Time // when it was to be sent
}

// listen opens the units and takes what the relay says.
func (x *fed) listen(ctx context.Context) error {
	defer x.session.Close("the benchmark is over")
	open := wire.Open{WAL: x.wal, Term: x.term}
	for l := range open.Offers {
		open.Offers[l].From = 1
	}
	if err := x.session.SendControl(ctx, wire.Encode(&open)); err != nil {
		return err
	}
	for {
		m, err := x.session.ReceiveControl(ctx)
		if err != nil {
			return fmt.Errorf("session of %s with the relay: %w", x.origin, err)
		}
		switch m.Kind {
		case wire.KindOpened:
			close(x.opened)
		case wire.KindRefused:
			var r wire.Refused
			if err := wire.Decode(m.Body, &r); err != nil {
				return err
			}
			return fmt.Errorf("the relay refuses the units of %s: %s", x.origin, r.Reason)
		case wire.KindAck:
			var a wire.Ack
			if err := wire.Decode(m.Body, &a); err != nil {
				return err
			}
			x.acknowledged(&a)
		}
	}
}

func (x *fed) acknowledged(a *wire.Ack) {
	now := time.Now()
	x.mu.Lock()
	ln := &x.lanes[a.Lane]
	ln.settled = max(ln.settled, a.Settled)
	n := 0
	for ; n < len(ln.flight) && ln.flight[n].last <= a.Durable; n++ {
		ln.durable += ln.flight[n].events
	}
	arrived := ln.flight[:n:n]
	ln.flight = ln.flight[n:]
	x.mu.Unlock()
	x.feeder.mu.Lock()
	defer x.feeder.mu.Unlock()
	for _, f := range arrived {
		if f.events > 0 {
			x.latencies.Add(now.Sub(f.due), 1)
		}
	}
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
	return x.rest(ctx)
}

// rest waits until the process ends.
func (x *fed) rest(ctx context.Context) error {
	<-ctx.Done()
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
	return x.rest(ctx)
}

// hand stamps events as an agent does that has just read them, and gives them
// to the transport as the lane's next batch. Each lane has one caller.
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
	body, err := enc.Encode(nil, &b)
	if err != nil {
		return err
	}
	m := wire.Batch{Before: ln.chain, DurableTo: b.Last(), Bytes: body}
	if m.Map, m.Mapped = x.clock.Mapping(); !m.Mapped {
		m.Map = clock.Mapping{Boot: b.Boot, At: now}
	}
	beats := uint64(0)
	if list[len(list)-1].Kind == event.Heartbeat {
		beats = 1
	}
	x.mu.Lock()
	ln.chain, ln.next = event.Chain(ln.chain, body), b.Last()+1
	ln.sum, ln.heartbeats = ln.sum.Add(sum), ln.heartbeats+beats
	ln.events += uint64(len(list)) - beats
	// Before it goes out, so that no acknowledgement can overtake it.
	ln.flight = append(ln.flight, flight{b.Last(), uint64(len(list)) - beats, due})
	x.mu.Unlock()
	return x.session.Send(ctx, transport.Lane(l), wire.Encode(&m))
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
