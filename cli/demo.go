//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pando/cli/demo"
	"pando/internal/ops"
)

func newDemo(e *env) *cobra.Command {
	o := demo.DefaultOptions()
	var headless bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start a whole tree on this machine and let it live through an incident",
		Long: fmt.Sprintf(`Start a whole tree in this process: three roots under Raft, two relays that
gossip, six agents; real TCP with mutual TLS on 127.0.0.1, logs with fsync in a
temporary folder. Then write what real systems write while a SWIFT gateway
fails, and tell what the tree makes of it.

At the end every written line is accounted for, from outside: in the agents'
logs and in the root's state; and every node's log is stepped again. The exit
code is %d if a line was lost or counted twice, if the root did not open the one
right incident, or if a replay differs.

With --follow the tree stays up, so that the other commands can be tried.`, exitFailure),
		Example: `  pando demo
  pando demo --tiers 2
  pando demo --headless -o json
  pando demo --follow --keep /tmp/pando`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if headless && o.Follow {
				return &usageError{err: errors.New("--follow shows the lines to try, which --headless hides"), command: cmd.CommandPath()}
			}
			if o.Tiers < 1 || o.Tiers > demo.MaxTiers {
				return &usageError{err: fmt.Errorf("--tiers: %d: give 1 to %d", o.Tiers, demo.MaxTiers), command: cmd.CommandPath()}
			}
			if o.Limit <= 0 {
				return &usageError{err: fmt.Errorf("--for: %v is not positive", o.Limit), command: cmd.CommandPath()}
			}
			o.Guard, o.Command, o.LogLevel = readers, invocation(), e.logLevel
			if !headless {
				// The narration is for people; with -o json or yaml only the
				// summary is data.
				o.Out = e.stdout
				if e.output != outputTable {
					o.Out = e.stderr
				}
				o.Live = ops.IsTerminal(o.Out)
				o.Color = o.Live && !e.noColor
			}
			summary, err := demo.Run(cmd.Context(), o)
			if (headless || e.output != outputTable) && summary.ElapsedMS > 0 {
				err = errors.Join(err, e.render(summary, demoTable(&summary)))
			}
			if o.Keep == "" {
				return withHint(err, "run it again with --keep DIR to look into its logs")
			}
			return withHint(err, "the nodes' words are in %s/demo.log", o.Keep)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&o.Seed, "seed", o.Seed, "fixes the content of the scenario")
	flags.StringVar(&o.Keep, "keep", "", "empty or new folder that keeps the data (default: a temporary one, removed at the end)")
	flags.BoolVar(&o.Follow, "follow", false, "stay up after the scenario, until Ctrl-C")
	flags.IntVar(&o.Tiers, "tiers", o.Tiers, "tiers of relays: with 2, two further relays stand between the regional ones and the roots")
	flags.BoolVar(&headless, "headless", false, "only the summary")
	flags.DurationVar(&o.Limit, "for", o.Limit, "give up after this time; what --follow adds does not count")
	return cmd
}

// demoTable is the summary for people.
func demoTable(s *demo.Summary) table {
	var t table
	t.add("seed", s.Seed)
	t.add("tree", fmt.Sprintf("%d roots, %d relays, %d agents", s.Tree.Roots, s.Tree.Relays, s.Tree.Agents))
	t.add("lines written", s.Events.Lines)
	t.add("accepted by agents", s.Events.Accepted)
	t.add("settled at the root", s.Events.Settled)
	t.add("lost", s.Events.Lost)
	t.add("doubled", s.Events.Doubled)
	t.add("detection", fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, max %.1f ms of %d", s.Detection.P50, s.Detection.P99, s.Detection.Max, s.Detection.Count))
	for _, i := range s.Incidents {
		t.add("incident "+i.ID, fmt.Sprintf("first %s, %d findings, %s", i.First, i.Findings, strings.Join(i.Entities, " ")))
	}
	t.add("worst clock", fmt.Sprintf("%.1f ms ± %.3f ms", s.Clock.WorstSkew, s.Clock.WorstBound))
	t.add("replay", fmt.Sprintf("%d tiers, %d records, identical: %t", s.Replay.Tiers, s.Replay.Records, s.Replay.Identical))
	t.add("elapsed", time.Duration(s.ElapsedMS)*time.Millisecond)
	return t
}

// invocation is how this program was called, as far as it can be called so
// again: go run removes what it built.
func invocation() string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		return "go run ."
	}
	return os.Args[0]
}
