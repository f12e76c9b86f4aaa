package event

import "fmt"

// Reason says why events that were once accepted are not settled, and never
// will be. It is the key of the loss ledger.
type Reason uint8

const (
	// Overflow: the agent's disk was full, and the lane's policy was to drop
	// what is new. An event of kind [Loss] says so.
	Overflow Reason = iota + 1
	// Replaced: the agent's log was replaced by one with a new WAL id, and
	// what it had not handed over cannot be read again.
	Replaced
	// Restored: the root was restored from an older snapshot, and what it had
	// settled since is nobody's any more.
	Restored
	// Forgotten: the unit's WAL id was replaced so often that the root does
	// not know it any more.
	Forgotten
)

// Reasons is the number of reasons, for arrays that a reason indexes; index 0
// is for a reason of a newer version.
const Reasons = int(Forgotten) + 1

var reasonNames = [Reasons]string{"other", "overflow", "replaced", "restored", "forgotten"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// ParseReason is the inverse of [Reason.String]; what it does not know is
// reason 0.
func ParseReason(name string) Reason {
	for r, n := range reasonNames {
		if n == name {
			return Reason(r)
		}
	}
	return 0
}

// maxLost bounds what one event of kind [Loss] counts: whole floats end there.
const maxLost = 1 << 53

// NewLoss returns an event that says that n events of a source, appended from
// stamp lo to hi, were dropped.
func NewLoss(source, entity string, reason Reason, n uint64, lo, hi int64) Event {
	return Event{Kind: Loss, Source: source, Entity: entity, Signal: reason.String(), Value: float64(min(n, maxLost)),
		Severity: SeverityWarn, Stamp: Stamp{Lo: lo, Hi: hi, Point: hi}}
}

// Lost is how many events an event of kind [Loss] stands for, at least 1, and
// why they are missing.
func (e *Event) Lost() (n uint64, reason Reason) {
	n = 1
	if e.Value > 1 && e.Value <= maxLost {
		n = uint64(e.Value)
	}
	return n, ParseReason(e.Signal)
}
