// Package incident says which findings belong together, where each incident
// began, and in what order it unfolded. It is a pure core: committed findings
// and ticks in, changes out; no clock, randomness, goroutine or map order.
//
// A finding can be the effect of another, its cause, when the effect may have
// travelled along the graph of calls: errors, latency, silence and novelty
// from callee to caller, load from caller to callee. One change of direction
// is allowed, at a component that has a finding of its own in between: a
// failing caller retries and loads its other callees; an overloaded callee
// fails its other callers. Nested entities are one component in this regard,
// and so are findings of one trace, and two that name the same peer. And the
// cause must not be known to be later than the effect, nor longer ago than
// the window.
//
// From this relation the open findings are divided into groups: an onset, for
// which no other open finding is a cause, and what it alone, directly, can be
// the cause of. Belonging is not passed on from effect to effect, or one bad
// minute would swallow a mesh.
//
// The division, and with it each incident's findings, onset and timeline, is
// a function of the set of findings and the graph: the order in which they
// were committed does not change it. What may depend on that order is only
// names and history: an incident's id is made of the finding at its onset
// when it was opened and never changes; if two incidents turn out to be one,
// the one opened first keeps its id and the other's becomes an alias.
//
// A group becomes an incident when one of its findings is at least of
// [Options.MinSeverity], or when two of its components have findings. A lone
// finding below that, such as a novel warning, stays unattached and is listed
// as such.
//
// Three bounds cut the independence of order off, and all are counted: when
// [Options.MaxOpen] findings are open, the oldest leave early; findings that
// arrive after their incident was settled find nobody to join; and edges
// beyond [MaxEdges] are not learnt.
package incident

import (
	"encoding/base32"
	"fmt"

	"pando/event"
	"pando/stream/anomaly"
)

// Status of an incident.
type Status uint8

const (
	StatusOpen     Status = iota // something in it is going on, or was until just now
	StatusResolved               // over; a new finding reopens it
	StatusSettled                // over for good: its findings take part in nothing any more
)

var statusNames = [...]string{"open", "resolved", "settled"}

func (s Status) String() string { return name(statusNames[:], int(s), "status") }

// MarshalText writes the status by name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Kind of a change.
type Kind uint8

const (
	Opened    Kind = iota
	Updated        // findings, onset or severity changed
	Merged         // it is part of Into now; its id goes on as an alias
	Split          // an alias became an incident of its own again, out of Into
	Resolved       // it is over
	Reopened       // it was resolved and goes on
	Withdrawn      // its findings belong elsewhere, and what is left is no incident
)

var kindNames = [...]string{"opened", "updated", "merged", "split", "resolved", "reopened", "withdrawn"}

func (k Kind) String() string { return name(kindNames[:], int(k), "kind") }

// MarshalText writes the kind by name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func name(names []string, i int, what string) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s(%d)", what, i)
}

// Change is what [Set.Add] or [Set.Tick] did to an incident. Changes are
// outputs of the state machine: every replica computes them again when it
// replays its log, so whoever announces them remembers up to which log index
// it has.
type Change struct {
	Kind     Kind
	ID       string
	Into     string    // the other incident of a merge or split
	Incident *Incident // as it is now; nil when merged or withdrawn
}

// Incident is a group of findings. It is a value: a change makes a new one.
type Incident struct {
	ID       string     // INC- and ten characters; never changes
	Number   uint64     // counts incidents in the order of their opening, from 1
	Anchor   anomaly.ID // the finding that the id was made of
	Status   Status
	Revision uint64         // rises with every change
	Opened   int64          // root time of the commit that opened it, as its findings and ticks tell it
	Changed  int64          // the same of the newest change of its findings
	Resolved int64          // the same of its resolution; 0 while open
	First    string         // the component at which it began: the onset's
	Severity event.Severity // the highest of its findings
	// Findings holds the onset first, then the others by point and id;
	// [Incident.Timeline] puts them in causal order.
	Findings []*anomaly.Finding
}

// Onset is the finding that the others go back to.
func (i *Incident) Onset() *anomaly.Finding { return i.Findings[0] }

// idChars is 50 bits: among a million incidents the odds of two equal ids are
// one in two thousand, and then the newer one's is made longer.
const idChars = 10

// makeID names an incident after a finding.
func makeID(f anomaly.ID, chars int) string {
	return "INC-" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(f[:])[:chars]
}
