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
	Apply           Verdict = iota // counted; settled moves to the section's end
	SkipTerm                       // not the term in force, or not the claim's relay
	SkipPosition                   // does not start behind the settled position
	SkipClosed                     // the unit is closed, and the section is not marked as its rest
	RefuseDiverge                  // its chain does not continue what is settled
	RefuseForgotten                // of a WAL id that the root forgot: it can settle nothing any more
)

func (v Verdict) String() string {
	return [...]string{"applied", "old term", "not at the settled position", "closed", "diverged", "forgotten"}[min(v, 5)]
}

// Judge decides on a section and, when it applies, moves the settled
// position. The caller applies the section's content in the same Raft entry.
//
// Lost is what the caller enters as lost: it was settled once, the root was
// restored from an older state and does not know it any more, and whoever may
// settle the unit holds none of it. Such a section is taken at its word, for
// nobody is left who could say otherwise.
//
// A section that is marked as the rest of a unit which is open here closes it.
// A relay marks what the root told it to be closed, so a root that has it open
// was restored.
func (o *Owner) Judge(h Head) (v Verdict, lost Range) {
	o.Closed = o.Closed || h.Rest
	switch {
	case o.Closed && !h.Rest:
		return SkipClosed, Range{}
	case !o.Closed && (h.Term != o.Term || h.Relay != o.Relay):
		return SkipTerm, Range{}
	case h.From <= o.Settled || h.To < h.From || h.From > o.Settled+1 && !h.Resumes:
		return SkipPosition, Range{}
	case h.From == o.Settled+1 && h.Before != o.Chain:
		return RefuseDiverge, Range{}
	}
	if h.From > o.Settled+1 {
		lost = Range{From: o.Settled + 1, To: h.From - 1}
	}
	o.Settled, o.Chain = h.To, h.After
	return Apply, lost
}

// Claim is what the root weighs when a relay claims the units of a WAL id.
type Claim struct {
	WAL     event.WALID
	Opened  uint64 // HLC of the session's opening
	Started uint64 // HLC of the session whose claim told the agent where to read its sources; 0: none did
	Closed  bool   // the units of WAL were closed before, and then they stay so
}

// Origin is the root's record of which WAL id of an agent is in force.
type Origin struct {
	Current event.WALID
	Opened  uint64 // HLC of the newest session that claimed Current
	Started uint64 // of the newest that claimed it for an agent that was not started
}

// Claim takes a claim. It returns the WAL id that this closes, or zero. The
// error wraps [ErrClosed] if the claim's own WAL id is the one to close:
//
//   - It was closed before, however new the session: the disk of an earlier
//     time came back.
//   - A newer session brought another, and this claim comes late.
//   - Its agent was started by a claim that the root does not know: it was
//     restored from a state before that. What the WAL id replaced may have been
//     settled further here, and the agent has read it again. So it starts once
//     more, under another WAL id, from the positions that are settled here.
func (o *Origin) Claim(c Claim) (closes event.WALID, err error) {
	switch {
	case c.Closed:
		return 0, fmt.Errorf("WAL %s was replaced, %s is in force: %w", c.WAL, o.Current, ErrClosed)
	case c.Started != 0 && (c.WAL != o.Current || c.Started > o.Started):
		return 0, fmt.Errorf("WAL %s was started by a claim that is not known, %s is in force: %w", c.WAL, o.Current, ErrClosed)
	case c.WAL != o.Current && o.Current != 0 && c.Opened <= o.Opened:
		return 0, fmt.Errorf("WAL %s, %s is newer: %w", c.WAL, o.Current, ErrClosed)
	}
	if c.WAL != o.Current {
		closes, o.Current, o.Opened, o.Started = o.Current, c.WAL, c.Opened, c.Opened
		return closes, nil
	}
	o.Opened = max(o.Opened, c.Opened)
	if c.Started == 0 {
		o.Started = max(o.Started, c.Opened)
	}
	return 0, nil
}
