//go:build !zos

package relay

import (
	"bytes"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"pando/stream/cep"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// heardPatterns takes the parent's word on which patterns are in force. Relays
// below hear the same; a set that this relay does not understand stays with
// them, and its own go on.
func (u *upstream) heardPatterns(m transport.Message) error {
	if err := wire.Decode(m.Body, &wire.Patterns{}); err != nil {
		return err
	}
	u.mu.Lock()
	u.patterns = &m
	for _, l := range u.below.relays {
		nudge(l.news)
	}
	u.mu.Unlock()
	return u.r.exchange(m.Body)
}

// exchange puts a set of patterns in force, now or, on a full log, later. One
// that is in force already is passed over.
func (r *Relay) exchange(body []byte) error {
	m, _, err := patternsOf(body)
	if err != nil {
		r.log.Error("the root's patterns cannot be taken up, those before stay in force: is this relay's program older?", "version", m.Version, "error", err)
		return nil
	}
	known := false
	r.journal.View(func(k journal.Core) {
		p := &k.(*core).patterns
		known = p.set != nil && p.version == m.Version && bytes.Equal(p.encoded, m.Set)
	})
	r.owing.Lock()
	defer r.owing.Unlock()
	r.owed.patterns = nil
	if known {
		return nil
	}
	r.owed.patterns = body
	if err := r.payLocked(); err != nil && !errors.Is(err, wal.ErrFull) {
		return err
	}
	return nil
}

// passPatterns is what relays below are told of the patterns, or nil while the
// parent has not said them: they go on with their own.
func (u *upstream) passPatterns() *transport.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.patterns
}

// Patterns lists the patterns in force here.
func (r *Relay) Patterns() (l cep.Listing) {
	r.journal.View(func(k journal.Core) { l = k.(*core).patterns.listing() })
	return l
}

// patternCollector tells Prometheus of patterns.
type patternCollector struct{ list func() cep.Listing }

var (
	patternMatches = prometheus.NewDesc("pando_relay_pattern_matches_total", "Matches of patterns.", []string{"pattern"}, nil)
	patternDropped = prometheus.NewDesc("pando_relay_pattern_dropped_total", "Runs, keys and events of patterns that a limit refused or took away.", []string{"pattern"}, nil)
	patternRuns    = prometheus.NewDesc("pando_relay_pattern_runs", "Matches that have begun and are not over.", []string{"pattern"}, nil)
	patternEvents  = prometheus.NewDesc("pando_relay_pattern_irregular_total",
		"Events of patterns that were late (dropped) or hurried (stepped early, for want of room), and matches that were too many at once to be said (unsaid).", []string{"what"}, nil)
)

func (c patternCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{patternMatches, patternDropped, patternRuns, patternEvents} {
		out <- d
	}
}

func (c patternCollector) Collect(out chan<- prometheus.Metric) {
	l := c.list()
	for _, p := range l.Patterns {
		if !p.Here {
			continue
		}
		out <- prometheus.MustNewConstMetric(patternMatches, prometheus.CounterValue, float64(p.Matched), p.Name)
		out <- prometheus.MustNewConstMetric(patternDropped, prometheus.CounterValue, float64(p.Dropped), p.Name)
		out <- prometheus.MustNewConstMetric(patternRuns, prometheus.GaugeValue, float64(p.Runs), p.Name)
	}
	for what, n := range map[string]uint64{"late": l.Late, "hurried": l.Hurried, "unsaid": l.Unsaid} {
		out <- prometheus.MustNewConstMetric(patternEvents, prometheus.CounterValue, float64(n), what)
	}
}
