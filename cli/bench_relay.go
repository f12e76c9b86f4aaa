//go:build !zos

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	measure "pando/cli/bench"
)

func newBenchRelay(e *env) *cobra.Command {
	o := measure.DefaultRelayOptions()
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Measure one relay: batches in over mutual TLS, durable, stepped, settled",
		Long: `Start a relay, a root, and a generator that stands for its agents, each in a
process of its own. The generator has encoded its batches when the clock starts;
it stamps their events with the present time and hands them over as agents do. The
relay receives them, makes them durable, steps them through panes and detectors,
and cuts digests, which the root settles.

The root shares the machine too: what it takes is in its own figure, and what it
takes away from the relay is not given back.`,
		Example: `  pando bench relay --for 10s
  pando bench relay --kind log --for 10s -o json
  pando bench relay --series 100k --agents 8 --for 30s
  pando bench relay --rate 500000 --for 10s
  pando bench relay --for 10s --profile /tmp/profiles`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.complete(e, cmd, &o.Options)
			if err = errors.Join(err, o.Validate()); err != nil {
				return &usageError{err: err, command: cmd.CommandPath()}
			}
			r, err := measure.Relay(cmd.Context(), o)
			if r.Events.Sent == 0 { // it did not come to its end
				return benchFault(cmd, err)
			}
			t := benchTable(&r.Figures)
			t.add("batch sent → durable, ms", percentiles(r.Latency))
			t.add("sessions lost", r.SessionsLost)
			return benchFault(cmd, errors.Join(err, e.render(r, t)))
		},
	}
	f.add(cmd, &o.Options)
	cmd.Flags().StringVar(&o.Kind, "kind", o.Kind, "of events: metric (entity, signal, value), or log (120 bytes of text, a trace id, 4 attributes)")
	cmd.Flags().IntVar(&o.Batch, "batch", o.Batch, "events in a batch (default: as many as an agent gathers)")
	cmd.Flags().Float64Var(&o.Rate, "rate", 0, "events a second of all agents together (default: as many as the relay takes)")
	return cmd
}
