//go:build !zos

package demo

import (
	"strings"
	"testing"
	"time"

	"pando/internal/exact"
	"pando/root"
	"pando/stream"
)

// account is a series of lines numbered 1 to 10 and what the root holds of it.
func account(count uint64, sum int64) Events {
	series := stream.Series{Entity: gateway, Signal: "SWGW200"}
	var wrote tally
	for n := 1; n <= 10; n++ {
		wrote = wrote.plus(n)
	}
	var s Summary
	var held []root.Series
	if count > 0 {
		held = append(held, root.Series{Entity: series.Entity, Signal: series.Signal, Count: count, SumExact: exact.FromInt(sum).String()})
	}
	s.compare(map[stream.Series]*Source{series: {}}, map[stream.Series]tally{series: wrote}, held)
	return s.Events
}

func TestTheAccountFindsEveryDeviation(t *testing.T) {
	for _, c := range []struct {
		what          string
		count         uint64
		sum           int64
		lost, doubled uint64
	}{
		{"all there", 10, 55, 0, 0},
		{"line 7 lost", 9, 48, 1, 0},
		{"line 7 doubled", 11, 62, 0, 1},
		{"line 7 in place of line 3", 10, 59, 1, 1},
		{"nothing there", 0, 0, 10, 0},
	} {
		if e := account(c.count, c.sum); e.Lost != c.lost || e.Doubled != c.doubled {
			t.Errorf("%s: lost %d, doubled %d; want %d and %d", c.what, e.Lost, e.Doubled, c.lost, c.doubled)
		}
	}
	var s Summary
	s.compare(nil, nil, []root.Series{{Entity: "nobody", Signal: "wrote this", Count: 3}})
	if s.Events.Doubled != 3 {
		t.Errorf("three events that nobody wrote: doubled %d", s.Events.Doubled)
	}
}

func right() Summary {
	return Summary{
		Events:    Events{Lines: 10, Accepted: 10, Settled: 10, Units: 2, Chains: 2},
		Incidents: []Incident{{ID: "INC-A", First: gateway, Entities: cascade()}},
		Replay:    Replay{Tiers: 11, Identical: true},
	}
}

func TestTheVerdictNamesWhatIsWrong(t *testing.T) {
	s := right()
	if err := s.verdict(); err != nil {
		t.Fatalf("a right run: %v", err)
	}
	for want, spoil := range map[string]func(*Summary){
		"1 were lost":                 func(s *Summary) { s.Events.Lost = 1 },
		"the root settled 9":          func(s *Summary) { s.Events.Settled = 9 },
		"1 of 2 units":                func(s *Summary) { s.Events.Chains = 1 },
		"2 incidents":                 func(s *Summary) { s.Incidents = append(s.Incidents, Incident{}) },
		"0 incidents":                 func(s *Summary) { s.Incidents = nil },
		"begins at shop/ledger":       func(s *Summary) { s.Incidents[0].First = ledger },
		"holds " + export:             func(s *Summary) { s.Incidents[0].Entities = append(cascade(), export) },
		"lacks " + fraud:              func(s *Summary) { s.Incidents[0].Entities = cascade()[:7] },
		"replay differs: [fra/relay1": func(s *Summary) { s.Replay.Identical, s.Replay.Faults = false, []string{"fra/relay1: x"} },
	} {
		s := right()
		spoil(&s)
		if err := s.verdict(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("verdict %v, want one that says %q", err, want)
		}
	}
}

func TestTheSeedFixesTheScript(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text := func(seed uint64) string {
		var b strings.Builder
		for _, h := range hosts(DefaultProfile(), seed) {
			for _, s := range h.sources {
				for n, l := range s.lines {
					b.WriteString(l.at.String() + " " + l.text(n+1, at) + "\n")
				}
			}
		}
		return b.String()
	}
	once, again := text(1), text(1)
	if once != again {
		t.Error("one seed gave two scripts")
	}
	if once == text(2) {
		t.Error("two seeds gave one script")
	}
}

// The account compares series by series, which proves nothing about a source
// if another one writes the same series.
func TestNoEntityIsWrittenByTwoSources(t *testing.T) {
	owner := map[string]*source{}
	for _, h := range hosts(DefaultProfile(), 1) {
		for _, s := range h.sources {
			for _, l := range s.lines {
				if o := owner[l.series.Entity]; o != nil && o != s {
					t.Fatalf("%s is written by %s and %s", l.series.Entity, o.spec.Name, s.spec.Name)
				}
				owner[l.series.Entity] = s
			}
		}
	}
}
