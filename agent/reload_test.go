package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pando/agent/input"
	"pando/internal/durable/faulty"
)

// While lines come, a source's rules change again and again, another source
// comes and goes, and wrong options are refused: each line is settled once, in
// one session under one WAL id.
func TestReconfigureLosesAndDoublesNothing(t *testing.T) {
	r := newRig(t)
	second := filepath.Join(t.TempDir(), "second.log")
	if err := os.WriteFile(second, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	more := r.opts.Sources[0]
	more.Name, more.Path = "more", second
	r.write(100)
	round, started := 0, map[string]int{}
	r.live(faulty.New(), func() bool {
		if r.led.settledLines() < r.lines*9/10 || r.agent.Status().State != "live" {
			return round > 20 && r.led.settledLines() == r.lines
		}
		if round++; round > 20 {
			return r.led.settledLines() == r.lines
		}
		next := r.opts
		next.Sources = []input.Spec{r.opts.Sources[0]}
		next.Sources[0].Criticality = []input.CritRule{{Text: fmt.Sprintf("n=[0-9]*%d$", round%10), Level: 0}}
		if round%3 == 0 {
			next.Sources = append(next.Sources, more)
		}
		changed, err := r.agent.Reconfigure(next)
		if err != nil {
			t.Error(err)
		}
		for _, name := range changed {
			started[name]++
		}
		wrong := next
		wrong.Sources = []input.Spec{{Name: "app", Type: "carrier pigeon"}}
		if _, err := r.agent.Reconfigure(wrong); err == nil {
			t.Error("options that are not valid came into force")
		}
		r.write(50)
		return false
	})
	r.exact()
	if started["app"] != 20 || started["more"] < 10 {
		t.Errorf("sources exchanged: %v", started)
	}
	if r.led.opens != 1 {
		t.Errorf("%d sessions were opened, want the one", r.led.opens)
	}
	if !slices.Equal(r.agent.settings().relays, r.opts.Relays) {
		t.Error("the relays changed")
	}
}
