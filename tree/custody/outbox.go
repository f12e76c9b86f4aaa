package custody

import "fmt"

// Offer is what an agent says of a unit when it opens a session.
type Offer struct {
	From   uint64 // first sequence the agent has and does not know to be settled
	Last   uint64 // last appended; From-1 if there is none
	Synced uint64 // last that the agent's disk holds: the first durable-to

	// Started is the HLC of the session whose claim told the agent where to
	// read its sources; 0: none did.
	Started uint64
}

// Outbox is the agent's side of one unit. Its fields are numbers only; the
// batches lie in the agent's WAL.
type Outbox struct {
	First   uint64 // first sequence still in the WAL
	Last    uint64 // last appended
	Synced  uint64 // last covered by the agent's own fsync; the durable-to of every frame
	Settled uint64 // the root has committed everything up to here

	Open    bool   // a session has this unit open and its resume point is known
	Next    uint64 // first sequence not sent in this session
	Durable uint64 // the parent has it fsynced; of this session only
}

// NewOutbox is the unit of a WAL that holds first to last, all of it synced,
// and is known to be settled up to settled.
func NewOutbox(first, last, settled uint64) Outbox {
	return Outbox{First: first, Last: last, Synced: last, Settled: settled}
}

// Append takes note of a batch that ends at last.
func (o *Outbox) Append(last uint64) { o.Last = last }

// Sync takes note of the agent's own fsync.
func (o *Outbox) Sync(seq uint64) { o.Synced = max(o.Synced, min(seq, o.Last)) }

// Offer ends the present session, if any, and says what a new one may have.
func (o *Outbox) Offer() Offer {
	o.Close()
	return Offer{From: o.Settled + 1, Last: o.Last, Synced: o.Synced}
}

// Close ends the session. What the parent acknowledged as durable is
// forgotten with it: another parent does not have it.
func (o *Outbox) Close() { o.Open, o.Next, o.Durable = false, 0, 0 }

// Opened takes the parent's resume point.
func (o *Outbox) Opened(resume uint64) error {
	if resume > o.Synced+1 {
		// The parent keeps only what this disk once vouched for.
		return fmt.Errorf("parent resumes at %d, this disk holds up to %d: %w", resume, o.Synced, ErrDiverged)
	}
	if resume < o.First || resume <= o.Settled {
		return fmt.Errorf("parent resumes at %d, offered from %d: %w", resume, o.Settled+1, ErrProtocol)
	}
	o.Open, o.Next, o.Durable = true, resume, resume-1
	return nil
}

// Sent takes note that the batch that ends at last went out.
func (o *Outbox) Sent(last uint64) { o.Next = last + 1 }

// Ack takes the parent's two cumulative acknowledgements. Settled holds
// across sessions, durable only within the one that said it.
func (o *Outbox) Ack(durable, settled uint64) error {
	if settled > o.Synced {
		return fmt.Errorf("settled up to %d, this disk holds up to %d: %w", settled, o.Synced, ErrDiverged)
	}
	o.Settled = max(o.Settled, settled)
	if !o.Open {
		return nil
	}
	if durable >= o.Next || durable > o.Synced {
		return fmt.Errorf("durable up to %d acknowledged, sent up to %d, synced up to %d: %w", durable, o.Next-1, o.Synced, ErrProtocol)
	}
	o.Durable = max(o.Durable, durable)
	return nil
}

// MayTrim is the last sequence that the agent may delete: settled, and not
// promised to the parent of the open session. (The batches may have been
// settled by another relay after this session agreed on its resume point.)
func (o *Outbox) MayTrim() uint64 {
	if o.Open {
		return min(o.Settled, o.Next-1)
	}
	return o.Settled
}

// Trimmed takes note that everything before first is gone.
func (o *Outbox) Trimmed(first uint64) { o.First = max(o.First, first) }

// Unacknowledged is the number of events sent and not yet durable at the
// parent: the send window in use.
func (o *Outbox) Unacknowledged() uint64 {
	if !o.Open {
		return 0
	}
	return o.Next - 1 - o.Durable
}
