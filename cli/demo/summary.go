//go:build !zos

package demo

import (
	"errors"
	"fmt"
)

// Summary is what a run came to. Its JSON is an interface.
type Summary struct {
	Seed      uint64     `json:"seed"`
	Tree      Tree       `json:"tree"`
	Events    Events     `json:"events"`
	Detection Detection  `json:"detection_ms"`
	Incidents []Incident `json:"incidents"`
	Clock     Clock      `json:"clock"`
	Replay    Replay     `json:"replay"`
	Sources   []Source   `json:"sources"`
	Noise     Noise      `json:"noise"`
	ElapsedMS int64      `json:"elapsed_ms"`
}

// Tree counts the nodes.
type Tree struct {
	Roots  int `json:"roots"`
	Relays int `json:"relays"`
	Agents int `json:"agents"`
}

// Events are counted at three places: lines where they were written, accepted
// in the agents' logs, settled in the root's state. Lost and doubled compare
// the first with the last, series by series.
type Events struct {
	Lines    uint64 `json:"lines"`
	Accepted uint64 `json:"accepted"`
	Settled  uint64 `json:"settled"`
	Lost     uint64 `json:"lost"`
	Doubled  uint64 `json:"doubled"`
	// Chains is how many units' chain values at the root are those of the
	// agents' logs, out of Units.
	Units  int `json:"units"`
	Chains int `json:"chains_equal"`
}

// Detection is how long findings took to their commit, in milliseconds.
type Detection struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Incident is one incident of the root.
type Incident struct {
	ID       string   `json:"id"`
	First    string   `json:"first"`
	Entities []string `json:"entities"` // in causal order
	Findings int      `json:"findings"`
}

// Clock is the worst of all nodes, in milliseconds.
type Clock struct {
	WorstSkew  float64 `json:"worst_skew_ms"`
	WorstBound float64 `json:"worst_bound_ms"`
}

// Replay is what stepping every tier's log again came to.
type Replay struct {
	Tiers     int      `json:"tiers"`
	Records   int64    `json:"records"`
	Hashes    int64    `json:"hashes"` // compared
	Identical bool     `json:"identical"`
	Faults    []string `json:"faults,omitempty"`
}

// Source is the account of one source.
type Source struct {
	Agent    string `json:"agent"`
	Source   string `json:"source"`
	Lines    uint64 `json:"lines"`
	Accepted uint64 `json:"accepted"`
	Settled  uint64 `json:"settled"`
	Lost     uint64 `json:"lost"`
	Doubled  uint64 `json:"doubled"`
}

// Noise is what the detectors said of components that have no part in the
// cascade, and that no incident took up.
type Noise struct {
	Findings int `json:"findings"`
}

// verdict joins everything that did not come out as it must.
func (s *Summary) verdict() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	e := &s.Events
	if e.Lost > 0 || e.Doubled > 0 {
		bad("of %d lines %d were lost and %d doubled on the way to the root", e.Lines, e.Lost, e.Doubled)
	}
	if e.Accepted != e.Lines || e.Settled != e.Lines {
		bad("%d lines were written, the agents accepted %d, the root settled %d", e.Lines, e.Accepted, e.Settled)
	}
	if e.Chains != e.Units {
		bad("the root's chain value differs from the agent's log for %d of %d units", e.Units-e.Chains, e.Units)
	}
	switch {
	case len(s.Incidents) != 1:
		bad("%d incidents were opened, one is right", len(s.Incidents))
	case s.Incidents[0].First != gateway:
		bad("the incident begins at %s, %s is right", s.Incidents[0].First, gateway)
	default:
		faults = append(faults, rightEntities(s.Incidents[0].Entities))
	}
	if !s.Replay.Identical {
		bad("replay differs: %v", s.Replay.Faults)
	}
	return errors.Join(faults...)
}

// cascade lists the components that the incident must name.
func cascade() []string {
	return []string{gateway, sysplex + "LPARA/PAYRUN1", sysplex + "LPARA/CICSPAY1", sysplex + "LPARB/SETTLE2",
		sysplex + "LPARB/CICSPAY2", ledger, checkout, fraud}
}

func rightEntities(got []string) error {
	want := map[string]bool{}
	for _, c := range cascade() {
		want[c] = true
	}
	var faults []error
	for _, e := range got {
		if !want[e] {
			faults = append(faults, fmt.Errorf("the incident holds %s, which has no part in it", e))
		}
		delete(want, e)
	}
	for _, c := range cascade() {
		if want[c] {
			faults = append(faults, fmt.Errorf("the incident lacks %s", c))
		}
	}
	return errors.Join(faults...)
}
