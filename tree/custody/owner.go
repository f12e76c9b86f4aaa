package custody

import (
	"fmt"

	"pando/event"
)

// Owner is the root's side of one unit: a value in the Raft state machine.
type Owner struct {
	Term    Term
	Relay   string // node that holds the claim; empty before the first
	Settled uint64
	Chain   event.Hash // at Settled
	Closed  bool       // a newer WAL id of the origin took over
}

// Claim grants the unit to relay for term, or refuses. A retry of the claim
// that stands is granted again.
func (o *Owner) Claim(t Term, relay string) error {
	if o.Closed {
		return fmt.Errorf("claim by %s: %w", relay, ErrClosed)
	}
	if c := t.Compare(o.Term); c < 0 || c == 0 && o.Relay != relay && o.Relay != "" {
		return fmt.Errorf("claim %s by %s, %s holds %s: %w", t, relay, o.Relay, o.Term, ErrOldTerm)
	}
	o.Term, o.Relay = t, relay
	return nil
}

// Close ends the unit; its rest is judged by contiguity alone.
func (o *Owner) Close() { o.Closed = true }

// Verdict is the root's judgement of one section.
type Verdict uint8

const (
	Apply         Verdict = iota // counted; settled moves to the section's end
	SkipTerm                     // an old term, or not the claim's relay
	SkipPosition                 // does not start behind the settled position
	SkipClosed                   // the unit is closed, and the section is not marked as its rest
	RefuseDiverge                // its chain does not continue what is settled
)

func (v Verdict) String() string {
	return [...]string{"applied", "old term", "not at the settled position", "closed", "diverged"}[min(v, 4)]
}

// Judge decides on a section and, when it applies, moves the settled
// position. The caller applies the section's content in the same Raft entry.
func (o *Owner) Judge(h Head) Verdict {
	switch {
	case o.Closed && !h.Rest:
		return SkipClosed
	case !o.Closed && (h.Rest || h.Term != o.Term || h.Relay != o.Relay):
		return SkipTerm
	case h.From != o.Settled+1 || h.To < h.From:
		return SkipPosition
	case h.Before != o.Chain:
		return RefuseDiverge
	}
	o.Settled, o.Chain = h.To, h.After
	return Apply
}

// Origin is the root's record of which WAL id of an agent is in force.
type Origin struct {
	Current event.WALID
	Opened  uint64 // HLC of the newest session that claimed Current
}

// Claim takes a claim for a unit of wal whose session was opened at the HLC
// opened; closed tells that its units were closed before, and then it stays so,
// however new the session: the disk of an earlier time came back. It returns
// the WAL id that this closes, or zero. The error wraps [ErrClosed] if wal
// itself is the one to close: a newer session brought another, and this claim
// comes late.
func (o *Origin) Claim(wal event.WALID, opened uint64, closed bool) (closes event.WALID, err error) {
	switch {
	case closed:
		return 0, fmt.Errorf("WAL %s was replaced, %s is in force: %w", wal, o.Current, ErrClosed)
	case wal == o.Current:
		o.Opened = max(o.Opened, opened)
		return 0, nil
	case o.Current == 0 || opened > o.Opened:
		closes, o.Current, o.Opened = o.Current, wal, opened
		return closes, nil
	}
	return 0, fmt.Errorf("WAL %s, %s is newer: %w", wal, o.Current, ErrClosed)
}
