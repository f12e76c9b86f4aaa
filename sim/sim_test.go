package sim

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var seeds = flag.Uint64("seeds", 24, "how many seeds to run")

// Every invariant holds for all seeds.
func TestInvariants(t *testing.T) {
	s := RunMany(context.Background(), 1, *seeds, false, func(r Result) {
		t.Errorf("seed %d: %s\nfaults: %s", r.Seed, strings.Join(r.Broken, "; "), strings.Join(r.Faults, ", "))
	})
	if s.Seeds != *seeds || s.Steps == 0 || s.Lines == 0 {
		t.Errorf("%+v", s)
	}
}

// They hold for a tree of fifty relays and two thousand agents, too. A seed
// takes some ten seconds.
func TestInvariantsOfALargeTree(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds a seed")
	}
	RunMany(t.Context(), 1, 2, true, func(r Result) {
		t.Errorf("seed %d: %s\nfaults: %s", r.Seed, strings.Join(r.Broken, "; "), strings.Join(r.Faults, ", "))
	})
}

// A seed gives the same run each time, whether somebody listens or not.
func TestSeedRepeats(t *testing.T) {
	for seed := range uint64(4) {
		var words bytes.Buffer
		a, b := Run(seed, false, &words), Run(seed, false, nil)
		if a.Hash != b.Hash || a.Steps != b.Steps {
			t.Errorf("seed %d: %s after %d steps, and then %s after %d", seed, a.Hash, a.Steps, b.Hash, b.Steps)
		}
		if n := bytes.Count(words.Bytes(), []byte("\n")); uint64(n) != a.Steps {
			t.Errorf("seed %d: %d steps, %d were told", seed, a.Steps, n)
		}
	}
	if Run(1, false, nil).Hash == Run(2, false, nil).Hash {
		t.Error("two seeds give one run")
	}
}

func TestAgendaKeepsTheOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a agenda
	var want, got []task
	for n := range uint64(1000) {
		x := task{at: r.Int64N(50), n: n}
		a.push(x)
		want = append(want, x)
	}
	slices.SortFunc(want, func(x, y task) int {
		if x.at != y.at {
			return int(x.at - y.at)
		}
		return int(x.n) - int(y.n)
	})
	for len(a) > 0 {
		got = append(got, a.pop())
	}
	if !slices.EqualFunc(got, want, func(x, y task) bool { return x.at == y.at && x.n == y.n }) {
		t.Error("tasks come out of order")
	}
}

// A fault that is not one of the plan's must show: here a line that vanishes
// between an agent and the end.
func TestOracleSeesALostLine(t *testing.T) {
	w := live(newPlan(1, false).calm(), nil)
	if len(w.broken) > 0 {
		t.Fatal(w.broken)
	}
	w.ledger.settled[0] = 0
	w.ledger.compareLines()
	w.ledger.settled[1] = 2
	w.ledger.compareLines()
	if len(w.broken) < 2 {
		t.Errorf("a lost and a doubled line go unnoticed: %v", w.broken)
	}
}
