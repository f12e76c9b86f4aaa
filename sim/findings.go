package sim

import (
	"fmt"

	"pando/relay"
	"pando/tree/journal"
)

// finding is what a relay found, by what it is about. Its time and its id
// depend on clocks, and are not compared.
type finding struct{ detector, rule, entity, signal string }

func (f finding) String() string {
	return fmt.Sprintf("%s %s of %s %s", f.detector, f.rule, f.entity, f.signal)
}

// heardFinding takes note of a finding that a relay says.
func (w *world) heardFinding(r *relayNode, o journal.Output) {
	f, ok := relay.Finding(o)
	if !ok || f.Ended {
		return
	}
	x := finding{detector: f.Detector, rule: f.Rule, entity: f.Series.Entity, signal: f.Series.Signal}
	if _, known := w.found[x]; !known {
		w.say(r.name, "finds %s: %s", x, f.Summary)
		w.findings = append(w.findings, x)
	}
	w.found[x]++
}

// detectors is the relays' configuration: the product's detectors with spans
// that fit a run of seconds. Rates are tested for falls, which is what unobserved
// time would look like. A rise is none of the comparison's: the lines come in
// bursts, and which of them a test knows to be usual depends on how long it was
// let learn, here for seconds.
func detectors(large bool) []byte {
	if large {
		return []byte("rules: []\nfirst_seen: {enabled: false}\nsilence: {enabled: false}\n")
	}
	return []byte(`rules:
  - {name: errors, signal: "http.5??", count: 8, within: 2s, class: error, severity: error}
  - {name: busy, signal: note, count: 8, within: 1s, class: load, severity: warn}
rates:
  - {name: pace, signal: "*", direction: falls, arl: 24h, learn: 5s, memory: 1m, hold: 1s, rearm: 2s, adopt: 10s, class: load, severity: warn}
ratios:
  - {name: failures, of: "*", failed: "http.5??", arl: 100000, learn: 100, memory: 1000, min_volume: 10, hold: 20, rearm: 20, adopt: 100, class: error, severity: error}
first_seen: {enabled: true, learn_for: 4s, min_severity: warn, signals: "*"}
silence: {enabled: true, learn_for: 3s, min_events: 6, grain: 50ms, factor: 3, floor: 2s, ceiling: 1m, max_beat: 2s, severity: error}
hold: 2s
rearm: 5s
`)
}
