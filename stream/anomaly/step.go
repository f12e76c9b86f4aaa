package anomaly

import (
	"math"

	"pando/stream"
	"pando/stream/detect"
)

// measure shows an event to the tests of its line, if it lies in an observation
// of its source: not before that began, nor after its lane missed heartbeats.
func (e *Engine) measure(o *origin, ln *line, s *sighting, out []Finding) []Finding {
	if ln.source == nil {
		ln.source = o.source(s.source())
	}
	src := ln.source
	if src == nil {
		e.refused.Tests++
		return out
	}
	if !e.inside(src, s.point) {
		return out
	}
	for i := range ln.by.probes {
		p := &ln.by.probes[i]
		if s.severity < p.floor {
			continue
		}
		t := e.tested(o, src, p, s.series)
		if t == nil {
			e.refused.Tests++
			continue
		}
		begins := t.rate != nil && t.at == 0 && t.stretch != src.stretch
		if out = e.join(o, t, s.point, out); begins {
			continue // the event that starts the clock is not one in its time
		}
		switch p.spec.kind {
		case rateTest:
			out = e.tally(o, t, s, out)
		case ratioTest:
			e.request(o, t, requests{point: s.point, count: 1, failed: p.failed, first: s.seq, last: s.seq})
		default:
			out = e.sample(o, t, s, out)
		}
	}
	return out
}

// inside reports whether an event of the batch that happened at point lies in an
// observation of its source.
func (e *Engine) inside(src *source, point int64) bool {
	return e.batch.claimed && src.observed && point >= src.since &&
		point-src.beats[e.batch.arrival.Unit.Lane].asOf <= int64(e.cfg.Silence.MaxBeat) // or the next heartbeat will say
}

// tested finds or makes the test of a probe; nil if there is no room.
func (e *Engine) tested(o *origin, src *source, p *probe, series stream.Series) *test {
	if p.test == nil {
		p.test = e.test(o, src, p.spec, p.spec.subject(series))
	}
	return p.test
}

// join takes note that a test is at work at a point of the present observation.
func (e *Engine) join(o *origin, t *test, point int64, out []Finding) []Finding {
	t.touched = e.now
	if t.stretch != t.source.stretch {
		out = e.rejoin(o, t, point, out)
	}
	return out
}

// rejoin lets a test go on in a new observation of its source. What came since
// the one before says nothing, nor do requests of which only one lane was seen.
// A rate that was never stepped begins at point, the first event of its series
// or the beginning of the observation.
func (e *Engine) rejoin(o *origin, t *test, point int64, out []Finding) []Finding {
	if t.rate != nil {
		if t.count > 0 {
			out = e.stepTick(o, t, nil, out)
		}
		if t.at == 0 {
			t.rate.Skip(point)
		} else {
			t.rate.Skip(t.source.since)
		}
	}
	t.volumes.list = nil
	t.trail.forgetRefs()
	t.stretch = t.source.stretch
	return out
}

// tally counts an event of a rate. Those of one tick are one step, so that most
// events cost an addition; one that is late counts in the present tick.
func (e *Engine) tally(o *origin, t *test, s *sighting, out []Finding) []Finding {
	tick := s.point / int64(detect.Tick)
	if t.count > 0 && tick > t.tick {
		out = e.stepTick(o, t, s, out)
	}
	if t.count == 0 {
		t.tick = max(t.tick, tick)
		t.present = mark{time: s.point}
	}
	if t.count++; !t.queued {
		e.queue(o, t)
	}
	t.present.see(s.arrival.Unit.Lane, s.seq)
	return out
}

// placed is a test and whose it is.
type placed struct {
	origin *origin
	test   *test
}

// endTicks steps the ticks that are over. It may split a tick whose last events
// are still on their way, which changes nothing: they have no exposure then.
func (e *Engine) endTicks(out []Finding) []Finding {
	kept := e.ticking[:0]
	for _, p := range e.ticking {
		t := p.test
		switch {
		case t.count == 0:
			t.queued = false
		case (t.tick+1)*int64(detect.Tick) > e.now:
			kept = append(kept, p)
		default:
			out = e.stepTick(p.origin, t, nil, out)
			t.queued = false
		}
	}
	clear(e.ticking[len(kept):])
	e.ticking = kept
	return out
}

// stepTick steps the events of a tick.
func (e *Engine) stepTick(o *origin, t *test, s *sighting, out []Finding) []Finding {
	end := (t.tick + 1) * int64(detect.Tick)
	learning := t.rate.Learning()
	c, ok := t.rate.Step(end, t.count)
	t.at = max(t.at, end)
	t.present.to = end
	t.count = 0
	if ok {
		t.trail.add(t.present, c.From)
		out = e.turn(o, t, detect.LevelChange{Change: c}, s, out)
	} else {
		t.trail.add(t.present, t.rate.Since())
	}
	e.stepped(o, t, learning)
	return out
}

// stepIdle steps a rate up to a time before which no event is on its way.
func (e *Engine) stepIdle(o *origin, t *test, now int64, out []Finding) []Finding {
	if t.count > 0 && (t.tick+1)*int64(detect.Tick) <= now {
		out = e.stepTick(o, t, nil, out)
	}
	learning := t.rate.Learning()
	c, ok := t.rate.Step(now, 0)
	t.at = max(t.at, now)
	if ok {
		out = e.turn(o, t, detect.LevelChange{Change: c}, nil, out)
	}
	e.stepped(o, t, learning)
	return out
}

// requests are events of one line and volume.
type requests struct {
	point       int64 // of the earliest
	count       int64
	failed      bool   // all of them
	first, last uint64 // sequences
}

// request counts requests of a ratio. It comes to the same in whatever order the
// events of a batch are counted.
func (e *Engine) request(o *origin, t *test, r requests) {
	v, lane := t.volumes.of(r.point), e.batch.arrival.Unit.Lane
	v.requests += r.count
	if r.failed {
		v.failed += r.count
	}
	v.mark.time = min(v.mark.time, r.point)
	v.mark.see(lane, r.first)
	v.mark.see(lane, r.last)
	if !t.queued {
		e.queue(o, t)
	}
}

// queue lets a test be looked at when what it counts has come to an end.
func (e *Engine) queue(o *origin, t *test) {
	switch {
	case t.count > 0:
		t.queued = true
		e.ticking = append(e.ticking, placed{o, t})
	case len(t.volumes.list) > 0:
		t.queued = true
		t.source.waiting = append(t.source.waiting, t)
	}
}

// stepVolumes steps the requests that both lanes are past.
func (e *Engine) stepVolumes(o *origin, t *test, progress int64, out []Finding) []Finding {
	for t.volumes.end() <= progress {
		t.at = max(t.at, t.volumes.end())
		x := t.volumes.take()
		learning := t.ratio.Learning()
		c, ok := t.ratio.Step(x.requests, x.failed)
		x.mark.to = t.ratio.Test().At()
		if ok {
			t.trail.add(x.mark, c.From)
			out = e.turn(o, t, detect.LevelChange{Change: c}, nil, out)
		} else {
			t.trail.add(x.mark, t.ratio.Test().Since())
		}
		e.stepped(o, t, learning)
	}
	return out
}

// sample steps a value.
func (e *Engine) sample(o *origin, t *test, s *sighting, out []Finding) []Finding {
	learning := t.level.Learning()
	c, ok := t.level.Step(s.arrival.Value[s.at])
	t.at = max(t.at, s.point)
	m := mark{to: t.level.At(), time: s.point}
	m.see(s.arrival.Unit.Lane, s.seq)
	if ok {
		t.trail.add(m, c.From)
		out = e.turn(o, t, c, s, out)
	} else {
		t.trail.add(m, t.level.Since())
	}
	e.stepped(o, t, learning)
	return out
}

// stepped takes note of what a step taught.
func (e *Engine) stepped(o *origin, t *test, learning bool) {
	if t.rate != nil {
		t.source.due = min(t.source.due, t.due())
	}
	in := t.intensity()
	if in == nil || in.Learning() {
		return
	}
	switch {
	case learning:
		o.learned++
	case e.now-o.taught >= teachEvery:
		o.learned++
		o.taught = e.now
	}
}

// advance steps the tests of a source when the heartbeats of all its lanes have
// come to progress: requests that are complete, and rates that fell.
func (e *Engine) advance(o *origin, src *source, progress int64, out []Finding) []Finding {
	kept := src.waiting[:0]
	for _, t := range src.waiting {
		if t.stretch != src.stretch {
			t.volumes.list = nil
		}
		if out = e.stepVolumes(o, t, progress, out); len(t.volumes.list) > 0 {
			kept = append(kept, t)
		} else {
			t.queued = false
		}
	}
	clear(src.waiting[len(kept):])
	src.waiting = kept
	if progress <= src.due {
		return out
	}
	src.due = math.MaxInt64
	for _, t := range src.tests {
		if t.rate == nil {
			continue
		}
		if t.stretch != src.stretch {
			out = e.rejoin(o, t, src.since, out)
		}
		if t.due() < progress {
			out = e.stepIdle(o, t, progress, out)
		}
		src.due = min(src.due, t.due())
	}
	return out
}
