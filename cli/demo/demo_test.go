//go:build !zos

package demo_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pando/cli/demo"
)

// quick is the scenario with shorter phases.
func quick() demo.Options {
	o := demo.DefaultOptions()
	o.Profile = demo.Profile{Learn: 7 * time.Second, Storm: 8 * time.Second, Patience: 4 * time.Second}
	o.Limit = 50 * time.Second
	return o
}

func TestTheCascadeBecomesOneIncidentAndEveryLineCountsOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole tree for twenty seconds")
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	o := quick()
	o.Keep = t.TempDir()
	var told strings.Builder
	o.Out = &told
	s, err := demo.Run(t.Context(), o)
	if err != nil {
		t.Error(err) // what the run itself verifies
	}
	if want := (demo.Tree{Roots: 3, Relays: 2, Agents: 6}); s.Tree != want {
		t.Errorf("the tree is %+v, want %+v", s.Tree, want)
	}
	if s.Events.Lines < 5000 {
		t.Errorf("%d lines were written; the retries alone are more", s.Events.Lines)
	}
	if s.Replay.Tiers != 11 || s.Replay.Records == 0 {
		t.Errorf("%d tiers and %d records were replayed", s.Replay.Tiers, s.Replay.Records)
	}
	if s.Clock.WorstSkew < 186_900 || s.Clock.WorstSkew > 187_100 {
		t.Errorf("worst skew %.1f ms: LPAR A is 187 s slow", s.Clock.WorstSkew)
	}
	if s.Noise.Findings == 0 {
		t.Error("no finding about the noise: that it is in no incident proves nothing")
	}
	// On a machine that stalls for seconds the heartbeats do so too, and then a
	// silence is rightly not claimed.
	if n := strings.Count(told.String(), "fell silent"); n != 8 && s.Detection.P99 < 1000 { // as it happens, and at the end
		t.Errorf("the narration tells %d times of a silence, four jobs fell silent", n)
	}
	if t.Failed() {
		summary, _ := json.MarshalIndent(s, "", " ")
		log, _ := os.ReadFile(filepath.Join(o.Keep, "demo.log"))
		t.Logf("%s\n%s\n%s", told.String(), summary, log)
	}
}

func TestTwoTiersComeToTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole tree for twenty seconds")
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	o := quick()
	o.Tiers = demo.MaxTiers
	s, err := demo.Run(t.Context(), o)
	if err != nil {
		t.Error(err)
	}
	if want := (demo.Tree{Roots: 3, Relays: 4, Agents: 6}); s.Tree != want {
		t.Errorf("the tree is %+v, want %+v", s.Tree, want)
	}
	if s.Replay.Tiers != 13 {
		t.Errorf("%d tiers were replayed", s.Replay.Tiers)
	}
}

func TestKeepRefusesAFolderWithSomethingInIt(t *testing.T) {
	o := demo.DefaultOptions()
	o.Keep = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.Keep, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := demo.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Fatalf("error %v, want one that says the folder is not empty", err)
	}
}
