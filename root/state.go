//go:build !zos

package root

import (
	"cmp"
	"slices"
	"strings"

	"pando/event"
	"pando/incident"
	"pando/internal/cow"
	"pando/internal/exact"
	"pando/root/consensus"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
)

// Bounds of the replicated state. What exceeds them is folded, refused or
// forgotten, and counted in [Counters].
const (
	// MaxOrigins bounds the agents that are known.
	MaxOrigins = 1 << 16
	// MaxWALs bounds the WAL ids that are remembered of one agent: so many
	// lost disks. A WAL id that is forgotten can settle nothing any more; one
	// that is settled goes first. Beyond MaxUnits in all, an agent's WAL id that is not in force is
	// forgotten as soon as it gets a new one.
	MaxWALs  = 64
	MaxUnits = 1 << 20
	// MaxSeries bounds the series that are totalled one by one.
	MaxSeries = 100_000
	// MaxPositions bounds the positions of one lane of an agent, so that the
	// answer to a claim stays far below a message's limit. Those that moved
	// longest ago go first.
	MaxPositions = 2048
	// maxPlaced bounds the positions of all agents together: eight files in
	// each lane of the most agents there can be.
	maxPlaced = 1 << 20
	// maxPlace bounds a position's source and file names, in bytes.
	maxPlace = 256
	// MaxExpect bounds what is known of one agent's expectations, in encoded
	// bytes, and maxExpectTotal that of all agents together.
	MaxExpect      = 256 << 10
	maxExpectTotal = 256 << 20
	// MaxNodes bounds the relays and roots that are known.
	MaxNodes = 4096
	// MaxChanges bounds the changes of incidents that can be read back.
	MaxChanges = 4096
	// maxCommits bounds the findings of which the commit is remembered.
	maxCommits = 16384
	// edgeLife is how long a call that is not seen again stays in the graph,
	// and expireEvery how often the graph is looked through, in nanoseconds.
	edgeLife    = int64(24 * 3600e9)
	expireEvery = int64(600e9)
)

// unit is the state of one unit. It is a value: a change makes a new one.
type unit struct {
	owner      custody.Owner
	events     uint64 // settled, heartbeats not included
	heartbeats uint64
	losses     uint64 // events of kind [event.Loss]
	forfeited  uint64 // sequence numbers that were passed over: nobody holds their events
	lost       []loss // by reason
	estate     estate // of a closed unit
	folded     uint64 // events whose series went to __other__ at the relay
	unsummed   uint64 // events whose value adds nothing to sum
	sum        exact.Sum
	heard      uint64 // last sequence of the sections that could not be applied
	at         int64  // root time of the last change
}

// origin is the state of one agent. It is a value.
type origin struct {
	custody.Origin
	relay     string                // that claimed it last
	at        int64                 // root time of the last claim
	wals      []event.WALID         // in the order of their first claim; the newest MaxWALs
	forgotten uint64                // WAL ids beyond those
	positions [event.Lanes][]placed // sorted by source and file
	expect    []byte                // encoded anomaly.Expectations, or nil

	replacements []int64 // root times at which the WAL id in force was replaced; the newest cloneReplacements
	cloned       int64   // root time of the last one that says that the agent has a double, or 0
}

// placed is a position and when it was last moved, in root time.
type placed struct {
	event.Position
	at int64
}

func (p *placed) compare(q *placed) int {
	return cmp.Or(strings.Compare(p.Source, q.Source), strings.Compare(p.File, q.File))
}

// total is what one series adds up to. It is a value.
type total struct {
	count, backlog uint64
	sum            exact.Sum
	severity       event.Severity
	first, last    stream.Pane
}

// member is a relay or root that has registered.
type member struct {
	name, role, region, addr string
	at                       int64 // root time of the registration
}

// commit is where a finding was committed first.
type commit struct {
	index uint64
	at    int64
}

// Counters are what was folded, refused or forgotten, for the operator.
type Counters struct {
	Sections     [custody.RefuseForgotten + 1]uint64 `json:"sections"` // by verdict
	Claims       uint64                              `json:"claims"`
	Refused      uint64                              `json:"claims_refused"`
	Malformed    uint64                              `json:"malformed"`
	FoldedSeries uint64                              `json:"folded_series"` // rows that went to __other__ for want of room
	Origins      uint64                              `json:"origins_refused"`
	WALs         uint64                              `json:"wals_forgotten"`
	Positions    uint64                              `json:"positions_dropped"`
	Expectations uint64                              `json:"expectations_refused"`
	Nodes        uint64                              `json:"nodes_refused"`
	Forfeited    uint64                              `json:"events_forfeited"` // settled once, unknown to a restored root, and held by nobody
	GivenUp      uint64                              `json:"events_given_up"`  // of WAL ids that were forgotten; at most so many are lost
}

// list is the counters in the order of the snapshot's format.
func (c *Counters) list() []*uint64 {
	out := []*uint64{&c.Claims, &c.Refused, &c.Malformed, &c.FoldedSeries, &c.Origins, &c.WALs, &c.Positions, &c.Expectations, &c.Nodes, &c.Forfeited, &c.GivenUp}
	for i := range c.Sections {
		out = append(out, &c.Sections[i])
	}
	return out
}

// header is the part of the state that is copied at a freeze.
type header struct {
	now     int64      // the latest root time that a command told
	index   uint64     // of the last command's entry
	count   uint64     // commands applied since the group began
	output  event.Hash // chains the results of all of them
	mark    mark
	expired int64  // when the graph was last looked through
	changed uint64 // changes of incidents ever
	settled uint64 // events ever, heartbeats included
	counts  Counters
	logic   uint64 // version in force; see logic
	// restores counts how often the state was put back to a snapshot.
	restores uint64
	book     []Server // the roots, by name; replaced, never changed
	// Both are only appended to and cut at the front, so a copy of the slice
	// header is a frozen copy.
	changes   []Change
	committed []anomaly.ID // keys of commits, oldest first
}

// state is the replicated state.
type state struct {
	header
	units    *cow.Map[event.Unit, *unit]
	origins  *cow.Map[string, *origin]
	series   *cow.Map[stream.Series, *total]
	nodes    *cow.Map[string, *member]
	commits  *cow.Map[anomaly.ID, commit]
	graph    *incident.Graph
	set      *incident.Set
	patterns patterns

	// Both follow from origins.
	expectTotal int64 // bytes of expectations
	placed      int   // positions
}

// view is the state as it was at a freeze. It never changes and is safe for
// concurrent use.
type view struct {
	header
	units    *cow.Frozen[event.Unit, *unit]
	origins  *cow.Frozen[string, *origin]
	series   *cow.Frozen[stream.Series, *total]
	nodes    *cow.Frozen[string, *member]
	commits  *cow.Frozen[anomaly.ID, commit]
	graph    *incident.GraphView
	edges    int // in graph
	set      *incident.View
	patterns frozenPatterns
}

func hashUnit(u event.Unit) uint64 {
	return cow.HashString(u.Origin) ^ uint64(u.WAL)*0x9e3779b97f4a7c15 ^ uint64(u.Lane)
}

func hashSeries(s stream.Series) uint64 {
	return cow.HashString(s.Entity)*31 + cow.HashString(s.Signal)
}

func hashID(id anomaly.ID) uint64 { return cow.HashString(string(id[:])) }

func compareID(a, b anomaly.ID) int { return slices.Compare(a[:], b[:]) }

// correlation is fixed: the options are part of the state machine's logic.
func correlation() incident.Options { return incident.DefaultOptions() }

func newState() (*state, error) {
	set, err := incident.NewSet(correlation())
	if err != nil {
		return nil, err
	}
	return &state{
		header:  header{logic: firstLogic},
		units:   cow.NewMap[event.Unit, *unit](hashUnit, event.Unit.Compare),
		origins: cow.NewMap[string, *origin](cow.HashString, strings.Compare),
		series:  cow.NewMap[stream.Series, *total](hashSeries, stream.Series.Compare),
		nodes:   cow.NewMap[string, *member](cow.HashString, strings.Compare),
		commits: cow.NewMap[anomaly.ID, commit](hashID, compareID),
		graph:   incident.NewGraph(),
		set:     set,
	}, nil
}

func (s *state) freeze() *view {
	return &view{header: s.header, units: s.units.Freeze(), origins: s.origins.Freeze(), series: s.series.Freeze(),
		nodes: s.nodes.Freeze(), commits: s.commits.Freeze(), graph: s.graph.Freeze(), edges: s.graph.Len(), set: s.set.Freeze(), patterns: s.patterns.freeze()}
}

// getUnit returns the unit to be changed and put back by setUnit.
func (s *state) getUnit(id event.Unit) (unit, bool) {
	u, ok := s.units.Get(id)
	if !ok {
		return unit{}, false
	}
	return *u, true
}

func (s *state) setUnit(id event.Unit, u unit) {
	u.at = s.now
	s.units.Set(id, &u)
}

// record takes changes of incidents into the log of changes.
func (s *state) record(at consensus.At, list []incident.Change) []Change {
	first := len(s.changes)
	for _, c := range list {
		s.changed++
		r := Change{Seq: s.changed, Index: at.Index, At: s.now, Kind: c.Kind.String(), ID: c.ID, Into: c.Into}
		if i := c.Incident; i != nil {
			r.Status, r.First, r.Severity = i.Status.String(), i.First, i.Severity
			r.Findings, r.Summary = len(i.Findings), i.Onset().Summary
		}
		s.changes = append(s.changes, r)
	}
	made := s.changes[first:]
	if extra := len(s.changes) - MaxChanges; extra > 0 {
		s.changes = s.changes[extra:]
	}
	return made
}

// Change is one step in the life of an incident.
type Change struct {
	Seq      uint64         `json:"seq"`   // counts changes from 1
	Index    uint64         `json:"index"` // of the Raft entry that made it
	At       int64          `json:"at"`    // root time, nanoseconds
	Kind     string         `json:"kind"`  // opened, updated, merged, split, resolved, reopened, withdrawn
	ID       string         `json:"id"`
	Into     string         `json:"into,omitempty"` // the other incident of a merge or split
	Status   string         `json:"status,omitempty"`
	First    string         `json:"first,omitempty"` // the component at which it began
	Severity event.Severity `json:"severity,omitempty"`
	Findings int            `json:"findings,omitempty"`
	Summary  string         `json:"summary,omitempty"` // of the onset
}
