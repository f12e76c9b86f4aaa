package sim

import (
	"io"
	"slices"
	"strings"

	"pando/stream/anomaly"
)

// Result is what came of one seed.
type Result struct {
	Seed   uint64   `json:"seed"`
	Large  bool     `json:"large,omitempty"`
	Hash   string   `json:"hash"`  // of the trace: equal runs have equal hashes
	Steps  uint64   `json:"steps"` // of the trace
	Lines  int      `json:"lines"` // that the sources said
	Faults []string `json:"faults,omitempty"`
	Broken []string `json:"broken,omitempty"` // invariants
}

// Failed reports whether an invariant was broken.
func (r *Result) Failed() bool { return len(r.Broken) > 0 }

// Run runs one seed, and once more without its faults, to compare what is
// found. Words is told each step; nil for none.
func Run(seed uint64, large bool, words io.Writer) Result {
	p := newPlan(seed, large)
	w := live(p, words)
	r := Result{Seed: seed, Large: large, Steps: w.trace.steps, Lines: len(p.lines)}
	for _, f := range p.faults {
		r.Faults = append(r.Faults, f.String())
	}
	if len(w.broken) == 0 && !large {
		calm := live(p.calm(), nil)
		for _, b := range calm.broken {
			w.fault("without faults: %s", b)
		}
		w.compareFindings(calm)
	}
	r.Hash, r.Broken = w.trace.value(), w.broken
	return r
}

// settleCheck is how often a run looks whether everything is settled.
const settleCheck = 100 * millisecond

// live lets a plan happen, and checks it.
func live(p *plan, words io.Writer) *world {
	w := newWorld(p, newTrace(words))
	w.grow()
	w.inject()
	w.runUntil(epoch + p.stop)
	w.inputOver = true
	for end := p.stop; end < p.limit && len(w.broken) == 0; end += settleCheck {
		w.runUntil(epoch + end)
		if w.unsettled() == "" {
			break
		}
	}
	w.check()
	return w
}

// compareFindings looks whether the faults made the relays find what is not
// there: what the sources do not do, and a run without faults does not find.
func (w *world) compareFindings(calm *world) {
	for _, f := range w.findings {
		switch {
		case slices.Contains(calm.findings, f):
		case w.oracle.stepped: // events minutes apart have one time
		case f.detector == anomaly.DetectorSilence && w.plan.stops[f.entity]:
		case f.detector == anomaly.DetectorFirstSeen && w.missed(f):
		case f.detector != anomaly.DetectorSilence && w.timeless(f):
		case f.detector == anomaly.DetectorRule && f.signal == burstCode: // it is there, and a move may hide it without faults (seed 20280)
		default:
			w.fault("found only with faults: %s", f)
		}
	}
}

// missed reports whether a line of a code was dropped for want of room: its
// next one is then the first that anybody sees.
func (w *world) missed(f finding) bool {
	for i := range w.plan.lines {
		l := &w.plan.lines[i]
		if l.entity == f.entity && l.signal == f.signal && w.ledger.dropped[i] > 0 {
			return true
		}
	}
	return false
}

// timeless reports whether events of an agent came to a relay that was guessing
// the time: without the agent's word they have that of a clock that may be
// minutes wrong, with it they may lie ahead of the relay's own time; and what
// comes later, placed by root time, may fall among them (seeds 10426 and 20516).
func (w *world) timeless(f finding) bool {
	for origin := range w.oracle.timeless {
		if strings.HasPrefix(f.entity, origin+"/") {
			return true
		}
	}
	return false
}
