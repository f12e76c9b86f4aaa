package incident

import (
	"pando/stream/anomaly"
)

// What follows is incidents as operators get them, in JSON. Times are root
// time in nanoseconds since the Unix epoch.

// Summary is an incident in a list.
type Summary struct {
	ID       string   `json:"id"`
	Status   string   `json:"status"` // open, resolved, settled
	Opened   int64    `json:"opened"`
	Changed  int64    `json:"changed"`
	Resolved int64    `json:"resolved,omitempty"`
	First    string   `json:"first"` // the component at which it began
	Severity int      `json:"severity"`
	Entities []string `json:"entities"` // in causal order
	Findings int      `json:"findings"`
	Summary  string   `json:"summary"` // of the onset
	// Provisional: a relay that is cut off from the roots says so; the roots
	// may see more, and have the last word.
	Provisional bool `json:"provisional,omitempty"`
}

// Detail is one incident with its timeline and evidence.
type Detail struct {
	ID          string   `json:"id"`
	Status      string   `json:"status"`
	Revision    uint64   `json:"revision"`
	Opened      int64    `json:"opened"`
	Changed     int64    `json:"changed"`
	Resolved    int64    `json:"resolved,omitempty"`
	First       string   `json:"first"`
	Severity    int      `json:"severity"`
	Entities    []string `json:"entities"`
	Aliases     []string `json:"aliases,omitempty"` // ids of incidents that were merged into it
	Index       uint64   `json:"index"`             // of the newest Raft entry that the answer rests on
	Findings    []Line   `json:"findings"`          // in causal order
	Provisional bool     `json:"provisional,omitempty"`
}

// Line is a finding in an incident's timeline.
type Line struct {
	ID        string     `json:"id"`
	Revision  uint32     `json:"revision"`
	Entity    string     `json:"entity"`
	Signal    string     `json:"signal"`
	Class     string     `json:"class"`
	Detector  string     `json:"detector"`
	Rule      string     `json:"rule,omitempty"`
	Relation  string     `json:"relation"` // to the onset: before, after, concurrent
	Direct    bool       `json:"direct"`   // the relation needs no third finding in between
	Onset     Interval   `json:"onset"`
	Point     int64      `json:"point"`
	Decided   int64      `json:"decided"`
	Committed int64      `json:"committed,omitempty"`
	Index     uint64     `json:"index,omitempty"` // of the entry that committed it first
	Severity  int        `json:"severity"`
	Score     int64      `json:"score"`
	Summary   string     `json:"summary"`
	Baseline  string     `json:"baseline,omitempty"`
	Peer      string     `json:"peer,omitempty"`
	Ended     bool       `json:"ended"`
	Evidence  []Evidence `json:"evidence"`
}

// Interval is a time with its error.
type Interval struct {
	Lo int64 `json:"lo"`
	Hi int64 `json:"hi"`
}

// Evidence is a range of events of one unit, both ends included.
type Evidence struct {
	Unit string `json:"unit"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Summaries lists the incidents that are kept: the settled ones first, then
// the others in the order of their opening.
func (s *state) Summaries() []Summary {
	out := []Summary{}
	for _, i := range s.Incidents() {
		out = append(out, Summary{ID: i.ID, Status: i.Status.String(), Opened: i.Opened, Changed: i.Changed, Resolved: i.Resolved,
			First: i.First, Severity: int(i.Severity), Entities: i.Entities(), Findings: len(i.Findings), Summary: i.Onset().Summary})
	}
	return out
}

// Detail returns an incident by its id or an alias of it, and whether there is
// one. When its findings were committed is not known here.
func (s *state) Detail(id string) (Detail, bool) {
	i := s.Get(id)
	if i == nil {
		return Detail{}, false
	}
	d := Detail{ID: i.ID, Status: i.Status.String(), Revision: i.Revision, Opened: i.Opened, Changed: i.Changed, Resolved: i.Resolved,
		First: i.First, Severity: int(i.Severity), Entities: i.Entities(), Aliases: s.Aliases(i.ID)}
	for _, e := range i.Timeline() {
		d.Findings = append(d.Findings, line(e))
	}
	return d, true
}

func line(e Entry) Line {
	f := e.Finding
	return Line{ID: f.ID.String(), Revision: f.Revision, Entity: f.Series.Entity, Signal: f.Series.Signal, Class: f.Class.String(),
		Detector: f.Detector, Rule: f.Rule, Relation: e.Relation.String(), Direct: e.Direct, Onset: Interval{f.Onset.Lo, f.Onset.Hi},
		Point: f.Point, Decided: f.Decided, Severity: int(f.Severity), Score: f.Score, Summary: f.Summary, Baseline: f.Baseline,
		Peer: f.Peer, Ended: f.Ended, Evidence: refs(f)}
}

func refs(f *anomaly.Finding) []Evidence {
	out := []Evidence{}
	for _, ref := range f.Evidence {
		out = append(out, Evidence{ref.Unit.String(), ref.From, ref.To})
	}
	return out
}
