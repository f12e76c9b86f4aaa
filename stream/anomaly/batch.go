package anomaly

import (
	"pando/event"
	"pando/stream"
)

// batch is the one that is observed.
type batch struct {
	arrival *stream.Arrival
	lines   []line  // of its unit, by their numbers
	origin  *origin // nil before the first event that is observed
	claimed bool    // the unit is, since it is present
	calm    []calm  // by the lines of the batch
}

// calm is a line of a batch of which nothing is to be told but when its speaker
// spoke, and how many requests it is of.
type calm struct {
	is      bool
	ratios  bool
	source  *source
	speaker *speaker
}

// Begin makes a, whose lines must have numbers, the batch whose events are observed
// next.
func (e *Engine) Begin(a *stream.Arrival) {
	e.batch = batch{arrival: a, lines: e.lines.Of(&a.Sums), calm: e.batch.calm[:0]}
}

// enter begins with the batch's first event, and reports whether there is room for
// its origin.
func (e *Engine) enter() bool {
	a := e.batch.arrival
	e.now = max(e.now, a.At)
	o := e.origin(a.Unit.Origin)
	if o == nil {
		return false
	}
	o.heard = e.now
	if o.since == 0 {
		o.since = e.now
		o.learned++
	}
	e.batch.origin = o
	if int(a.Unit.Lane) < event.Lanes {
		l := &o.lanes[a.Unit.Lane]
		e.batch.claimed = l.claimed && l.unit == a.Unit
	}
	return true
}

// ObserveAll observes all events of the batch that [Engine.Begin] began, of which
// none is a heartbeat or a loss, and does what [Engine.Observe] does, event by
// event, at a fraction of its price. What is found is told with the number of its
// event.
func (e *Engine) ObserveAll(found func(i int, fs []Finding)) {
	a := e.batch.arrival
	if !e.enter() {
		e.refused.Origins += uint64(a.Count)
		return
	}
	e.sort()
	for i, n := range a.Sums.LineOf {
		var fs []Finding
		switch c := &e.batch.calm[n]; {
		case !c.is:
			fs = e.Observe(i)
		case e.cfg.Silence.Enabled && !e.goesOn(c, i):
			s := e.sighting(i)
			fs = e.hear(e.batch.origin, &e.batch.lines[a.Sums.Numbers[n]], &s, nil)
		}
		if len(fs) > 0 {
			found(i, fs)
		}
	}
	for n := range e.batch.calm {
		if c := &e.batch.calm[n]; c.is {
			if e.note(c.speaker); c.ratios {
				e.measureLine(n)
			}
		}
	}
}

// End lets go of the batch that [Engine.Begin] began.
func (e *Engine) End() { e.batch = batch{calm: e.batch.calm} }

// sort finds out which lines are calm: all at once, so that the processor waits for
// the memory of many of them at a time.
func (e *Engine) sort() {
	a := e.batch.arrival
	for n, number := range a.Sums.Numbers {
		ln := &e.batch.lines[number]
		if !ln.looked {
			e.look(ln, series(a, n))
		}
		if ln.speaker == nil { // whether there is one may decide: what is remembered may not
			e.batch.origin.find(ln, a.Sums.Line(n))
		}
		c := calm{ratios: ln.ratios, source: ln.source, speaker: ln.speaker}
		c.is = !ln.ruled && (c.speaker != nil || !e.cfg.Silence.Enabled)
		for _, p := range a.Sums.Parts(n) {
			c.is = c.is && p.Backlog == 0 && p.Severity < ln.stepped &&
				!(e.cfg.FirstSeen.Enabled && p.Severity >= event.Severity(e.cfg.FirstSeen.MinSeverity))
		}
		e.batch.calm = append(e.batch.calm, c)
	}
}

// series is that of the line at a place of a batch.
func series(a *stream.Arrival, place int) stream.Series { return a.Sums.Line(place).Series() }

// find looks up a line's source and speaker, if there are any.
func (o *origin) find(ln *line, names stream.Line) {
	if ln.source = o.sources[names.Source]; ln.source != nil {
		ln.speaker = ln.source.speakers[names.Entity]
	}
}

// goesOn does what [Engine.hear] does with event i of a calm line if its speaker
// goes on with the message that it is at, as nearly always, or is not observed, and
// reports whether it did.
func (e *Engine) goesOn(c *calm, i int) bool {
	sp, src, point := c.speaker, c.source, e.point(i)
	if sp.Open != nil || point < sp.Last || point == sp.mark {
		return false
	}
	switch live := src.observed && point >= src.since; {
	case !live:
		sp.stretch = 0
	case sp.stretch != src.stretch || point-sp.mark >= int64(e.cfg.Silence.Grain):
		return false
	}
	sp.Events++
	sp.Last, sp.behind = point, i+1
	if due := satAdd(point, int64(e.cfg.Silence.Floor)); due < src.next {
		src.next = due
	}
	return true
}

// note makes up for what goesOn leaves to be done once a batch.
func (e *Engine) note(sp *speaker) {
	if sp == nil || sp.behind == 0 {
		return
	}
	s := e.sighting(sp.behind - 1)
	sp.touched, sp.ref, sp.signal, sp.behind = e.now, s.ref(), s.series.Signal, 0
}

// measureLine shows the events of a calm line to its tests: those are of ratios,
// which only count, and count a part at once if all of it lies in an observation.
func (e *Engine) measureLine(n int) {
	a, o := e.batch.arrival, e.batch.origin
	ln := &e.batch.lines[a.Sums.Numbers[n]]
	src := ln.source
	if src != nil && !(e.batch.claimed && src.observed) {
		return
	}
	for _, p := range a.Sums.Parts(n) {
		if src == nil || p.Latest > e.now || !e.inside(src, p.Earliest) || !e.inside(src, p.Latest) {
			for _, i := range p.Events {
				if s := e.sighting(int(i)); s.severity >= ln.floor {
					e.measure(o, ln, &s, nil)
				}
			}
			continue
		}
		first, last := a.First+uint64(p.Events[0]), a.First+uint64(p.Events[len(p.Events)-1])
		for i := range ln.by.probes {
			probe := &ln.by.probes[i]
			if probe.spec.kind != ratioTest {
				continue // the line is below its floor
			}
			t := probe.test
			if t == nil {
				if t = e.tested(o, src, probe, series(a, n)); t == nil {
					e.refused.Tests += uint64(len(p.Events))
					continue
				}
			}
			e.join(o, t, p.Earliest, nil)
			e.request(o, t, requests{point: p.Earliest, count: int64(len(p.Events)), failed: probe.failed, first: first, last: last})
		}
	}
}
