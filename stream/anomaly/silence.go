package anomaly

import (
	"fmt"
	"math"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/stream"
)

// What a heartbeat says of its source; see [event.Batch].
const readable = "readable"

// beatAhead is how far a heartbeat may be ahead of the latest tick or arrival.
// What is further ahead comes from a wrong clock, and must not pass deadlines.
const beatAhead = int64(time.Second)

// source is one file or listener of an agent. Its speakers are observed while
// the session is present, the root's expectations are known, and the
// heartbeats of every lane say readable and move on without a long step.
type source struct {
	name     string
	beats    [event.Lanes]beat
	observed bool
	since    int64  // root time at which the present observation began
	stretch  uint64 // its number; pauses are measured within one only
	speakers map[string]*speaker
	next     int64 // accelerator: no silence is due before this

	tests   map[testKey]*test
	waiting []*test // accelerator: ratios with requests that are not stepped
	due     int64   // accelerator: no step without events says anything before this
}

// beat is the latest word of one lane on a source.
type beat struct {
	readable bool
	asOf     int64 // all events appended up to this root time were stepped
}

// speaker is one entity heard through one source.
type speaker struct {
	Speaker
	expected bool   // as of its last message
	touched  int64  // root time at which it was heard or expected last; for ageing
	mark     int64  // event time at which its present message began
	stretch  uint64 // the observation in which Last was heard; 0 for none
	ref      Ref    // its latest event; zero if another relay stepped that
	signal   string // of the same

	// While a batch is observed: its latest event taken in whose ref and signal are
	// not noted yet, from 1; 0 for none.
	behind int
}

// hear notes that a speaker spoke. Rhythm is measured within one unbroken
// observation, between events that are no backlog. A message is what comes
// within a grain of its start; the pause before the next one is measured from
// its last event, and counts as at least a grain.
func (e *Engine) hear(o *origin, ln *line, s *sighting, out []Finding) []Finding {
	if ln.speaker == nil {
		ln.source, ln.speaker = e.speaker(o, s.source(), s.series.Entity)
		if ln.speaker == nil {
			e.refused.Speakers++
			return out
		}
	}
	src, sp := ln.source, ln.speaker
	sp.Events++
	sp.touched = e.now
	if s.point < sp.Last || s.point == sp.Last && sp.Open != nil {
		return out // older news
	}
	last, grain := sp.Last, int64(e.cfg.Silence.Grain)
	live := src.observed && !s.backlog && s.point >= src.since
	switch {
	case sp.Open != nil:
		f := sp.Open.revise()
		f.Ended = true
		out = append(out, *f)
		sp.Open, sp.mark = nil, s.point
		sp.rhythm.ended(s.point-last, s.point)
		o.learned++
	case !live:
	case sp.stretch != src.stretch:
		sp.mark = s.point
	case s.point-sp.mark >= grain:
		sp.rhythm.add(max(s.point-last, grain), s.point)
		sp.mark = s.point
	}
	sp.stretch, sp.behind = 0, 0
	if live {
		sp.stretch = src.stretch
	}
	sp.Last, sp.ref, sp.signal = s.point, s.ref(), s.series.Signal
	if sp.mark == s.point {
		if _, ok := e.patience(sp); ok != sp.expected {
			sp.expected = ok
			o.learned++
		}
	}
	src.next = min(src.next, satAdd(s.point, int64(e.cfg.Silence.Floor)))
	return out
}

// speaker finds or makes a speaker and its source; nil if there is no room.
func (e *Engine) speaker(o *origin, sourceName, entity string) (*source, *speaker) {
	src := o.source(sourceName)
	if src == nil {
		return nil, nil
	}
	sp := src.speakers[entity]
	if sp == nil {
		if e.speakers >= e.cfg.MaxSpeakers || o.speakers() >= MaxSpeakers {
			return nil, nil
		}
		sp = &speaker{Speaker: Speaker{Source: sourceName, Entity: entity, Since: e.now, Last: math.MinInt64}}
		src.speakers[entity] = sp
		e.speakers++
		o.learned++
	}
	return src, sp
}

func (o *origin) speakers() int {
	n := 0
	for _, s := range o.sources {
		n += len(s.speakers)
	}
	return n
}

func (o *origin) source(name string) *source {
	s := o.sources[name]
	if s == nil && len(o.sources) < MaxSources {
		s = newSource(name)
		o.sources[name] = s
	}
	return s
}

func newSource(name string) *source {
	return &source{name: name, speakers: make(map[string]*speaker), tests: make(map[testKey]*test), next: math.MinInt64, due: math.MinInt64}
}

// Heartbeat steps what an agent says of one of its sources in one lane. AsOf
// is the lower end of its Stamp.Hi in root time: everything of this lane and
// source that was appended up to then has been stepped. A speaker is silent
// when the heartbeats of all lanes are past its deadline, so that no event on
// its way can be overlooked.
func (e *Engine) Heartbeat(unit event.Unit, ev *event.Event, asOf int64) []Finding {
	o := e.origins[unit.Origin]
	if !e.cfg.observes() || o == nil || int(unit.Lane) >= event.Lanes {
		return nil
	}
	o.heard = e.now
	if l := &o.lanes[unit.Lane]; !l.present || l.unit != unit {
		return nil
	}
	s := o.source(ev.Source)
	if s == nil {
		e.refused.Speakers++
		return nil
	}
	asOf = max(min(asOf, e.now+beatAhead), 0)
	b := &s.beats[unit.Lane]
	if b.readable && asOf-b.asOf > int64(e.cfg.Silence.MaxBeat) {
		s.observed = false // nobody can say what went on in between
	}
	if b.readable {
		asOf = max(asOf, b.asOf)
	}
	*b = beat{readable: ev.Signal == readable, asOf: asOf}
	o.watch(s)
	if !s.observed {
		return nil
	}
	var out []Finding
	progress := s.progress()
	if e.cfg.Silence.Enabled && progress > s.next {
		out = e.deadlines(o, s, progress)
	}
	out = e.advance(o, s, progress, out)
	sortFindings(out)
	return out
}

// Lost steps an event of kind [event.Loss]: its source said what is missing, so
// nobody is silent because of it, and no pause can be measured across it. The
// observation begins anew with the next heartbeat.
func (e *Engine) Lost(unit event.Unit, ev *event.Event) {
	o := e.origins[unit.Origin]
	if o == nil {
		return
	}
	if s := o.sources[ev.Source]; s != nil {
		s.observed = false
	}
}

// progress is the root time up to which all lanes of a source were stepped.
func (s *source) progress() int64 {
	return min(s.beats[event.Critical].asOf, s.beats[event.Bulk].asOf)
}

// watch begins or ends the observation of a source. All clocks start anew
// when it begins.
func (o *origin) watch(s *source) {
	for l := range s.beats {
		if !o.lanes[l].present || !o.lanes[l].claimed || !s.beats[l].readable {
			s.observed = false
			return
		}
	}
	if s.observed {
		return
	}
	s.observed = true
	s.since = max(s.beats[event.Critical].asOf, s.beats[event.Bulk].asOf)
	s.stretch++
	s.next, s.due = math.MinInt64, math.MinInt64
}

// patience returns how long a speaker may pause, and whether it is expected
// at all: known for long enough, with enough events and a steady rhythm that
// is not too slow to watch.
func (e *Engine) patience(sp *speaker) (int64, bool) {
	c := &e.cfg.Silence
	if sp.Events < uint64(c.MinEvents) || sp.Last == math.MinInt64 || sp.Last-sp.Since < int64(c.LearnFor) {
		return 0, false
	}
	gap, steady := sp.rhythm.typical()
	d := max(int64(c.Floor), c.Factor*gap)
	return d, steady && d <= int64(c.Ceiling)
}

// deadlines finds the speakers of a source whose deadline has passed.
func (e *Engine) deadlines(o *origin, s *source, progress int64) []Finding {
	s.next = math.MaxInt64
	var out []Finding
	for _, sp := range s.speakers {
		if sp.Open != nil {
			continue
		}
		d, expected := e.patience(sp)
		if !expected {
			continue // only an event can change that, and it lowers next
		}
		start := max(sp.Last, s.since)
		deadline := satAdd(start, d)
		if progress <= deadline {
			s.next = min(s.next, deadline)
			continue
		}
		sp.Open = e.newSilence(o, sp, start, d, progress)
		o.learned++
		out = append(out, *sp.Open)
	}
	return out
}

func (e *Engine) newSilence(o *origin, sp *speaker, start, patience, progress int64) *Finding {
	gap, _ := sp.rhythm.typical()
	onset := clock.Interval{Lo: sp.Last, Hi: satAdd(start, gap)}
	f := &Finding{
		ID:       identify(DetectorSilence, "", joinKey(o.name, sp.Source, sp.Entity), sp.Last),
		Revision: 1, Detector: DetectorSilence, Version: logicVersion, Class: Silence,
		Series: stream.Series{Entity: sp.Entity},
		Onset:  onset, Point: onset.Lo + (onset.Hi-onset.Lo)/2,
		Decided: satAdd(start, patience), Detected: max(e.now, progress),
		Score: (progress - start) / max(patience/1000, 1), Severity: event.Severity(e.cfg.Silence.Severity),
		Baseline: fmt.Sprintf("spoke %d times, pausing at most %v", sp.Events, time.Duration(gap)),
		Summary:  fmt.Sprintf("silent for %v", time.Duration(progress-start).Round(time.Millisecond)),
	}
	if sp.signal != "" {
		f.Summary = clip(f.Summary+" after "+sp.signal, MaxText)
	}
	if sp.ref != (Ref{}) {
		f.Evidence = []Ref{sp.ref}
	}
	return f
}

// ageSpeakers drops the speakers of a source that were neither heard nor
// expected since limit, and ends what was said of them.
func (e *Engine) ageSpeakers(o *origin, s *source, limit int64, out []Finding) []Finding {
	for entity, sp := range s.speakers {
		if sp.touched == 0 { // before any time was given
			sp.touched = e.now
		}
		if sp.touched >= limit {
			continue
		}
		if sp.Open != nil {
			f := sp.Open.revise()
			f.Ended, f.Summary = true, clip(f.Summary+"; no longer expected", MaxText)
			out = append(out, *f)
		}
		delete(s.speakers, entity)
		e.speakers--
		e.lines.Forget()
		o.learned++
	}
	return out
}
