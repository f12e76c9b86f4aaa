package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/anomaly"
)

// The same console message reaches the relay through two agents. It is one
// finding, which in the end tells of the other path; the root counts the events
// of both.
func TestOneAlarmByTwoAgents(t *testing.T) {
	for _, c := range []struct {
		dedup string
		want  []string
	}{
		{"", []string{"first-seen/1 first seen: DFHAC2236", "first-seen/2 ended first seen: DFHAC2236 (1 more, also by eu/b operlog)"}},
		{"{enabled: false}", []string{"first-seen/1 first seen: DFHAC2236", "first-seen/1 first seen: DFHAC2236",
			"first-seen/2 ended first seen: DFHAC2236", "first-seen/2 ended first seen: DFHAC2236"}},
		{"{fields: [attr.job]}", []string{"first-seen/1 first seen: DFHAC2236", "first-seen/1 first seen: DFHAC2236", // of two jobs
			"first-seen/2 ended first seen: DFHAC2236", "first-seen/2 ended first seen: DFHAC2236"}},
	} {
		t.Run(c.dedup, func(t *testing.T) {
			b := newBench(t)
			config := "rules: []\nfirst_seen: {learn_for: 0s}\n"
			if c.dedup != "" {
				config += "dedup: " + c.dedup + "\n"
			}
			b.do(recConfig, []byte(config))
			b.uplink(1)
			var agents []*fakeAgent
			for i, source := range []string{"syslog", "operlog"} {
				a := b.agent("eu/"+string(rune('a'+i)), event.WALID(i+1))
				for n, signal := range []string{"DFHSI1517", "DFHAC2236"} {
					a.writeEvents(t, event.Critical, 1, true, func(_ int, e *event.Event) {
						e.Source, e.Entity, e.Signal, e.Severity = source, "sysplex1/LPARA/CICSPAY1", signal, event.SeverityInfo
						e.Attrs = []event.Attr{{Key: "job", Value: source}}
						at := int64(501+n) * 1e9
						e.Stamp = event.Stamp{Lo: at, Hi: at, Point: at}
						if n == 1 {
							e.Severity = event.SeverityWarn
						}
					})
				}
				b.mustOpen(a)
				agents = append(agents, a)
			}
			b.root(0)
			for i := range 2 {
				for _, a := range agents {
					at := len(b.log)
					b.send(a, event.Critical, i, 2)
					b.root(at)
				}
				b.restart()
				b.tick(1e9)
			}
			for range 60 {
				b.tick(1e9)
			}
			if got := b.findings(); !slices.Equal(got, c.want) {
				t.Errorf("said\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			for _, a := range agents {
				if n := b.events[event.Unit{Origin: a.name, WAL: a.wal}]; n != 2 {
					t.Errorf("root counts %d events of %s, want 2", n, a.name)
				}
			}
		})
	}
}

// What detectors have no room for is told: a relay keeps 4,096 codes of an origin.
func TestUndetectedIsCounted(t *testing.T) {
	b := newBench(t)
	b.uplink(1)
	a := b.agent("eu/a", 1)
	const more = 7
	a.writeEvents(t, event.Critical, anomaly.MaxCodes+more, true, func(i int, e *event.Event) {
		e.Signal, e.Severity = fmt.Sprint("E", i), event.SeverityError
	})
	b.mustOpen(a)
	b.root(0)
	b.send(a, event.Critical, 0, 1)
	b.restart()
	reg := prometheus.NewRegistry()
	reg.MustRegister(detectorCollector{b.core.engine.Refused})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			told[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	if told["pando_relay_undetected_total codes"] != more || told["pando_relay_undetected_total origins"] != 0 {
		t.Errorf("told %v, want %d codes", told, more)
	}
}

// restart exchanges the core for one made from its state.
func (b *bench) restart() {
	b.t.Helper()
	w := pack.NewWriter()
	b.core.AppendState(w)
	b.core = b.newCore()
	r := pack.NewReader(w.Bytes())
	if err := b.core.ReadState(r); err != nil {
		b.t.Fatal(err)
	}
	if err := r.Done(); err != nil {
		b.t.Fatal(err)
	}
}

// findings lists what was said of findings.
func (b *bench) findings() (list []string) {
	for _, o := range b.log {
		if f, ok := Finding(o); ok {
			ended := ""
			if f.Ended {
				ended = "ended "
			}
			list = append(list, fmt.Sprintf("%s/%d %s%s", f.Detector, f.Revision, ended, f.Summary))
		}
	}
	return list
}
