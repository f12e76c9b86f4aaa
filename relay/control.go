//go:build !zos

package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"pando/event"
	"pando/transport"
	"pando/tree/status"
	"pando/tree/wire"
	"pando/wal"
)

// What a child says on the control channel costs it no credit. It is bounded
// here: one open a session, as many vouches as the disk syncs, and a status
// now and then.

const (
	// maxChildStatus bounds an agent's status, in bytes: some thousand sources.
	maxChildStatus = 512 << 10
	// statusPause is the least pause between two statuses of one child; agents
	// send one each statusEvery.
	statusPause = statusEvery / 4
)

// vouches are the durable-tos of one child that came without a batch.
type vouches struct {
	newest [event.Lanes]atomic.Uint64
	wake   chan struct{} // capacity 1
}

// listenTo takes the child's control messages.
func (r *Relay) listenTo(ctx context.Context, c *child) {
	for {
		m, err := c.s.ReceiveControl(ctx)
		if err != nil {
			return
		}
		if err := r.control(c, m); err != nil {
			r.count.refused.WithLabelValues("protocol").Inc()
			r.log.Warn("child ends", "child", c.s.Peer().Node(), "address", c.s.RemoteAddr().String(), "error", err)
			c.s.Close(err.Error())
			return
		}
	}
}

func (r *Relay) control(c *child, m transport.Message) error {
	switch m.Kind {
	case wire.KindOpen:
		return r.open(c, m.Body)
	case wire.KindVouch:
		return c.vouch(m.Body)
	case wire.KindStatus:
		return r.status(c, m.Body, time.Now())
	}
	return nil
}

// vouch takes note of a durable-to. One that says nothing new is passed over.
func (c *child) vouch(body []byte) error {
	var v wire.Vouch
	if err := wire.Decode(body, &v); err != nil {
		return err
	}
	if !c.logged {
		return errors.New("a durable-to before the units are open")
	}
	if n := &c.vouches.newest[v.Lane]; v.Seq > n.Load() { // nobody else stores
		n.Store(v.Seq)
		nudge(c.vouches.wake)
	}
	return nil
}

// writeVouches puts a child's durable-tos into the log: the newest of each lane
// at once, and what comes while that is being synced as one.
func (r *Relay) writeVouches(ctx context.Context, c *child) {
	var said [event.Lanes]uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.vouches.wake:
		}
		if !r.live(c) {
			return
		}
		var at wal.Seq
		for l := range event.Lane(event.Lanes) {
			seq := c.vouches.newest[l].Load()
			if seq <= said[l] {
				continue
			}
			rec := VouchRecord(c.id, l, seq)
			var ok bool
			if at, ok = r.append(rec.Kind, rec.Body, rec.Urgent); !ok {
				c.s.Close(errLog.Error()) // the next open says what the agent's disk holds
				return
			}
			said[l] = seq
		}
		if at != 0 && r.journal.Log().Wait(ctx, at) != nil {
			return
		}
	}
}

// status takes a child's word on itself, unless it is too large or comes too
// soon after the last one. Neither ends the session: it is the lines that count.
func (r *Relay) status(c *child, body []byte, now time.Time) error {
	if len(body) > maxChildStatus {
		r.count.statuses.WithLabelValues("large").Inc()
		if unlogged, ok := r.large.Allow(now); ok {
			r.log.Warn("status refused: it is too large", "child", c.s.Peer().Node(), "address", c.s.RemoteAddr().String(),
				"bytes", len(body), "limit", maxChildStatus, "unlogged", unlogged)
		}
		return nil
	}
	if !c.reported.IsZero() && now.Sub(c.reported) < statusPause {
		r.count.statuses.WithLabelValues("frequent").Inc()
		return nil
	}
	c.reported = now
	var doc wire.Status
	if err := wire.Decode(body, &doc); err != nil {
		return err
	}
	var rep status.Report
	if err := json.Unmarshal(doc.JSON, &rep); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	r.noteStatus(c, rep, len(body))
	return nil
}
