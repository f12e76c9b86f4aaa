package custody

import (
	"fmt"
	"slices"

	"pando/event"
)

// MaxHeld bounds the batches of one unit that a relay holds unsettled; whoever
// sends more breaks the protocol. A relay withholds credit long before, so the
// rest waits on the agent's disk. At 112 bytes a span it is 7 MB.
const MaxHeld = 1 << 16

// Intake is the relay's side of one unit. It is driven by the relay's WAL
// records in their order, so a replay gives the same value.
type Intake struct {
	Term    Term
	Opened  uint64 // HLC of the session's opening
	Live    bool   // a session has the unit open here
	Claimed bool   // the root granted Term to this relay
	Fenced  bool   // the root granted a higher term to another relay
	Closed  bool   // the WAL id was replaced; only the rest may be settled
	Started uint64 // HLC of the session whose claim started the agent; see [Claim]

	Held    []Span // in order; what is missing between two of them was settled once
	End     uint64 // last sequence held; Held may be empty
	EndHash event.Hash
	EndOK   bool   // EndHash is known
	Vouched uint64 // the last durable-to: the agent's disk holds it
	Stepped uint64 // last sequence that was stepped

	Settled     uint64 // the highest that a root ever said; a restored one says less
	SettledHash event.Hash
	Cut         uint64 // last sequence in a section; Settled <= Cut
}

// OpenSession starts a session and returns where the agent resumes. It drops
// what lies beyond the last durable-to: after a crash the agent may give
// those sequence numbers other content. The HLC of the opening orders the WAL
// ids of one origin.
func (n *Intake) OpenSession(t Term, opened uint64, o Offer) (resume uint64, err error) {
	if n.Closed {
		// Its rest counts less than the agent believes: it must not trim by it.
		return 0, fmt.Errorf("session %s: %w", t, ErrClosed)
	}
	if t.Compare(n.Term) <= 0 && n.Term != (Term{}) {
		return 0, fmt.Errorf("session %s, %s is known: %w", t, n.Term, ErrOldTerm)
	}
	if o.From == 0 || o.Last > MaxSeq || o.Last+1 < o.From || o.Synced > o.Last {
		return 0, fmt.Errorf("offer from %d, last %d, synced %d: %w", o.From, o.Last, o.Synced, ErrProtocol)
	}
	n.dropUnvouched() // a crash of the relay closed no session
	if o.Synced < n.End {
		return 0, fmt.Errorf("agent's disk holds up to %d, it vouched for %d here: %w", o.Synced, n.End, ErrDiverged)
	}
	if o.From > n.End+1 {
		// The agent knows the gap to be settled, and so all that is held. That
		// goes when the root agrees: a restored one may still need it.
		n.End, n.EndHash, n.EndOK = o.From-1, event.Hash{}, o.From == 1
		if n.End == n.Settled {
			n.EndHash, n.EndOK = n.SettledHash, true
		}
		n.Stepped = n.End
	}
	n.Term, n.Opened, n.Live, n.Claimed, n.Fenced = t, opened, true, false, false
	n.Started = o.Started
	// What an earlier session vouched for beyond the end, another content may
	// stand for now: the disk may have been rolled back.
	n.Vouched = o.Synced
	return n.End + 1, nil
}

// dropUnvouched drops what the agent's disk may not hold. No later session can
// vouch for it: it gives those sequence numbers anew.
func (n *Intake) dropUnvouched() {
	keep := len(n.Held)
	for keep > 0 && n.Held[keep-1].Last > n.Vouched {
		keep--
	}
	if keep == len(n.Held) {
		return
	}
	first := n.Held[keep]
	n.End, n.EndHash, n.EndOK = first.First-1, first.Before, true
	n.Held = n.Held[:keep:keep]
}

// CloseSession ends the session. The claim stays, and what is held up to the
// last durable-to.
func (n *Intake) CloseSession() {
	n.Live = false
	n.dropUnvouched()
}

// Add holds the next batch.
func (n *Intake) Add(s Span) error {
	switch {
	case !n.Live:
		return fmt.Errorf("batch %d to %d without a session: %w", s.First, s.Last, ErrProtocol)
	case s.First != n.End+1 || s.Last < s.First || s.Last > MaxSeq:
		return fmt.Errorf("batch %d to %d follows %d: %w", s.First, s.Last, n.End, ErrProtocol)
	case n.EndOK && s.Before != n.EndHash:
		return fmt.Errorf("batch at %d continues another chain: %w", s.First, ErrDiverged)
	case n.Settled >= s.First && (s.Last > n.Settled || s.Last == n.Settled && s.After != n.SettledHash):
		return fmt.Errorf("batch %d to %d contradicts what is settled at %d: %w", s.First, s.Last, n.Settled, ErrDiverged)
	case len(n.Held) >= MaxHeld:
		return fmt.Errorf("batch at %d exceeds the %d that may wait for settlement: %w", s.First, MaxHeld, ErrProtocol)
	}
	n.End, n.EndHash, n.EndOK = s.Last, s.After, true
	if s.Last > n.Settled {
		n.Held = append(n.Held, s)
	}
	return nil
}

// Vouch takes a durable-to of the present session.
func (n *Intake) Vouch(seq uint64) { n.Vouched = max(n.Vouched, seq) }

// Step moves Stepped over the held batches that the agent's disk vouches for
// and returns them in order. Each batch is returned once in its life here.
func (n *Intake) Step() []Span {
	from := len(n.Held)
	for from > 0 && n.Held[from-1].First > n.Stepped {
		from--
	}
	to := from
	for to < len(n.Held) && n.Held[to].Last <= n.Vouched {
		n.Stepped = n.Held[to].Last
		to++
	}
	if n.End <= n.Vouched {
		n.Stepped = max(n.Stepped, n.End) // settled batches are not held
	}
	return n.Held[from:to:to]
}

// Durable is what may be acknowledged once the relay's own fsync covers it.
func (n *Intake) Durable() uint64 { return min(n.End, max(n.Vouched, n.Settled)) }

// Wants reports whether the unit should be claimed at the root: a session
// has it open, or its agent went away before the root heard of it.
func (n *Intake) Wants() bool {
	return !n.Claimed && !n.Fenced && !n.Closed && (n.Live || len(n.Held) > 0)
}

// Granted takes the root's answer to a claim for term t.
func (n *Intake) Granted(t Term, settled uint64, hash event.Hash) error {
	if t != n.Term {
		return nil // the answer to an earlier session
	}
	n.Claimed, n.Fenced = true, false
	if n.Started == 0 {
		n.Started = n.Opened
	}
	return n.settle(settled, hash, true)
}

// Refused takes the root's refusal: somebody holds a higher term.
func (n *Intake) Refused(t Term) {
	if t == n.Term {
		n.Claimed, n.Fenced = false, true
	}
}

// InForce takes the root's word which term it has in force for the unit: zero
// if it does not know the unit. A term below the relay's own says that the root
// was restored and lost the claim, or the claim that fenced this relay: the
// relay claims once more.
func (n *Intake) InForce(t Term) {
	if t.Compare(n.Term) < 0 {
		n.Claimed, n.Fenced = false, false
	}
}

// Applied takes the root's word that the unit is settled up to seq. It comes
// with an applied section, with a skipped one, or as the answer to a
// question, in any order and more than once.
func (n *Intake) Applied(seq uint64, hash event.Hash) error { return n.settle(seq, hash, false) }

// Skipped takes the root's word that the section up to "to" was skipped and
// that the unit is settled up to seq. The next section starts there, or with
// what is still held behind it, unless the skipped one was a copy of what is
// settled already.
func (n *Intake) Skipped(to, seq uint64, hash event.Hash) error {
	return n.settle(seq, hash, max(seq, n.Settled) < to)
}

// Recut forgets the sections that have no answer: the next one starts behind
// the settled position. For a lost connection to the root.
func (n *Intake) Recut() { n.Cut = n.Settled }

// Shut takes the root's word that the WAL id is closed. Its session ends: no
// durable-to comes any more.
func (n *Intake) Shut(seq uint64, hash event.Hash) error {
	n.Closed, n.Claimed = true, false
	n.CloseSession()
	return n.settle(seq, hash, true)
}

func (n *Intake) settle(seq uint64, hash event.Hash, rewind bool) error {
	if seq < n.Settled {
		// An older answer that came late, or a restored root. Neither brings
		// back what was dropped: what is held goes out again and says so.
		if rewind {
			n.Cut = n.Settled
		}
		return nil
	}
	if err := n.agrees(seq, hash); err != nil {
		return err
	}
	n.Settled, n.SettledHash = seq, hash
	drop := 0
	for drop < len(n.Held) && n.Held[drop].Last <= seq {
		drop++
	}
	n.Held = slices.Clone(n.Held[drop:])
	if n.End == seq {
		n.EndHash, n.EndOK = hash, true
	}
	n.Cut = max(n.Cut, seq)
	if rewind {
		n.Cut = seq
	}
	return nil
}

// agrees checks a settled position against the chain that is held.
func (n *Intake) agrees(seq uint64, hash event.Hash) error {
	if seq == n.End && n.EndOK && n.EndHash != hash {
		return fmt.Errorf("settled at %d under another chain: %w", seq, ErrDiverged)
	}
	for _, s := range n.Held {
		if s.First > seq {
			if s.First == seq+1 && s.Before != hash {
				return fmt.Errorf("settled at %d under another chain: %w", seq, ErrDiverged)
			}
			break
		}
		if s.Last == seq && s.After != hash || s.Last > seq {
			return fmt.Errorf("settled at %d, held batch %d to %d differs: %w", seq, s.First, s.Last, ErrDiverged)
		}
	}
	return nil
}

// Section returns the batches of the next section: stepped, not cut yet, without
// a gap, and at most limit of them. Empty means there is nothing to cut, or
// nothing that this relay may cut. What lies behind a gap waits until all before
// it is settled: a restored root would take the rest of the gap for lost.
func (n *Intake) Section(limit int) []Span {
	if !n.Claimed && !n.Closed {
		return nil
	}
	from := 0
	for from < len(n.Held) && n.Held[from].First <= n.Cut {
		from++
	}
	to := from
	for to < len(n.Held) && to-from < limit && n.Held[to].Last <= n.Stepped && n.continues(to) {
		to++
	}
	return n.Held[from:to:to]
}

// continues reports whether a held batch is the first, or follows the one
// before it without a gap.
func (n *Intake) continues(i int) bool { return i == 0 || n.Held[i].First == n.Held[i-1].Last+1 }

// Commit takes note that the spans of a section were cut, and returns its head.
func (n *Intake) Commit(u event.Unit, relay string, spans []Span) Head {
	first, last := spans[0], spans[len(spans)-1]
	n.Cut = last.Last
	return Head{Unit: u, Term: n.Term, Relay: relay, From: first.First, To: last.Last,
		Before: first.Before, After: last.After, Rest: n.Closed, Resumes: first.First == n.Held[0].First}
}

// Done reports whether nothing of the unit is left to hold or to settle here.
func (n *Intake) Done() bool { return !n.Live && len(n.Held) == 0 }

// Oldest is the WAL sequence of the oldest batch held, or 0 for none: the
// relay's log may be trimmed up to it.
func (n *Intake) Oldest() uint64 {
	if len(n.Held) == 0 {
		return 0
	}
	return n.Held[0].Pos
}
