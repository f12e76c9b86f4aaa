package event

import (
	"strings"

	"pando/event/clock"
)

// Position is how far a source was read: every line of it before Offset that
// belongs to the batch's lane is in this batch or an earlier one.
type Position struct {
	Source     string // the agent's name for the source
	File       string // identity of what was read (device, inode, fingerprint), or empty
	Offset     int64  // bytes, in that file; not negative
	Replayable bool   // the source can be read again from here after the agent's disk is lost
}

// SourceName is the Source of the events that the position belongs to. A
// source of several files has a position for each, named "source#file".
func (p Position) SourceName() string {
	name, _, _ := strings.Cut(p.Source, "#")
	return name
}

// Batch is a run of consecutive events of one unit. Once appended to the
// agent's WAL its encoded bytes never change, so the chain over a unit's
// batches proves them.
//
// An event of kind [Heartbeat] has the source's name as its Source, the
// signal "readable", "unreadable" or "behind", and its Stamp.Hi says as of
// when: every event of this lane and source that was appended up to then
// precedes it in the unit.
type Batch struct {
	Unit      Unit
	First     uint64     // sequence of Events[0]
	Boot      clock.Boot // whose monotonic clock the stamps are of
	Positions []Position // as of the last event; sorted by source
	Events    []Event    // at least one; sequences rise by one from First
}

// Last is the sequence of the batch's last event.
func (b *Batch) Last() uint64 { return b.First + uint64(len(b.Events)) - 1 }

// Hash is a SHA-256 sum.
type Hash [32]byte
