//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	measure "pando/cli/bench"
)

// maxBenchRows bounds the rows that are kept in memory, 16 bytes each.
const maxBenchRows = 10_000_000

func newBenchDetect(e *env) *cobra.Command {
	o := measure.DetectOptions{For: 10 * time.Second}
	var d detection
	cmd := &cobra.Command{
		Use:   "detect [FILE.csv]",
		Short: "Measure the tests of one series: a CSV file through the detectors",
		Long: `Run a series through the tests that find changes, as fast as possible, on one
processor: each row is a value to the seasonal score of "pando detect" and to the
test of levels, and an event to the test of rates. The file is read before, as
"pando detect" reads it, and run through again and again, each time by tests that
know nothing yet. Without a file a series is generated: 20,000 values, five
minutes apart, with a day, a week, noise and five shifts.

The latency is that of one row through all tests.`,
		Example: `  pando bench detect --for 10s
  pando bench detect requests.csv --time timestamp --value count --for 10s -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				o.Name, o.Samples = measure.GeneratedSeries()
			} else if err := d.readAll(e, args[0], &o); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return &usageError{err: err, command: cmd.CommandPath()}
			}
			f, err := measure.Detect(cmd.Context(), o)
			if f.Events == 0 {
				return err
			}
			var t table
			m := &f.Machine
			t.add("workload", fmt.Sprintf("%s, %d samples, over and over", printable(f.Workload.Series, false), f.Workload.Samples))
			t.add("machine", fmt.Sprintf("%d × %s, %s", m.Cores, m.CPU, m.Go))
			t.add("measured", fmt.Sprintf("%.1f s, %d samples", f.Measured, f.Events))
			t.add("samples/s", fmt.Sprintf("%.0f", f.EventsPerS))
			t.add("CPU-s per million", fmt.Sprintf("%.3f, %.1f %% of it garbage collection", f.CPU["detect"], 100*f.GCShare))
			t.add("latency, ms", fmt.Sprintf("p50 %.4f, p99 %.4f, p99.9 %.4f, max %.1f", f.Latency.P50, f.Latency.P99, f.Latency.P999, f.Latency.Max))
			t.add("memory at most", fmt.Sprintf("%.0f MiB", f.PeakRSS))
			t.add("findings at first", fmt.Sprintf("series %d, level %d, rate %d", f.Findings["series"], f.Findings["level"], f.Findings["rate"]))
			return errors.Join(err, e.render(f, t))
		},
	}
	cmd.Flags().DurationVar(&o.For, "for", o.For, "how long to measure")
	d.addColumns(cmd)
	return cmd
}

// readAll reads a file of samples.
func (d *detection) readAll(e *env, file string, o *measure.DetectOptions) error {
	in, name, closeFile, err := openSeries(e, file)
	if err != nil {
		return fmt.Errorf("bench detect: %w", err)
	}
	defer closeFile()
	o.Name = name
	err = d.rows(in, func(at, value string) error {
		t, v, err := parseSample(at, value)
		if err == nil && len(o.Samples) == maxBenchRows {
			err = withHint(fmt.Errorf("more than %d rows", maxBenchRows), "a part of them measures the same")
		}
		o.Samples = append(o.Samples, measure.Sample{Time: t, Value: v})
		return err
	})
	if err != nil {
		return fmt.Errorf("bench detect: %s: %w", name, err)
	}
	return nil
}
