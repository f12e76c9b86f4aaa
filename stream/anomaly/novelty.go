package anomaly

import (
	"maps"
	"slices"
	"time"

	"pando/event"
	"pando/stream"
)

// novelty is an open finding about a code never seen before.
type novelty struct {
	finding *Finding // immutable
	last    int64    // root time of its latest arrival
}

// meet handles an event whose severity is enough to be remembered. A code is
// new if the origin never showed it, under any WAL id, whoever its relay was.
// Until the unit is claimed nobody here knows that, so what looks new is kept
// aside until the claim tells; codes that come as backlog, which says nothing
// of now, are only learnt.
func (e *Engine) meet(o *origin, ln *line, s *sighting, out []Finding) []Finding {
	if len(o.novel) > 0 {
		if n := o.novel[s.series]; n != nil {
			n.last = e.now
			return out
		}
	}
	if ln.known {
		return out
	}
	if _, ok := o.codes[s.series]; ok {
		ln.known = true
		return out
	}
	matters := !s.backlog && stream.Match(e.cfg.FirstSeen.Signals, s.series.Signal)
	if matters && !s.claimed && len(o.unjudged) < maxNovel {
		if o.unjudged[s.series] == nil {
			o.unjudged[s.series] = e.newNovelty(o, s)
		}
		return out
	}
	fresh := matters && s.claimed && e.tells(o, s.point)
	if !e.remember(o, s.series) {
		e.refused.Codes++
		return out
	}
	ln.known = true
	if !fresh {
		return out
	}
	if f := e.announce(o, e.newNovelty(o, s)); f != nil {
		out = append(out, *f)
	}
	return out
}

// tells reports whether the origin was known well enough at an event's time to
// call its code new. When it arrives does not matter: a code that was said
// while the origin was learnt is not news because a disk or a network held it
// up.
func (e *Engine) tells(o *origin, point int64) bool {
	return !o.partial && point-o.since >= int64(e.cfg.FirstSeen.LearnFor)
}

// announce opens a novelty, if there is room for it.
func (e *Engine) announce(o *origin, f *Finding) *Finding {
	if len(o.novel) >= maxNovel {
		e.refused.Novelties++
		return nil
	}
	o.novel[f.Series] = &novelty{finding: f, last: e.now}
	e.wake = min(e.wake, satAdd(e.now, int64(e.cfg.Hold)))
	return f
}

// judge decides on the codes that came before the claim, now that it has told
// what was ever seen of the origin.
func (e *Engine) judge(o *origin) {
	for _, c := range slices.SortedFunc(maps.Keys(o.unjudged), stream.Series.Compare) {
		f := o.unjudged[c]
		delete(o.unjudged, c)
		if _, known := o.codes[c]; known {
			continue
		}
		if !e.remember(o, c) {
			e.refused.Codes++
			continue
		}
		if !e.tells(o, f.Point) {
			continue
		}
		if f := e.announce(o, f); f != nil {
			e.pending = append(e.pending, *f)
		}
	}
}

// remember keeps a code, or says that there is no room; from then on nothing
// can be called new for this origin.
func (e *Engine) remember(o *origin, s stream.Series) bool {
	if len(o.codes) >= MaxCodes || e.codes >= e.cfg.MaxSeries {
		if !o.partial {
			o.partial = true
			o.learned++
		}
		return false
	}
	o.codes[s] = struct{}{}
	e.codes++
	o.learned++
	return true
}

func (e *Engine) newNovelty(o *origin, s *sighting) *Finding {
	return &Finding{
		ID:       identify(DetectorFirstSeen, "", joinKey(o.name, s.series.Entity, s.series.Signal), s.point),
		Revision: 1, Detector: DetectorFirstSeen, Version: logicVersion, Class: Novelty,
		Series: s.series, Onset: s.interval(), Point: s.point, Decided: s.point, Detected: e.now,
		Score: 1000, Severity: s.severity,
		Baseline: "codes of this origin since " + time.Unix(0, o.since).UTC().Format(time.RFC3339),
		Summary:  clip("first seen: "+s.series.Signal, MaxText),
		Evidence: []Ref{s.ref()}, Links: s.links(), Peer: s.peer(),
	}
}

// endNovelties ends those that did not come again for the hold.
func (e *Engine) endNovelties(out []Finding) []Finding {
	for _, o := range e.origins {
		for series, n := range o.novel {
			end := satAdd(n.last, int64(e.cfg.Hold))
			if e.now < end {
				e.wake = min(e.wake, end)
				continue
			}
			f := n.finding.revise()
			f.Ended = true
			out = append(out, *f)
			delete(o.novel, series)
		}
	}
	return out
}

// relearn starts learning anew when codes were kept from a higher severity up
// than is asked for now: the lower ones would all look new.
func (e *Engine) relearn(o *origin) {
	least := event.Severity(e.cfg.FirstSeen.MinSeverity)
	if o.floor > least {
		o.since = 0
	}
	o.floor = least
}
