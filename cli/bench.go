//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"

	"github.com/spf13/cobra"

	measure "pando/cli/bench"
)

func newBench(e *env) *cobra.Command {
	group := newGroup("bench", "Measure whole paths on this machine, with everything on",
		newBenchNode(e), newBenchDetect(e), newBenchRelay(e), newBenchTree(e))
	group.Long = `Measure whole paths through the product on this machine: mutual TLS over TCP,
logs with fsync, detectors, Raft. Every node is a process of its own, so that
what each tier costs is known. What was sent is compared with what the root
holds in the end; an event that was lost or counted twice is a failure.

docs/BENCHMARKS.md says what the figures mean.`
	return group
}

// benchFlags are those that several benchmarks have, with what they need.
type benchFlags struct{ series string }

func (f *benchFlags) add(cmd *cobra.Command, o *measure.Options) {
	flags := cmd.Flags()
	flags.DurationVar(&o.For, "for", o.For, "how long to measure")
	flags.StringVar(&f.series, "series", "4k", "how many series: "+seriesNames())
	flags.IntVar(&o.Agents, "agents", o.Agents, "how many agents send")
	flags.StringVar(&o.Dir, "dir", "", "folder on the disk that is to be measured (default: the system's for temporary files)")
	flags.StringVar(&o.ProfileDir, "profile", "", "folder that gets a CPU profile of each process, for go tool pprof")
}

// seriesSizes are the entities of each size; each has 20 signals.
var seriesSizes = map[string]int{"4k": 200, "10k": 500, "100k": 5000}

const signalsEach = 20

func seriesNames() string { return "4k, 10k or 100k" }

// complete turns flags into options.
func (f *benchFlags) complete(e *env, cmd *cobra.Command, o *measure.Options) error {
	entities, known := seriesSizes[f.series]
	if !known {
		return fmt.Errorf("--series: %q: give %s", f.series, seriesNames())
	}
	o.Entities, o.Signals = entities, signalsEach
	o.Progress, o.LogLevel = e.stderr, slog.LevelError
	if cmd.Flags().Changed("log-level") {
		o.LogLevel = e.logLevel
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	o.Command = func(tier string) *exec.Cmd {
		c := exec.Command(exe, "bench", "node", tier)
		c.Args[0] = os.Args[0] // by which some programs decide what they are
		return c
	}
	return nil
}

// newBenchNode is one process of a benchmark, for the benchmarks alone.
func newBenchNode(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "node TIER", Short: "One process of a benchmark, told by its parent what to do", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, readable := e.stdin.(io.ReadCloser)
			out, writable := e.stdout.(io.WriteCloser)
			if !readable || !writable {
				return errors.New("bench node: the standard streams must be pipes")
			}
			return measure.Serve(cmd.Context(), args[0], in, out, e.stderr)
		},
	}
}

// benchFault gives advice with what went wrong, unless somebody interrupted it.
func benchFault(cmd *cobra.Command, err error) error {
	if cmd.Context().Err() != nil {
		return err
	}
	return withHint(err, "try fewer --agents or a folder on another disk (--dir), and see what the nodes say with --log-level info")
}

// benchTable is what people see of the figures of any benchmark.
func benchTable(f *measure.Figures) (t table) {
	w, m := &f.Workload, &f.Machine
	t.add("workload", fmt.Sprintf("%s, %d series (%d have 80 %% of the events), %.0f %% codes, %d agents", w.Kind, w.Series, w.Series80, 100*w.CodeShare, w.Agents))
	t.add("machine", fmt.Sprintf("%d × %s, %s; fdatasync p50 %.2f ms, p99 %.2f ms", m.Cores, m.CPU, m.Go, m.Disk.P50, m.Disk.P99))
	t.add("measured", fmt.Sprintf("%.1f s, %d events; the last was settled after %.1f s more", f.Duration.Measured, f.Events.Measured, f.Duration.Settle))
	t.add("events/s", fmt.Sprintf("%.0f", f.EventsPerS))
	for _, name := range slices.Sorted(maps.Keys(f.Tiers)) {
		x := f.Tiers[name]
		t.add(name, fmt.Sprintf("%.3f CPU-s per million, %.2f cores, %.1f %% of it garbage collection, %.0f MiB (%.0f → %.0f), %d processes",
			f.CPU[name], x.Cores, 100*x.GCShare, x.PeakRSS, x.RSSBefore, x.RSSAfter, x.Processes))
	}
	t.add("bytes/event", fmt.Sprintf("%.1f", f.BytesPerEvent))
	t.add("sent, settled", fmt.Sprintf("%d, %d", f.Events.Sent, f.Events.Settled))
	t.add("lost, doubled", fmt.Sprintf("%d, %d", f.Lost, f.Doubled))
	return t
}

func percentiles(p measure.Percentiles) string {
	return fmt.Sprintf("p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f of %d", p.P50, p.P99, p.P999, p.Max, p.Samples)
}
