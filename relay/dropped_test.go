package relay

import (
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/journal"
)

// A region is cut off for so long that findings are dropped. They are counted,
// and nobody is told that the roots have them, as of those that were kept.
func TestDroppedFindingsAreNotSaidToBeCommitted(t *testing.T) {
	for name, c := range map[string]struct {
		extra int
		says  string
	}{
		"none": {0, "committed by the roots"},
		"one":  {1, "without 1 of the findings"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFullRelay(t)
			f.stop()
			var log buffer
			reg := prometheus.NewRegistry()
			f.opts.Logger, f.opts.Registerer = slog.New(slog.NewTextHandler(&log, nil)), reg
			f.start()
			defer func() { f.stop() }()
			var said []journal.Output
			f.journal.View(func(k journal.Core) {
				core := k.(*core)
				core.say = func(o journal.Output) { said = append(said, o) }
				found := func(n int, entity string) anomaly.Finding {
					x := anomaly.Finding{Revision: 1, Detector: "rule", Severity: event.SeverityError, Detected: 1e9, Point: 1e9, Series: stream.Series{Entity: entity, Signal: "s"}}
					binary.BigEndian.PutUint32(x.ID[:], uint32(n)+1)
					return x
				}
				core.report([]anomaly.Finding{found(0, "app/x")})
				for n := 1; len(core.pending) < maxPendingFindings-1; n++ {
					core.pending = append(core.pending, found(n, "app/y"))
				}
				for n := range 1 + c.extra {
					core.report([]anomaly.Finding{found(maxPendingFindings+n, "app/z")})
				}
				var told received
				for _, x := range core.pending {
					told.Findings = append(told.Findings, receipt{ID: x.ID, Revision: x.Revision})
				}
				for _, n := range core.local.names {
					told.Named = append(told.Named, n.ID)
				}
				if err := core.received(told.encode()); err != nil {
					t.Fatal(err)
				}
			})
			f.deliver(said)
			lines := 0
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "by the roots") || strings.Contains(line, "to the roots") {
					lines++
					if !strings.Contains(line, c.says) {
						t.Errorf("it is said: %s", line)
					}
				}
			}
			if lines == 0 {
				t.Error("no incident became the roots'")
			}
			if n := gathered(t, reg, "pando_relay_findings_dropped_total"); n != float64(c.extra) {
				t.Errorf("%v are counted as dropped, want %d", n, c.extra)
			}
			if n := f.lostHeld.Load(); n != 0 {
				t.Errorf("%d are left for the next incident", n)
			}
		})
	}
}

// gathered is the value of a counter without labels.
func gathered(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
