//go:build !zos

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	measure "pando/cli/bench"
)

func newBenchTree(e *env) *cobra.Command {
	o := measure.DefaultTreeOptions()
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Measure a whole tree: lines into files, to incidents at the roots",
		Long: `Start agents, relays, three roots, and a generator that writes lines of JSON into
files, each in a process of its own. First, for two fifths of the time, as much
is written as is settled at the roots within three seconds: that is the highest
rate. Then, for a fifth of the time each, lines are written at 10, 50 and 90 % of
it, and now and then one that the tree must make an incident of; measured is how
long that takes, from the write of the line until it can be read at a root.`,
		Example: `  pando bench tree --for 1m
  pando bench tree --for 20s --relays 1 --agents 4 -o json
  pando bench tree --for 1m --probes 20 --profile /tmp/profiles`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.complete(e, cmd, &o.Options)
			if err = errors.Join(err, o.Validate()); err != nil {
				return &usageError{err: err, command: cmd.CommandPath()}
			}
			r, err := measure.Tree(cmd.Context(), o)
			if r.Events.Sent == 0 { // it did not come to its end
				return benchFault(cmd, err)
			}
			t := benchTable(&r.Figures)
			for _, l := range []struct {
				name string
				load measure.Load
			}{{"10 %", r.Latency.Tenth}, {"50 %", r.Latency.Half}, {"90 %", r.Latency.Most}} {
				t.add("line → incident, ms, at "+l.name, fmt.Sprintf("%s, at %.0f lines/s, settled %.1f s behind", percentiles(l.load.Percentiles), l.load.Rate, l.load.Lag))
			}
			return benchFault(cmd, errors.Join(err, e.render(r, t)))
		},
	}
	f.add(cmd, &o.Options)
	cmd.Flags().IntVar(&o.Relays, "relays", o.Relays, "how many relays")
	cmd.Flags().Float64Var(&o.Probes, "probes", o.Probes, "lines a second that the tree must make an incident of")
	return cmd
}
