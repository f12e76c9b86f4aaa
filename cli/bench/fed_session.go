//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pando/event"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/wire"
)

const (
	// aheadOf is how many batches of a lane are made before one that waits for
	// credit: as soon as there is some, the next one goes.
	aheadOf = 1
	// againAfter is how long to wait before a session is opened anew, and
	// againLimit for how long to try.
	againAfter = 200 * time.Millisecond
	againLimit = 20 * time.Second
)

// serve has a session with the relay until the process ends.
func (x *fed) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, x.wake)
	defer stop()
	for since := time.Now(); ; pause(ctx, againAfter) {
		opened, err := x.session(ctx)
		var final *finalError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &final):
			return err
		case opened:
			x.mu.Lock()
			x.lost++
			x.mu.Unlock()
			x.log.Warn("session with the relay ended, and is opened anew", "agent", x.origin, "error", err)
			since = time.Now()
		case time.Since(since) > againLimit:
			return fmt.Errorf("%s has had no session with the relay for %v: %w", x.origin, againLimit, err)
		}
	}
}

// finalError is a fault that another session would not mend.
type finalError struct{ error }

// session opens the units in a new session and hands batches over until it
// ends; opened tells whether it came so far.
func (x *fed) session(ctx context.Context) (opened bool, err error) {
	x.term.Epoch, x.term.Session = 1, x.term.Session+1
	s, err := transport.Dial(ctx, x.spec.Parents[0], transport.Hello{Term: x.term}, x.options)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var senders sync.WaitGroup
	defer func() {
		cancel()
		s.Close("over")
		x.wake()
		senders.Wait()
	}()
	if err := s.SendControl(ctx, wire.Encode(x.open())); err != nil {
		return false, err
	}
	for {
		m, err := s.ReceiveControl(ctx)
		if err != nil {
			return opened, err
		}
		switch m.Kind {
		case wire.KindOpened:
			var o wire.Opened
			if err := wire.Decode(m.Body, &o); err != nil {
				return opened, err
			}
			if err := x.resume(&o); err != nil {
				return opened, err
			}
			opened = true
			for l := range event.Lane(event.Lanes) {
				senders.Go(func() { x.sendLane(ctx, s, l) })
			}
		case wire.KindRefused:
			var r wire.Refused
			if err := wire.Decode(m.Body, &r); err != nil {
				return opened, err
			}
			err := fmt.Errorf("the relay refuses the units of %s: %s", x.origin, r.Reason)
			if r.Code != wire.RefusedTwice && r.Code != wire.RefusedOldTerm { // the session before may linger
				err = &finalError{err}
			}
			return opened, err
		case wire.KindAck:
			var a wire.Ack
			if err := wire.Decode(m.Body, &a); err != nil {
				return opened, err
			}
			x.acknowledged(&a)
		}
	}
}

// wake has everybody look again who waits for something to move.
func (x *fed) wake() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.moved.Broadcast()
}

// open offers all that was made and is not settled.
func (x *fed) open() *wire.Open {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := &wire.Open{WAL: x.wal, Term: x.term}
	for l := range x.lanes {
		ln := &x.lanes[l]
		m.Offers[l] = custody.Offer{From: ln.settled + 1, Last: ln.next - 1, Synced: ln.next - 1}
	}
	return m
}

// resume sends again from where the relay goes on.
func (x *fed) resume(o *wire.Opened) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for l := range x.lanes {
		ln := &x.lanes[l]
		ln.out = 0
		for ln.out < len(ln.flight) && ln.flight[ln.out].last < o.Resume[l] {
			ln.out++
		}
		next := ln.next
		if ln.out < len(ln.flight) {
			next = ln.flight[ln.out].first
		}
		if o.Resume[l] != next {
			return &finalError{fmt.Errorf("the relay resumes %s of %s at %d: the next batch that is not settled begins at %d", event.Lane(l), x.origin, o.Resume[l], next)}
		}
	}
	select {
	case <-x.opened:
	default:
		close(x.opened)
	}
	return nil
}

// sendLane sends what is made, in its order, for as long as the session lives.
func (x *fed) sendLane(ctx context.Context, s *transport.Session, l event.Lane) {
	ln := &x.lanes[l]
	for {
		x.mu.Lock()
		for ln.out == len(ln.flight) && ctx.Err() == nil {
			x.moved.Wait()
		}
		if ctx.Err() != nil {
			x.mu.Unlock()
			return
		}
		m := ln.flight[ln.out].message
		ln.out++ // before it goes out, so that no acknowledgement can overtake it
		x.moved.Broadcast()
		x.mu.Unlock()
		if s.Send(ctx, transport.Lane(l), m) != nil {
			return // the session ends
		}
	}
}

func (x *fed) acknowledged(a *wire.Ack) {
	now := time.Now()
	x.mu.Lock()
	ln := &x.lanes[a.Lane]
	ln.settled = max(ln.settled, a.Settled)
	first := ln.acked
	for ; ln.acked < len(ln.flight) && ln.flight[ln.acked].last <= a.Durable; ln.acked++ {
		ln.durable += ln.flight[ln.acked].events
	}
	arrived := ln.flight[first:ln.acked:ln.acked]
	// What the relay asked for again goes out again, also if it turns out to be
	// settled: the next batch must follow.
	for ln.out > 0 && ln.flight[0].last <= ln.settled {
		ln.bytes -= len(ln.flight[0].message.Body)
		ln.flight[0].message = transport.Message{}
		ln.flight, ln.out, ln.acked = ln.flight[1:], ln.out-1, max(ln.acked-1, 0)
	}
	x.moved.Broadcast()
	x.mu.Unlock()
	x.feeder.mu.Lock()
	defer x.feeder.mu.Unlock()
	for _, f := range arrived {
		if f.events > 0 {
			x.latencies.Add(now.Sub(f.due), 1)
		}
	}
}
