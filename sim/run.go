package sim

import "io"

// Result is what came of one run.
type Result struct {
	Seed   uint64   `json:"seed"`
	Hash   string   `json:"hash"`  // of the trace
	Steps  uint64   `json:"steps"` // of the trace
	Broken []string `json:"broken,omitempty"`
}

// Run runs one seed.
func Run(seed uint64, large bool, words io.Writer) Result {
	p := newPlan(seed, large)
	w := newWorld(p, newTrace(words))
	w.grow()
	w.runUntil(epoch+p.stop, nil)
	w.inputOver = true
	w.runUntil(epoch+p.limit, w.allSettled)
	return Result{Seed: seed, Hash: w.trace.value(), Steps: w.trace.steps, Broken: w.broken}
}
