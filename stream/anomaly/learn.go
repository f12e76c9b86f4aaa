package anomaly

import (
	"math"
	"slices"
	"strings"

	"pando/event"
	"pando/stream"
)

// learn takes in what the root knows of an origin, as far as there is room.
func (e *Engine) learn(o *origin, x Expectations) {
	mine := Expectations{Since: o.since, Floor: o.floor}
	if x.betterKnown(&mine) {
		o.since, o.floor = x.Since, x.Floor
	}
	e.relearn(o)
	o.partial = o.partial || x.Partial
	for _, c := range x.Codes {
		if _, ok := o.codes[c]; !ok && !e.remember(o, c) {
			break
		}
	}
	e.judge(o)
	for i := range x.Speakers {
		known := &x.Speakers[i]
		_, sp := e.speaker(o, known.Source, known.Entity)
		if sp == nil {
			e.refused.Speakers++
			continue
		}
		if sp.Last == math.MinInt64 { // not heard here
			sp.Speaker = *known
		} else {
			sp.Speaker = mergeSpeaker(sp.Speaker, *known)
			e.endHeard(sp, known.Open)
		}
		_, sp.expected = e.patience(sp)
		sp.touched = e.now
	}
	for i := range x.Tests {
		e.recall(o, &x.Tests[i])
	}
	o.learned++
}

// endHeard ends a silence of which the claim tells only after the speaker was
// heard here. The claims of both lanes tell of it; once is enough.
func (e *Engine) endHeard(sp *speaker, open *Finding) {
	if open == nil || sp.Last <= open.Onset.Lo ||
		slices.ContainsFunc(e.pending, func(f Finding) bool { return f.ID == open.ID }) {
		return
	}
	f := open.revise()
	f.Ended = true
	e.pending = append(e.pending, *f)
}

// Expect returns what was learnt of the unit's origin, including what came
// with its claims, for the root to merge and to hand to whoever claims next.
// It copies everything; see [Engine.Learned] for when that is worth it.
func (e *Engine) Expect(unit event.Unit) Expectations {
	o := e.origins[unit.Origin]
	if o == nil {
		return Expectations{}
	}
	x := Expectations{Since: o.since, Floor: o.floor, Partial: o.partial, Codes: o.sortedCodes()}
	for _, s := range o.sortedSources() {
		for _, sp := range s.sortedSpeakers() {
			x.Speakers = append(x.Speakers, sp.Speaker)
		}
	}
	x.Tests = o.knownTests()
	return x
}

// Learned returns a number that rises when [Engine.Expect] has news that the
// root should not miss: a new code or speaker, one that came to be expected,
// a silence or change that began or ended, a test that has learnt enough, and
// every ten minutes what tests learnt since. It does not rise for each event.
func (e *Engine) Learned(unit event.Unit) uint64 {
	if o := e.origins[unit.Origin]; o != nil {
		return o.learned
	}
	return 0
}

func (o *origin) sortedCodes() []stream.Series {
	codes := make([]stream.Series, 0, len(o.codes))
	for c := range o.codes {
		codes = append(codes, c)
	}
	slices.SortFunc(codes, stream.Series.Compare)
	return codes
}

func (o *origin) sortedSources() []*source {
	sources := make([]*source, 0, len(o.sources))
	for _, s := range o.sources {
		sources = append(sources, s)
	}
	slices.SortFunc(sources, func(s, t *source) int { return strings.Compare(s.name, t.name) })
	return sources
}

func (s *source) sortedSpeakers() []*speaker {
	speakers := make([]*speaker, 0, len(s.speakers))
	for _, sp := range s.speakers {
		speakers = append(speakers, sp)
	}
	slices.SortFunc(speakers, func(a, b *speaker) int { return strings.Compare(a.Entity, b.Entity) })
	return speakers
}

// joinKey makes one key of names, none of which holds the separator's bytes
// by accident: names are UTF-8.
func joinKey(names ...string) string { return strings.Join(names, "\xff") }

// satAdd adds without wrapping round.
func satAdd(a, b int64) int64 {
	switch c := a + b; {
	case a > 0 && b > 0 && c < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && c >= 0:
		return math.MinInt64
	default:
		return c
	}
}
