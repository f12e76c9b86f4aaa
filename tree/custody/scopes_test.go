package custody

import (
	"flag"
	"testing"
)

var (
	scope = flag.String("scope", "ci", "size of the explored model: ci or large")
	seed  = flag.Uint64("seed", 1, "of the random walks")
)

// Each scope stresses one part of the protocol; the CI sizes take seconds.
var scopes = map[string]limits{
	"moves and crashes":   {lines: 2, batch: 2, faults: 2, messages: 2, states: 50_000},
	"syslog":              {lines: 1, pushes: 1, batch: 1, faults: 3, messages: 2, states: 50_000},
	"lost disks":          {lines: 1, pushes: 1, batch: 1, faults: 2, messages: 2, disks: true, states: 50_000},
	"rolled-back disks":   {lines: 3, batch: 1, faults: 2, messages: 1, rollbacks: true, states: 50_000},
	"an old disk returns": {lines: 1, batch: 1, faults: 2, messages: 1, disks: true, rollbacks: true, states: 80_000},
	"two agents":          {agents: 2, lines: 2, batch: 1, faults: 1, messages: 2, coarse: true, states: 50_000},
	"two lanes":           {lanes: 2, lines: 2, pushes: 1, batch: 1, faults: 2, messages: 2, coarse: true, states: 50_000},
	"two lanes, lost disks": {lanes: 2, lines: 1, pushes: 1, batch: 1, faults: 2, messages: 1, coarse: true, disks: true,
		states: 50_000},
	"middle relay":          {lines: 3, batch: 1, faults: 2, messages: 3, coarse: true, middle: true, states: 50_000},
	"middle relay, 2 lanes": {lanes: 2, lines: 1, batch: 1, faults: 2, messages: 3, coarse: true, middle: true, states: 50_000},
	"restored root":         {lines: 2, pushes: 1, batch: 1, faults: 2, messages: 1, coarse: true, restores: true, states: 50_000},
	"restored root, lost disks": {lines: 1, pushes: 1, batch: 1, faults: 2, messages: 1, coarse: true, restores: true, disks: true,
		states: 60_000},
	"restored root, old disk": {lines: 1, pushes: 1, batch: 1, faults: 2, messages: 1, coarse: true, restores: true, rollbacks: true,
		states: 50_000},
}

func TestModel(t *testing.T) {
	for name, l := range scopes {
		t.Run(name, func(t *testing.T) {
			if *scope == "large" {
				l.states, l.faults, l.messages = 3_000_000, l.faults+1, l.messages+1
			}
			l.states /= slower
			m := newModel(l, "")
			n, wrong := m.explore()
			if wrong != "" {
				t.Errorf("after %d states: %s", n, wrong)
			}
			t.Logf("%d states", n)
		})
	}
}

// TestModelWanders looks for what only long histories show.
func TestModelWanders(t *testing.T) {
	for name, l := range scopes {
		t.Run(name, func(t *testing.T) {
			steps := 60_000
			l.faults, l.messages = l.faults+1, l.messages+2
			if *scope == "large" {
				steps, l.faults = 1_000_000, l.faults+1
			}
			n, wrong := newModel(l, "").wander(*seed, steps/slower)
			if wrong != "" {
				t.Errorf("after %d states: %s", n, wrong)
			}
			t.Logf("%d states", n)
		})
	}
}
