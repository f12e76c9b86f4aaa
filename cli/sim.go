//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pando/sim"
)

func newSim(e *env) *cobra.Command {
	var seed, seeds uint64
	var large, verbose bool
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Let trees live through faults in virtual time, and check every invariant",
		Long: fmt.Sprintf(`Run the cores of agents, relays and roots in this process, with virtual time, and
with a network, disks, clocks and a scheduler that a seed decides on: they tear,
stall, fill up, lose and roll back, delay, cut one way, jump, crash at any step.
Then the faults end, and everything must settle. After each run every invariant
is checked: each event settled exactly once or accounted for, nothing
acknowledged before its fsync, nothing trimmed before it is settled, order, times,
terms, quorums, replays byte for byte, and no finding that a run without faults
does not have.

One seed is one run, and gives the same trace hash each time. With -v every step
is told on stderr. The exit code is %d if an invariant was broken.`, exitFailure),
		Example: `  pando sim --seeds 200
  pando sim --seed 4711 -v
  pando sim --large -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seeds == 0 || verbose && seeds > 1 {
				return &usageError{err: errors.New("--seeds: at least 1, and with -v only 1"), command: cmd.CommandPath()}
			}
			if seeds == 1 {
				return runSeed(e, seed, large, verbose)
			}
			s := sim.RunMany(cmd.Context(), seed, seeds, large, func(r sim.Result) {
				fmt.Fprintf(e.stderr, "seed %d: %s\n", r.Seed, strings.Join(r.Broken, "; "))
			})
			if err := e.render(s, simTable(&s)); err != nil {
				return err
			}
			if len(s.Failed) > 0 {
				return withHint(fmt.Errorf("sim: %d of %d seeds break an invariant", len(s.Failed), s.Seeds), "replay one by pando sim --seed N -v")
			}
			return cmd.Context().Err()
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&seed, "seed", 1, "the seed, or the first of several")
	flags.Uint64Var(&seeds, "seeds", 1, "how many seeds to run, in parallel")
	flags.BoolVar(&large, "large", false, "3 roots, 50 relays in two tiers, 2,000 agents")
	flags.BoolVarP(&verbose, "verbose", "v", false, "tell every step of the run on stderr")
	return cmd
}

func runSeed(e *env, seed uint64, large, verbose bool) error {
	var words io.Writer
	if verbose {
		words = e.stderr
	}
	r := sim.Run(seed, large, words)
	var t table
	t.add("seed", r.Seed)
	t.add("trace hash", r.Hash)
	t.add("steps", r.Steps)
	t.add("lines", r.Lines)
	for _, f := range r.Faults {
		t.add("fault", f)
	}
	for _, b := range r.Broken {
		t.add("broken", b)
	}
	if err := e.render(r, t); err != nil {
		return err
	}
	if r.Failed() {
		return fmt.Errorf("sim: seed %d breaks an invariant", r.Seed)
	}
	return nil
}

// simTable is the summary for people.
func simTable(s *sim.Summary) table {
	var t table
	t.add("seeds", fmt.Sprintf("%d to %d", s.First, s.First+s.Seeds-1))
	t.add("steps", s.Steps)
	t.add("lines", s.Lines)
	t.add("failed", len(s.Failed))
	t.add("seconds", fmt.Sprintf("%.1f", s.Took))
	t.add("seeds a second", fmt.Sprintf("%.1f", float64(s.Seeds)/max(s.Took, 0.001)))
	return t
}
