//go:build !zos

package demo_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"pando/cli/demo"
)

// quick is the scenario with shorter phases.
func quick() demo.Options {
	o := demo.DefaultOptions()
	o.Profile = demo.Profile{Learn: 7 * time.Second, Storm: 7 * time.Second, Patience: 4 * time.Second}
	o.Limit = 60 * time.Second
	return o
}

func TestTheCascadeBecomesOneIncidentAndEveryLineCountsOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole tree for twenty seconds")
	}
	o := quick()
	o.Keep = t.TempDir()
	if dir := os.Getenv("PANDO_DEMO_KEEP"); dir != "" {
		o.Keep = dir
	}
	var told strings.Builder
	o.Out = &told
	s, err := demo.Run(t.Context(), o)
	text, _ := json.MarshalIndent(s, "", " ")
	t.Logf("%s\n%s", told.String(), text)
	if err != nil {
		t.Fatal(err)
	}
}
