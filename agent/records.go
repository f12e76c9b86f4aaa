package agent

import (
	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/tree/journal"
	"pando/tree/wire"
)

// Record is one record for an agent's log.
type Record struct {
	Kind   uint8
	Body   []byte
	Urgent bool // must not wait behind bulk
}

// StartRecord says that the process started.
func StartRecord() Record { return Record{Kind: recStart} }

// BatchRecord holds an encoded batch.
func BatchRecord(l event.Lane, batch []byte) Record {
	return Record{recBatch, batch, l == event.Critical}
}

// Batch is the batch that a record holds, or nil.
func (r Record) Batch() []byte {
	if r.Kind != recBatch {
		return nil
	}
	return r.Body
}

// Rank is what a record is worth when the log is short of room.
func Rank(kind uint8) journal.Rank {
	if kind == recBatch {
		return journal.Data
	}
	return journal.Last
}

// SettledRecord lets the log be trimmed.
func SettledRecord(l event.Lane, seq uint64) Record {
	w := pack.NewWriter()
	w.Uint(uint64(l))
	w.Uint(seq)
	return Record{Kind: recSettled, Body: w.Bytes()}
}

// ResumeRecord holds a [wire.Claimed] as it came.
func ResumeRecord(claimed []byte) Record { return Record{recResume, claimed, true} }

// ClockRecord keeps an estimate of root time.
func ClockRecord(m clock.Mapping) Record {
	w := pack.NewWriter()
	wire.AppendMapping(w, m)
	return Record{Kind: recClock, Body: w.Bytes()}
}

// RetireRecord drops positions.
func RetireRecord(l event.Lane, names []string) Record {
	w := pack.NewWriter()
	w.Uint(uint64(l))
	w.Array(len(names))
	for _, n := range names {
		w.String(n)
	}
	return Record{Kind: recRetire, Body: w.Bytes()}
}

// EstateRecord says in a new log what the one before it left behind.
func EstateRecord(e wire.Estate) Record {
	w := pack.NewWriter()
	wire.AppendEstate(w, e)
	return Record{Kind: recEstate, Body: w.Bytes()}
}

// Epoch is how often the log was started.
func (c *Core) Epoch() uint64 { return c.epoch }

// Resumed reports whether the sources' positions are known, which they are not
// in a new log before the root has told them.
func (c *Core) Resumed() bool { return c.resumed }

// Last is the last sequence number of a lane.
func (c *Core) Last(l event.Lane) uint64 { return c.lanes[l].last }

// Positions are where the sources stand, by lane.
func (c *Core) Positions() (list [event.Lanes][]event.Position) {
	for l := range list {
		list[l] = c.lanes[l].sorted()
	}
	return list
}
