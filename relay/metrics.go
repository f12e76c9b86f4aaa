//go:build !zos

package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/stream/anomaly"
	"pando/tree/journal"
)

type metrics struct {
	events   prometheus.Counter
	findings *prometheus.CounterVec
	sifted   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	passed   prometheus.Counter
	statuses *prometheus.CounterVec
	lost     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		events:   prometheus.NewCounter(prometheus.CounterOpts{Name: "pando_relay_events_total", Help: "Events stepped, heartbeats not counted."}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pando_relay_findings_total", Help: "Findings and their revisions."}, []string{"detector"}),
		sifted:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pando_relay_dedup_total", Help: "Findings that were folded into an earlier one, being one alarm; of these, those released after all; alarms evicted early; duplicates said because too many are folded (full); findings that lack a field (incomparable)."}, []string{"what"}),
		refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pando_relay_refused_total", Help: "Sessions refused or ended because of what the child said."}, []string{"reason"}),
		passed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "pando_relay_passed_total", Help: "Sections, claims, questions and findings passed on for relays below."}),
		statuses: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pando_relay_statuses_dropped_total", Help: "Statuses of agents that were not taken: too large, or too frequent."}, []string{"reason"}),
		lost:     prometheus.NewCounter(prometheus.CounterOpts{Name: "pando_relay_findings_dropped_total", Help: "Findings that no root will have: more waited for one than are kept."}),
	}
	if reg != nil {
		reg.MustRegister(m.events, m.findings, m.sifted, m.refused, m.passed, m.statuses, m.lost)
	}
	return m
}

// rate turns a growing count into events a second.
type rate struct {
	at    time.Time
	count uint64
	value float64
}

func (r *rate) update(now time.Time, count uint64) {
	if d := now.Sub(r.at).Seconds(); !r.at.IsZero() && d > 0 {
		r.value = float64(count-min(r.count, count)) / d
	}
	r.at, r.count = now, count
}

// detectorsRefused is what the detectors had no room for.
func (r *Relay) detectorsRefused() (n anomaly.Refused) {
	r.journal.View(func(k journal.Core) { n = k.(*core).engine.Refused() })
	return n
}

// detectorCollector tells Prometheus what the detectors had no room for.
type detectorCollector struct{ refused func() anomaly.Refused }

var undetected = prometheus.NewDesc("pando_relay_undetected_total",
	"What detectors had no room for: events of too many origins, speakers or codes, of series without a rule window (windows), older than theirs (late), that no rate, ratio or level is tested of (tests); new codes learnt without a finding beside too many others (novelties).",
	[]string{"what"}, nil)

func (c detectorCollector) Describe(out chan<- *prometheus.Desc) { out <- undetected }

func (c detectorCollector) Collect(out chan<- prometheus.Metric) {
	n := c.refused()
	for _, x := range []struct {
		what  string
		count uint64
	}{{"origins", n.Origins}, {"speakers", n.Speakers}, {"codes", n.Codes}, {"novelties", n.Novelties},
		{"windows", n.Windows}, {"late", n.Late}, {"tests", n.Tests}} {
		out <- prometheus.MustNewConstMetric(undetected, prometheus.CounterValue, float64(x.count), x.what)
	}
}
