package anomaly

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"pando/event/clock"
	"pando/stream/detect"
)

// turn takes a change that a test found, or the end of one. S is the event that
// decided it, nil if none did.
func (e *Engine) turn(o *origin, t *test, c detect.LevelChange, s *sighting, out []Finding) []Finding {
	var f *Finding
	switch {
	case c.Ended && !t.open():
		return out // of a change that was not told
	case c.Ended:
		f = t.finding.revise()
		f.Ended = true
		if c.Adopted {
			f.Summary = clip(f.Summary+"; usual by now", MaxText)
		}
	case c.Returned && t.finding != nil:
		f = t.finding.revise()
		f.Ended, f.Score = false, c.Score
	default:
		f = e.newChange(o, t, c, s)
	}
	t.say(f, e.now)
	o.learned++
	return append(out, *f)
}

// say makes f what is said of the test's series. Each time counts as later than
// the one before, whatever the clock says, so that relays agree on the latest.
func (t *test) say(f *Finding, now int64) {
	t.finding, t.changed = f, max(now, t.changed+1)
}

func (e *Engine) newChange(o *origin, t *test, c detect.LevelChange, s *sighting) *Finding {
	now := min(t.at, e.now)
	at, refs := t.trail.back(c.From, now)
	onset := clock.Interval{Lo: at, Hi: now}
	if t.rate != nil {
		onset = clock.Interval{Lo: c.From, Hi: min(c.To, e.now)}
	}
	onset.Hi = max(onset.Lo, onset.Hi)
	detector := kindDetectors[t.key.kind]
	f := &Finding{
		ID:       identify(detector, t.key.name, joinKey(o.name, t.source.name, t.key.series.Entity, t.key.series.Signal), onset.Lo),
		Revision: 1, Detector: detector, Rule: t.key.name, Version: logicVersion, Class: t.spec.class,
		Series: t.key.series, Onset: onset, Point: onset.Lo, Decided: onset.Hi, Detected: max(e.now, onset.Hi),
		Score: c.Score, Severity: t.spec.severity,
	}
	f.Baseline, f.Summary = t.describe(&c)
	f.Summary = clip(f.Summary, MaxText)
	for l, r := range refs {
		if r.from > 0 {
			f.Evidence = append(f.Evidence, Ref{Unit: o.lanes[l].unit, From: r.from, To: r.to})
		}
	}
	if s != nil {
		f.Links, f.Peer = s.links(), s.peer()
	}
	return f
}

// describe says what a change is compared with, and what it is.
func (t *test) describe(c *detect.LevelChange) (baseline, summary string) {
	times := number(c.Now/c.Baseline) + " times what is usual"
	share := min(c.Now, 1) // a step at the onset may count whole
	scatter := fmt.Sprintf("variance %s times the mean", number(c.Fano))
	switch {
	case t.rate != nil:
		span := time.Duration(c.To - c.From).Round(time.Millisecond)
		return fmt.Sprintf("%s events/s; %s", number(c.Baseline), scatter),
			fmt.Sprintf("%s events/s of %s for %v, %s", number(c.Now), t.key.series.Signal, span, times)
	case t.ratio != nil:
		return fmt.Sprintf("%s %% of requests fail; %s", number(100*c.Baseline), scatter),
			fmt.Sprintf("%s %% of %d requests failed, %s", number(100*share), c.To-c.From, times)
	}
	lo, hi := t.level.Fences()
	low, high := number(lo), number(hi)
	where, word := fmt.Sprintf("beyond %s to %s", low, high), "less scattered"
	switch {
	case c.Aspect == detect.SpreadShift && c.Up:
		word = "more scattered"
	case c.Aspect == detect.LevelShift && c.Up:
		where, word = "above "+high, "higher"
	case c.Aspect == detect.LevelShift:
		where, word = "below "+low, "lower"
	}
	return fmt.Sprintf("%s %% %s", number(100*c.Baseline), where),
		fmt.Sprintf("%s: %s %% of %d values of %s are %s", word, number(100*share), c.To-c.From, t.key.series.Signal, where)
}

// number formats v to three digits, as people write it. Strconv's digits are
// exact, so it is the same everywhere.
func number(v float64) string {
	if a := math.Abs(v); a >= 100 && a < 1e9 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
