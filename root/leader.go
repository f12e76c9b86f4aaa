//go:build !zos

package root

import (
	"context"
	"sync"
	"time"

	"pando/internal/pack"
	"pando/transport"
	"pando/tree/wire"
)

const (
	// idleTick is how often time passes for the state while no incident is
	// open, and nothing is due in a pattern.
	idleTick = 10 * time.Second
	// markCommands and markEvery say when members compare their states: after
	// so many commands, or so long after the last time. While nothing but
	// ticks and marks is committed, markIdle counts.
	markCommands = 1024
	markEvery    = 10 * time.Second
	markIdle     = time.Minute
	// housekeeping is how many commands an idle group makes between two marks.
	housekeeping = 16
	// lastMarkLimit bounds the comparison before a graceful stop.
	lastMarkLimit = time.Second
)

// lead does what only the leader does, while this root is it.
func (r *Root) lead(ctx context.Context) {
	stop, done := func() {}, make(chan struct{})
	close(done)
	for {
		select {
		case <-ctx.Done():
			stop()
			<-done
			return
		case won := <-r.node.Leadership():
			stop()
			<-done
			r.leading.Store(won)
			r.directoryChanged()
			if !won {
				r.time.follow()
				stop = func() {}
				continue
			}
			r.time.lead(r.fsm.Now())
			now := time.Now()
			r.leads.Store(&now)
			r.log.Info("this root leads")
			term, cancel := context.WithCancel(ctx)
			ended := make(chan struct{})
			stop, done = cancel, ended
			go func() {
				defer close(ended)
				var wg sync.WaitGroup
				wg.Go(func() { r.steward(term) })
				r.chores(term)
				wg.Wait()
			}()
		}
	}
}

// chores lets time pass and has states compared.
func (r *Root) chores(ctx context.Context) {
	pace := r.tickEvery.Load()
	every := time.NewTicker(time.Duration(pace))
	defer every.Stop()
	r.mark(ctx)
	ticked, marked := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if now := r.tickEvery.Load(); now != pace {
			pace = now
			every.Reset(time.Duration(pace))
		}
		v := r.fsm.view()
		if v.openIncidents() > 0 || v.patterns.next <= r.time.Now() || time.Since(ticked) >= idleTick {
			ticked = time.Now()
			if _, _, err := r.node.Propose(ctx, tickCommand(r.time.Now())); err != nil && ctx.Err() == nil {
				r.log.Debug("tick not committed", "error", err)
			}
		}
		if since := v.count - v.mark.number; since >= markCommands || time.Since(marked) >= markIdle ||
			since > housekeeping && time.Since(marked) >= markEvery {
			marked = time.Now()
			r.mark(ctx)
		}
	}
}

// mark has every member hash its state and vote.
func (r *Root) mark(ctx context.Context) bool {
	members := len(r.node.Peers())
	_, _, err := r.node.Propose(ctx, markCommand(r.time.Now(), members))
	if err != nil && ctx.Err() == nil {
		r.log.Debug("mark not committed", "error", err)
	}
	return err == nil
}

// lastMark has states compared once more before a graceful stop, so that a
// replay of the log has what it holds confirmed up to its end.
func (r *Root) lastMark(ctx context.Context) {
	if !r.leading.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastMarkLimit)
	defer cancel()
	if !r.mark(ctx) {
		return
	}
	for {
		v, moved := r.fsm.next()
		if len(v.mark.votes) > v.mark.members/2 {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// vote proposes this member's hash at each new mark. A vote that does not get
// through is none; there will be other marks.
func (r *Root) vote(ctx context.Context) {
	for {
		var m mark
		select {
		case <-ctx.Done():
			return
		case m = <-r.watch.marks:
		}
		q := r.newRequest(r.name, func(id uint64) transport.Message {
			w := pack.NewWriter()
			w.Uint(id)
			w.Uint(m.number)
			w.Bin(m.hash[:])
			return transport.Message{Kind: kindVote, Body: w.Bytes()}
		})
		vctx, cancel := context.WithTimeout(ctx, markEvery/2)
		m2, err := r.decide(vctx, q)
		cancel()
		if ctx.Err() == nil && (err != nil || m2.Kind != wire.KindDone) {
			r.log.Debug("vote not committed", "mark", m.number, "error", err)
		}
	}
}
