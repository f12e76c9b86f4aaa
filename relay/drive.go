package relay

import (
	"strconv"
	"strings"

	"pando/event"
	"pando/incident"
	"pando/internal/pack"
	"pando/stream/anomaly"
	"pando/tree/journal"
	"pando/tree/wire"
)

// Core is a relay's deterministic part for a program that drives it by records
// of its own, as the simulation does.
type Core struct{ *core }

// NewCore returns the core of an empty log. Fetch reads the log again.
func NewCore(name string, fetch journal.Fetch) (Core, error) {
	c, err := newCore(name, fetch)
	return Core{c}, err
}

// Held is how many batches of a session's lane wait for settlement.
func (c Core) Held(session uint64, lane event.Lane) int { return c.held(session, lane) }

// Extent is how much the core holds.
type Extent struct{ Units, Sessions, Batches, Findings int }

// Extent counts what the core holds.
func (c Core) Extent() Extent {
	x := Extent{Units: len(c.units), Sessions: len(c.sessions), Findings: len(c.pending)}
	for _, u := range c.units {
		x.Batches += len(u.intake.Held)
	}
	return x
}

// Provisional lists the incidents that operators of this relay are shown.
func (c Core) Provisional() []incident.Summary { return c.local.set.Freeze().Summaries() }

// Config is the configuration of detectors and windows as the log keeps it, or
// nil.
func (c Core) Config() []byte { return c.config }

// Record is one record for a relay's log.
type Record struct {
	Kind   uint8
	Body   []byte
	Urgent bool // must not wait behind bulk
}

// StartRecord says that the process started.
func StartRecord(name string) Record { return Record{Kind: recStart, Body: []byte(name)} }

// ConfigRecord holds the content of an [Analysis] in YAML. It is an
// error if the core could not use it.
func ConfigRecord(yaml []byte) (Record, error) {
	return Record{Kind: recConfig, Body: yaml}, checkAnalysis(yaml)
}

// OpenRecord says that an agent opens its units; open is its [wire.Open].
func OpenRecord(session uint64, origin string, hlc uint64, open []byte) (Record, error) {
	o := opening{Session: session, Origin: origin, HLC: hlc}
	if err := wire.Decode(open, &o.Open); err != nil {
		return Record{}, err
	}
	return Record{recOpen, o.encode(), true}, nil
}

// CloseRecord says that a session ended.
func CloseRecord(session uint64) Record { return Record{recClose, encodeNumbers(session), true} }

// BatchRecord holds a batch message with its arrival in root time.
func BatchRecord(session uint64, lane event.Lane, at int64, batch []byte) (Record, error) {
	var b wire.Batch
	err := wire.Decode(batch, &b)
	return Record{recBatch, encodeArrival(session, uint8(lane), at, batch), lane == event.Critical}, err
}

// VouchRecord is a durable-to without a batch.
func VouchRecord(session uint64, lane event.Lane, seq uint64) Record {
	return Record{recVouch, encodeNumbers(session, uint64(lane), seq), lane == event.Critical}
}

// TickRecord says that root time came to now.
func TickRecord(now int64) Record { return Record{Kind: recTick, Body: encodeTick(now)} }

// UplinkRecord says that the connection to the root came or went.
func UplinkRecord(up bool) Record {
	n := uint64(0)
	if up {
		n = 1
	}
	return Record{recUplink, encodeNumbers(n), true}
}

// Frees reports whether a tick would move something by which the log can be
// trimmed, and whether it would ask the root after what another relay has.
func (c Core) Frees(now int64) (moves, asks bool) { return c.frees(now) }

// Rank is what a record is worth when the log is short of room. A close is
// among what lets it be trimmed: batches that no disk vouched for go with the
// session, and there is at most one for each session that was let in.
func Rank(kind uint8) journal.Rank {
	switch kind {
	case recOpen, recBatch:
		return journal.Data
	case recVouch, recTick, recClock, recGrant, recPatterns:
		return journal.Upkeep
	case recStart, recConfig:
		return journal.Last
	}
	return journal.Vital
}

// Addressee is whom an output is for.
type Addressee uint8

const (
	ToOperators  Addressee = iota // people who look at this relay
	ToRoot                        // what [Outgoing] takes
	ToSession                     // a message for a child, as it stands
	ToSessionEnd                  // the child's session is to end; the body is the reason
)

// Address returns whom an output is for, and the session's number.
func Address(o journal.Output) (to Addressee, session uint64) {
	if o.To == toRoot {
		return ToRoot, 0
	}
	number, ok := strings.CutPrefix(o.To, sessionPrefix)
	session, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return ToOperators, 0
	}
	if o.Kind == outHangUp {
		return ToSessionEnd, session
	}
	return ToSession, session
}

// Finding returns the finding that an output says, if it says one.
func Finding(o journal.Output) (f anomaly.Finding, ok bool) {
	if o.To != toRoot || o.Kind != outFinding {
		return f, false
	}
	return anomaly.ReadFinding(pack.NewReader(o.Body)), true
}

var _ journal.Core = Core{}
