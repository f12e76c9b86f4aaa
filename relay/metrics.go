//go:build !zos

package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
