// Package custody holds the rules by which events are handed from an agent to
// a relay and settled at the root, so that nothing acknowledged is lost and
// nothing is counted twice. Three values hold one unit each, in three places:
//
//	Outbox  the agent: what its disk holds and what may be trimmed
//	Intake  the relay: what it holds, may step, may cut into sections
//	Owner   the root: who may settle the unit, and how far it is settled
//
// All of it is pure: no clock, no I/O, no goroutine. The product drives these
// values from write-ahead logs and from Raft; the model test in this package
// explores the same values exhaustively.
//
// Sequence numbers start at 1; 0 means "none yet". Every boundary that
// travels (resume points, sections, settled positions) is the boundary of a
// batch, and carries the chain value there (see [event.Chain]).
package custody

import (
	"errors"

	"pando/event"
	"pando/transport"
)

// MaxSeq is the highest sequence number: what travels and what is kept is read
// back with it as the limit.
const MaxSeq = 1<<63 - 1

// Sentinels for decisions. The text of the wrapping error names the numbers.
var (
	// ErrDiverged: the agent's content is not the content that was settled
	// or held under the same sequence numbers; its disk was rolled back or
	// cloned. The agent must open a new WAL id.
	ErrDiverged = errors.New("content diverged from what is held under the same WAL id")
	// ErrProtocol: the peer broke the protocol; its session ends.
	ErrProtocol = errors.New("protocol violation")
	// ErrOldTerm: a session with a higher term is known. The agent raises
	// its own and tries again.
	ErrOldTerm = errors.New("old term")
	// ErrClosed: the unit's WAL id was replaced by a newer one, or the root
	// does not remember how it came into force.
	ErrClosed = errors.New("WAL id is closed")
	// ErrForgotten: the root keeps no record of the WAL id any more. What is
	// held of it can never settle.
	ErrForgotten = errors.New("WAL id is forgotten")
)

// Term fences the sessions of one WAL id: Epoch is the agent's start counter,
// which it persists, Session a number that it raises at each HELLO.
type Term = transport.Term

// Span is one batch as custody sees it.
type Span struct {
	First, Last   uint64     // sequence numbers, First <= Last
	Before, After event.Hash // chain value before First and at Last
	Pos           uint64     // where the holder keeps the bytes: its WAL sequence
}

// Head is what the root judges of a section: a run of one unit's batches.
type Head struct {
	Unit          event.Unit
	Term          Term
	Relay         string // node that holds the claim
	From, To      uint64
	Before, After event.Hash
	Rest          bool // of a closed unit: counts only what its agent cannot read again
	Resumes       bool // everything before From was settled once, and the relay holds none of it
}

// Range is a run of sequence numbers; the zero value is none.
type Range struct{ From, To uint64 }

// Empty reports whether the range holds nothing.
func (r Range) Empty() bool { return r == Range{} }
