package agent

import (
	"errors"
	"fmt"

	"pando/event"
	"pando/tree/custody"
	"pando/tree/wire"
	"pando/wal"
)

// Handover is how far an agent's two lanes are appended, on disk, sent to the
// parent of the present session and settled, and what it says about that. It
// is pure; the caller moves the messages and owns the lock.
type Handover struct {
	out      [event.Lanes]custody.Outbox
	unsynced []appendedBatch // in log order
	recorded [event.Lanes]uint64
	told     [event.Lanes]uint64 // durable-to as the parent knows it

	// fresh is the first batch that was appended since all of the lane's had
	// been sent: whoever sends the lane need not pass what lies before it.
	fresh [event.Lanes]wal.Seq
}

// appendedBatch is a batch that the agent's disk may not hold yet.
type appendedBatch struct {
	lane event.Lane
	last uint64
	at   wal.Seq
}

// NewHandover continues from an open log, whose core is c.
func NewHandover(c *Core) *Handover {
	h := &Handover{}
	for i := range h.out {
		ln := &c.lanes[i]
		// What an open log holds is on disk: opening synced it.
		h.out[i] = custody.NewOutbox(ln.settled+1, ln.last, ln.settled)
		h.recorded[i] = ln.settled
	}
	return h
}

// Appended takes note of a batch in the log, Synced of how far that is on disk.
func (h *Handover) Appended(lane event.Lane, last uint64, at wal.Seq) {
	if o := &h.out[lane]; o.Open && o.Next > o.Last {
		h.fresh[lane] = at
	}
	h.out[lane].Append(last)
	h.unsynced = append(h.unsynced, appendedBatch{lane, last, at})
}

// Synced takes note of how far the log is on disk.
func (h *Handover) Synced(seq wal.Seq) {
	n := 0
	for n < len(h.unsynced) && h.unsynced[n].at <= seq {
		h.out[h.unsynced[n].lane].Sync(h.unsynced[n].last)
		n++
	}
	h.unsynced = h.unsynced[n:]
}

// Outbox is one lane's.
func (h *Handover) Outbox(l event.Lane) custody.Outbox { return h.out[l] }

// Open offers both units to a parent.
func (h *Handover) Open(c *Core, term custody.Term) *wire.Open {
	m := &wire.Open{WAL: c.wal, Term: term, Started: c.started, Estate: c.estate}
	for i := range h.out {
		m.Offers[i] = h.out[i].Offer()
		h.told[i] = m.Offers[i].Synced
	}
	return m
}

// Opened takes the parent's resume points.
func (h *Handover) Opened(o *wire.Opened) error {
	for i := range h.out {
		if h.out[i].Open {
			return fmt.Errorf("units opened twice: %w", custody.ErrProtocol)
		}
		if err := h.out[i].Opened(o.Resume[i]); err != nil {
			return fmt.Errorf("%s lane: %w", event.Lane(i), err)
		}
	}
	return nil
}

// Close ends the session.
func (h *Handover) Close() {
	for i := range h.out {
		h.out[i].Close()
	}
}

// Send takes note that the batch that ends at last goes out, and returns the
// durable-to that goes with it; false if the lane is not open.
func (h *Handover) Send(lane event.Lane, last uint64) (durableTo uint64, open bool) {
	o := &h.out[lane]
	if !o.Open {
		return 0, false
	}
	o.Sent(last)
	h.told[lane] = max(h.told[lane], o.Synced)
	return o.Synced, true
}

// Vouches are the durable-tos of what was sent that moved without a batch that
// says so.
func (h *Handover) Vouches() (due []wire.Vouch) {
	for i := range h.out {
		o := &h.out[i]
		if !o.Open {
			continue
		}
		if seq := min(o.Synced, o.Next-1); seq > h.told[i] {
			h.told[i] = seq
			due = append(due, wire.Vouch{Lane: event.Lane(i), Seq: seq})
		}
	}
	return due
}

// Acknowledged takes the parent's acknowledgements.
func (h *Handover) Acknowledged(ack *wire.Ack) error {
	if err := h.out[ack.Lane].Ack(ack.Durable, ack.Settled); err != nil {
		return fmt.Errorf("%s lane: %w", ack.Lane, err)
	}
	return nil
}

// Settled is how far a lane may be trimmed, and whether the log is to be told.
func (h *Handover) Settled(l event.Lane) (seq uint64, due bool) {
	seq = h.out[l].MayTrim()
	return seq, seq > h.recorded[l]
}

// Recorded takes note that the log knows what is settled: it may be trimmed.
func (h *Handover) Recorded(l event.Lane, seq uint64) {
	h.recorded[l] = seq
	h.out[l].Trimmed(seq + 1)
}

// NeedsNewWAL reports whether an error of the handover means that the tree
// holds other content than this log, or has closed it.
func NeedsNewWAL(err error) bool {
	return errors.Is(err, custody.ErrDiverged) || errors.Is(err, custody.ErrClosed)
}

// RefusalError is what a parent's refusal means to custody.
func RefusalError(r *wire.Refused) error {
	kind := map[string]error{wire.RefusedDiverged: custody.ErrDiverged, wire.RefusedClosed: custody.ErrClosed, wire.RefusedOldTerm: custody.ErrOldTerm}[r.Code]
	if kind == nil {
		kind = custody.ErrProtocol
	}
	return fmt.Errorf("parent refused the units of WAL %s (%s): %s: %w", r.WAL, r.Code, r.Reason, kind)
}

// GapError says that no batch of this log begins where the parent resumes.
// What travels are boundaries of batches, so the parent has others: this disk
// was rolled back and has written as much again.
func GapError(l event.Lane, next, found uint64) error {
	return fmt.Errorf("%s lane: the parent resumes at %d, the next batch here begins at %d: %w", l, next, found, custody.ErrDiverged)
}
