//go:build !zos

package demo

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pando/agent/input"
)

// BenchmarkDetection measures, in a whole tree on this machine with everything
// on, how long a critical line takes from its agent's stamp to the commit of
// its finding, while another agent's file grows at a steady rate. The figures
// are of one run of ten seconds; run it several times with -count.
func BenchmarkDetection(b *testing.B) {
	for _, rate := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			for b.Loop() {
				measureDetection(b, rate, 10*time.Second)
			}
		})
	}
}

func measureDetection(b *testing.B, rate int, length time.Duration) {
	dir := b.TempDir()
	path := filepath.Join(dir, "load.log")
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	o := DefaultOptions()
	o.Profile = DefaultProfile()
	hosts := []*host{
		{name: "load", sources: []*source{{spec: input.Spec{Name: "load", Type: input.TypeTail, Path: path,
			Pattern: `^(?P<entity>\S+) (?P<n>\d+)`, Entity: "{entity}", Signal: "requests", Value: "{n}"}}}},
		{name: "probe", sources: []*source{{spec: input.Spec{Name: "probe", Type: input.TypeSyslog, Listen: "127.0.0.1:0",
			Entity: "probe/{procid}", Severity: "error", Criticality: []input.CritRule{{Signal: "^abend", Level: 0}}}}}},
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t, err := plant(ctx, dir, o, hosts, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer t.stop()
	address, err := t.leaves[1].listener("probe")
	if err != nil {
		b.Fatal(err)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()

	lines := uint64(0)
	out := bufio.NewWriterSize(file, 1<<20)
	begin, next, probes := time.Now(), time.Now(), 0
	for time.Since(begin) < length {
		for due := uint64(time.Since(begin).Seconds() * float64(rate)); lines < due; {
			lines++
			fmt.Fprintf(out, "app/service-%03d %d a request like many others\n", lines%200, lines)
		}
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
		if time.Now().After(next) {
			probes++
			next = next.Add(50 * time.Millisecond)
			fmt.Fprintf(conn, "<131>1 - probe app %d abend.PROBE - failed\n", probes)
		}
		time.Sleep(2 * time.Millisecond)
	}
	err = t.await(ctx, "settlement", time.Minute, func() error {
		leader, err := t.leader()
		if err != nil {
			return err
		}
		units, err := leader.Units(ctx, true)
		var events uint64
		for _, u := range units {
			events += u.Events
		}
		if err == nil && events < lines+uint64(probes) {
			err = fmt.Errorf("%d of %d events settled", events, lines+uint64(probes))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	whole := time.Since(begin)
	leader, err := t.leader()
	if err != nil {
		b.Fatal(err)
	}
	d := leader.Detections()
	if d.Count < uint64(probes) {
		b.Fatalf("%d of %d probes were detected", d.Count, probes)
	}
	b.ReportMetric(d.P50, "p50-ms")
	b.ReportMetric(d.P99, "p99-ms")
	b.ReportMetric(d.Max, "max-ms")
	b.ReportMetric(float64(probes), "probes")
	b.ReportMetric(float64(lines)/whole.Seconds(), "events/s")
}
