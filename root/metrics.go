//go:build !zos

package root

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the root's figures beside those of Raft and of the sessions.
type metrics struct {
	detection prometheus.Histogram
	sections  *prometheus.CounterVec // verdict
	claims    *prometheus.CounterVec // outcome
	changes   *prometheus.CounterVec // kind
	events    prometheus.Counter
	forwarded prometheus.Counter
	refused   prometheus.Counter
	agreed    prometheus.Counter
	disagreed prometheus.Counter
}

// newMetrics registers with reg, or with nothing if reg is nil.
func newMetrics(reg prometheus.Registerer, r *Root) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pando", Subsystem: "root", Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "pando", Subsystem: "root", Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		detection: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "pando", Subsystem: "root", Name: "detection_seconds",
			Help: "From what decided a finding to its commit.", Buckets: prometheus.ExponentialBuckets(0.001, 1.6, 20)}),
		sections:  vector("sections_total", "Sections judged on this member, by verdict.", "verdict"),
		claims:    vector("claims_total", "Claims answered to this member's children, by outcome.", "outcome"),
		changes:   vector("incident_changes_total", "Changes of incidents, by kind.", "kind"),
		events:    counter("events_settled_total", "Events settled since this process started."),
		forwarded: counter("forwarded_total", "Requests passed on to the leader."),
		refused:   counter("refused_total", "Messages that ended a child's session."),
		agreed:    counter("votes_agreed_total", "Votes of members whose state is this one's."),
		disagreed: counter("votes_disagreed_total", "Votes of members whose state differs from this one's."),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func(*view) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "pando", Subsystem: "root", Name: name, Help: help},
			func() float64 { return value(r.fsm.view()) })
	}
	reg.MustRegister(m.detection, m.sections, m.claims, m.changes, m.events, m.forwarded, m.refused, m.agreed, m.disagreed,
		gauge("incidents_open", "Incidents that are open.", func(v *view) float64 { return float64(v.openIncidents()) }),
		gauge("units", "Units in the state.", func(v *view) float64 { return float64(v.units.Len()) }),
		gauge("agents", "Agents in the state.", func(v *view) float64 { return float64(v.origins.Len()) }),
		gauge("origins_cloned", "Agents whose certificate another node seems to use.", func(v *view) float64 { return float64(v.cloned(r.time.Now())) }),
		gauge("events_given_up", "Events of WAL ids that were forgotten: at most so many are lost.", func(v *view) float64 { return float64(v.counts.GivenUp) }),
		gauge("series", "Series in the state.", func(v *view) float64 { return float64(v.series.Len()) }),
		gauge("patterns_late", "Findings that came to the patterns after their time, and were taken as of now.", func(v *view) float64 { return float64(v.patterns.totals.Moved) }),
		gauge("patterns_unsaid", "Matches of patterns that were too many at once to be said.", func(v *view) float64 { return float64(v.patterns.unsaid) }),
		gauge("series_folded", "Rows that went to __other__ for want of room.", func(v *view) float64 { return float64(v.counts.FoldedSeries) }))
	return m
}
