//go:build !zos

package root

import (
	"fmt"
	"slices"
	"sync"

	"pando/root/consensus"
	"pando/stream/anomaly"
	"pando/stream/cep"
	"pando/tree/custody"
	"pando/tree/tap"
	"pando/tree/wire"
)

const (
	// maxSamples bounds the detection times that percentiles are made of.
	maxSamples = 4096
	// maxTapped bounds the series of one section that a tap shows.
	maxTapped = 64
)

// Detections tells how long findings took, from what decided them (an event's
// time, or a silence's deadline) to their commit, in milliseconds of root
// time. They are those that were committed while this root led.
type Detections struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// observer tells people what happens on this root: log lines, metrics, taps.
// What it knows is lost at a restart, and nothing depends on it.
type observer struct {
	r     *Root
	marks chan mark // capacity 1: the newest mark that wants a vote

	mu      sync.Mutex
	samples []int64 // nanoseconds; a ring
	seen    uint64
	max     int64
}

func newObserver(r *Root) *observer { return &observer{r: r, marks: make(chan mark, 1)} }

func (o *observer) hooks() hooks {
	return hooks{Committed: o.committed, Changed: o.changed, Judged: o.judged, Marked: o.marked, Voted: o.voted, Cloned: o.cloned, Booked: o.r.turn, Exchanged: o.r.directoryChanged}
}

// isNews tells what happens from what a restart applies again.
func (o *observer) isNews(index uint64) bool { return index > o.r.live.Load() }

// observed announces findings as they arrive: not committed yet.
func (o *observer) observed(relay string, fs []anomaly.Finding) {
	o.eachFinding("observed", relay, fs)
}

// retracted takes back what was observed and could not be committed here.
func (o *observer) retracted(relay string, fs []anomaly.Finding) {
	o.eachFinding("retracted", relay, fs)
}

func (o *observer) eachFinding(what, relay string, fs []anomaly.Finding) {
	for i := range fs {
		f := &fs[i]
		o.r.log.Debug("finding", "what", what, "relay", relay, "id", f.ID.String(), "entity", f.Series.Entity, "signal", f.Series.Signal)
		o.tapFinding(what, f)
	}
}

func (o *observer) tapFinding(what string, f *anomaly.Finding) {
	if !o.r.tap.Watched() {
		return
	}
	o.r.tap.Publish(tap.Item{Node: o.r.name, What: "finding", Time: tap.Time(f.Point), Entity: f.Series.Entity, Signal: f.Series.Signal,
		Severity: int(f.Severity), Peer: f.Peer, Text: what + ": " + f.Summary})
}

// committed announces a finding that a quorum has.
func (o *observer) committed(f *anomaly.Finding, at consensus.At, first bool) {
	if !o.isNews(at.Index) {
		return
	}
	o.tapFinding("committed", f)
	if !first || !o.r.leading.Load() || f.Detector == cep.DetectorPattern {
		return // a pattern waits for the watermark by its nature
	}
	took := max(o.r.time.Now()-f.Decided, 0)
	o.r.count.detection.Observe(float64(took) / 1e9)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.samples) < maxSamples {
		o.samples = append(o.samples, took)
	} else {
		o.samples[o.seen%maxSamples] = took
	}
	o.seen++
	o.max = max(o.max, took)
}

// Detections returns the figures since the start.
func (r *Root) Detections() Detections {
	o := r.watch
	o.mu.Lock()
	sorted := slices.Clone(o.samples)
	d := Detections{Count: o.seen, Max: float64(o.max) / 1e6}
	o.mu.Unlock()
	if len(sorted) > 0 {
		slices.Sort(sorted)
		d.P50 = float64(sorted[len(sorted)/2]) / 1e6
		d.P99 = float64(sorted[min(len(sorted)-1, len(sorted)*99/100)]) / 1e6
	}
	return d
}

// changed announces a committed change of an incident.
func (o *observer) changed(c *Change) {
	if !o.isNews(c.Index) {
		return
	}
	o.r.count.changes.WithLabelValues(c.Kind).Inc()
	attrs := []any{"what", c.Kind, "incident", c.ID, "index", c.Index}
	if c.Into != "" {
		attrs = append(attrs, "other", c.Into)
	}
	if c.First != "" {
		attrs = append(attrs, "first", c.First, "findings", c.Findings, "summary", c.Summary)
	}
	if c.Kind == "updated" {
		o.r.log.Debug("incident", attrs...)
		return
	}
	o.r.log.Info("incident", attrs...)
}

// judged shows a section that was judged.
func (o *observer) judged(s *wire.Section, j *wire.Judgement) {
	o.r.count.sections.WithLabelValues(j.Verdict.String()).Inc()
	if j.Verdict == custody.Apply {
		o.r.count.events.Add(float64(s.Rows.Events))
	}
	if !o.r.tap.Watched() {
		return
	}
	it := tap.Item{Node: o.r.name, What: "section", Unit: s.Head.Unit.String(), Seq: s.Head.To,
		Text: fmt.Sprintf("%d to %d by %s: %s", s.Head.From, s.Head.To, s.Head.Relay, j.Verdict)}
	if len(s.Rows.Rows) == 0 {
		it.Time = tap.Time(o.r.time.Now())
		o.r.tap.Publish(it)
	}
	for i := range s.Rows.Rows[:min(len(s.Rows.Rows), maxTapped)] {
		row := &s.Rows.Rows[i]
		it.Time, it.Entity, it.Signal, it.Severity = tap.Time(row.Pane.Start()), row.Series.Entity, row.Series.Signal, int(row.Severity)
		it.Value = row.Sum.Float()
		o.r.tap.Publish(it)
	}
}

// marked asks for this member's vote on a mark.
func (o *observer) marked(m *mark) {
	if !o.isNews(m.index) || !o.r.votes() {
		return
	}
	o.ask(m)
}

// ask has this member vote on a mark.
func (o *observer) ask(m *mark) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.marks: // an older one that has waited
	default:
	}
	o.marks <- *m
}

func (o *observer) voted(name string, number uint64, agrees bool) {
	if agrees {
		o.r.count.agreed.Inc()
		return
	}
	o.r.count.disagreed.Inc()
	o.r.log.Error("a member's state differs from this one's", "member", name, "mark", number)
}

// cloned is the alarm for an agent that has a double.
func (o *observer) cloned(agent string, at consensus.At) {
	if !o.isNews(at.Index) || !o.r.leading.Load() {
		return
	}
	o.r.log.Error("another node uses the certificate of this agent: each closes the other's log", "agent", agent,
		"hint", "find the copy, issue a certificate of its own with pando ca issue, and start it with an empty dir")
}

// claimed takes note of a claim's answer.
func (o *observer) claimed(relay string, a *wire.ClaimAnswer) {
	switch {
	case a.Granted:
		o.r.count.claims.WithLabelValues("granted").Inc()
	case a.Closed:
		o.r.count.claims.WithLabelValues("closed").Inc()
		o.r.log.Warn("a WAL id that was replaced is claimed: a late claim, or a cloned agent", "relay", relay, "origin", a.Origin, "wal", a.WAL.String())
	default:
		o.r.count.claims.WithLabelValues("refused").Inc()
		o.r.log.Info("claim refused", "relay", relay, "origin", a.Origin, "wal", a.WAL.String(), "term", a.Term.String(), "known", a.Known.String())
	}
}
