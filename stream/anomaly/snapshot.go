package anomaly

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
)

const snapshotVersion = 2

// Snapshot writes the whole state, sorted: equal states have equal bytes. An
// engine of the same configuration that restores it goes on identically.
func (e *Engine) Snapshot(w *pack.Writer) {
	w.Uint(snapshotVersion)
	w.Int(e.now)
	w.Int(e.aged)
	for _, n := range e.refused.counters() {
		w.Uint(*n)
	}
	w.Array(len(e.pending))
	for _, f := range e.pending {
		AppendFinding(w, f)
	}
	names := make([]string, 0, len(e.origins))
	for name := range e.origins {
		names = append(names, name)
	}
	slices.Sort(names)
	w.Array(len(names))
	for _, name := range names {
		appendOrigin(w, e.origins[name])
	}
	windows := make([]*window, 0, len(e.windows))
	for _, win := range e.windows {
		windows = append(windows, win)
	}
	slices.SortFunc(windows, func(a, b *window) int { return a.key.compare(b.key) })
	w.Array(len(windows))
	for _, win := range windows {
		appendWindow(w, win)
	}
}

// counters lists the fields in the order of the format.
func (r *Refused) counters() []*uint64 {
	return []*uint64{&r.Origins, &r.Speakers, &r.Codes, &r.Novelties, &r.Windows, &r.Late, &r.Tests}
}

// Restore replaces the state by what [Engine.Snapshot] wrote; after an error
// the engine is as before. The windows of rules that the engine's
// configuration does not have, or has with another span, are dropped, and so
// are tests that count something else now; tests with other options keep their
// baselines; a lower first_seen.min_severity makes origins learn anew.
func (e *Engine) Restore(r *pack.Reader) error {
	fresh, err := NewEngine(e.cfg)
	if err != nil {
		return err
	}
	readVersion(r, "snapshot version", snapshotVersion)
	fresh.now = readTime(r, "now")
	fresh.aged = readTime(r, "aged")
	for _, n := range fresh.refused.counters() {
		*n = r.Uint("refused", math.MaxUint64)
	}
	for n := r.Array("pending", maxTracked); n > 0 && r.Err() == nil; n-- {
		fresh.pending = append(fresh.pending, ReadFinding(r))
	}
	var last string
	for i := range r.Array("origins", maxOrigins) {
		o := fresh.readOrigin(r)
		if r.Err() == nil && i > 0 && o.name <= last {
			r.Fail("origins", errors.New("not in order"))
		}
		if r.Err() != nil {
			break
		}
		fresh.relearn(o)
		fresh.origins[o.name], last = o, o.name
	}
	fresh.readWindows(r)
	if err := r.Err(); err != nil {
		return fmt.Errorf("restore detectors: %w", err)
	}
	*e = *fresh
	return nil
}

func appendOrigin(w *pack.Writer, o *origin) {
	w.String(o.name)
	w.Int(o.since)
	w.Int(o.heard)
	w.Uint(uint64(o.floor))
	w.Bool(o.partial)
	w.Uint(o.learned)
	w.Int(o.taught)
	for _, l := range o.lanes {
		stream.AppendUnit(w, l.unit)
		w.Bool(l.present)
		w.Bool(l.claimed)
	}
	codes := o.sortedCodes()
	w.Array(len(codes))
	for _, c := range codes {
		appendSeries(w, c)
	}
	w.Array(len(o.novel))
	for _, c := range codes { // each novelty is of a remembered code
		if n := o.novel[c]; n != nil {
			appendSeries(w, c)
			AppendFinding(w, *n.finding)
			w.Int(n.last)
		}
	}
	w.Array(len(o.unjudged))
	for _, c := range slices.SortedFunc(maps.Keys(o.unjudged), stream.Series.Compare) {
		AppendFinding(w, *o.unjudged[c])
	}
	sources := o.sortedSources()
	w.Array(len(sources))
	for _, s := range sources {
		appendSource(w, s)
	}
}

func (e *Engine) readOrigin(r *pack.Reader) *origin {
	o := newOrigin(readText(r, "origin", event.MaxName))
	o.since = readTime(r, "since")
	o.heard = readTime(r, "heard")
	o.floor = event.Severity(r.Uint("floor", uint64(event.MaxSeverity)))
	o.partial = r.Bool("partial")
	o.learned = r.Uint("learned", math.MaxUint64)
	o.taught = readTime(r, "taught")
	for i := range o.lanes {
		o.lanes[i] = lane{unit: stream.ReadUnit(r), present: r.Bool("present"), claimed: r.Bool("claimed")}
	}
	for _, c := range readSorted(r, "codes", MaxCodes, readSeries, stream.Series.Compare) {
		o.codes[c] = struct{}{}
	}
	e.codes += len(o.codes)
	for range r.Array("novelties", maxNovel) {
		s := readSeries(r)
		f := ReadFinding(r)
		n := &novelty{finding: &f, last: readTime(r, "last")}
		if _, ok := o.codes[s]; !ok && r.Err() == nil {
			r.Fail("novelties", fmt.Errorf("%v is not among the codes", s))
		}
		if r.Err() != nil {
			return o
		}
		o.novel[s] = n
	}
	for range r.Array("unjudged", maxNovel) {
		f := ReadFinding(r)
		if r.Err() != nil {
			return o
		}
		o.unjudged[f.Series] = &f
	}
	for _, s := range readSorted(r, "sources", MaxSources, e.readSource,
		func(s, t *source) int { return strings.Compare(s.name, t.name) }) {
		o.sources[s.name] = s
		e.speakers += len(s.speakers)
		e.tests += len(s.tests)
		o.tests += len(s.tests)
		for _, t := range s.sortedTests() {
			e.queue(o, t)
		}
	}
	return o
}

func appendSource(w *pack.Writer, s *source) {
	w.String(s.name)
	for _, b := range s.beats {
		w.Bool(b.readable)
		w.Int(b.asOf)
	}
	w.Bool(s.observed)
	w.Int(s.since)
	w.Uint(s.stretch)
	speakers := s.sortedSpeakers()
	w.Array(len(speakers))
	for _, sp := range speakers {
		appendSpeaker(w, &sp.Speaker)
		w.Bool(sp.expected)
		w.Int(sp.touched)
		w.Int(sp.mark)
		w.Uint(sp.stretch)
		appendRef(w, sp.ref)
		w.String(sp.signal)
	}
	tests := s.sortedTests()
	w.Array(len(tests))
	for _, t := range tests {
		appendUnderWay(w, t)
	}
}

func (e *Engine) readSource(r *pack.Reader) *source {
	s := newSource(readText(r, "source", event.MaxName))
	for i := range s.beats {
		s.beats[i] = beat{readable: r.Bool("readable"), asOf: r.Int("as of")}
	}
	s.observed = r.Bool("observed")
	s.since = r.Int("since")
	s.stretch = r.Uint("stretch", math.MaxUint64)
	for _, sp := range readSorted(r, "speakers", MaxSpeakers, readHeard,
		func(a, b *speaker) int { return strings.Compare(a.Entity, b.Entity) }) {
		s.speakers[sp.Entity] = sp
	}
	var last testKey
	for i := range r.Array("tests", MaxTests) {
		key, t := e.readUnderWay(r)
		if r.Err() == nil && i > 0 && last.compare(key) >= 0 {
			r.Fail("tests", errors.New("not in order"))
		}
		if r.Err() != nil {
			break
		}
		if last = key; t != nil {
			t.source = s
			s.tests[key] = t
		}
	}
	return s
}

func readHeard(r *pack.Reader) *speaker {
	return &speaker{
		Speaker:  readSpeaker(r),
		expected: r.Bool("expected"),
		touched:  readTime(r, "touched"),
		mark:     r.Int("mark"),
		stretch:  r.Uint("stretch", math.MaxUint64),
		ref:      readRef(r),
		signal:   readText(r, "signal", event.MaxName),
	}
}

func appendWindow(w *pack.Writer, win *window) {
	w.String(win.key.rule)
	appendSeries(w, win.key.series)
	w.Uint(uint64(win.width))
	w.Uint(uint64(win.head))
	for i := win.head - slots + 1; i <= win.head; i++ {
		b := win.at(i)
		w.Uint(uint64(b.count))
		if b.count > 0 {
			w.Int(b.point)
			w.Int(b.onset.Lo)
			w.Int(b.onset.Hi)
			appendRef(w, b.ref)
		}
	}
	w.Bool(win.finding != nil)
	if win.finding != nil {
		AppendFinding(w, *win.finding)
	}
	stream.AppendUnit(w, win.unit)
	w.Bool(win.active)
	w.Int(win.calm)
	w.Int(win.rearm)
	w.Uint(uint64(win.flaps))
}

func (e *Engine) readWindows(r *pack.Reader) {
	rules := make(map[string]*Rule, len(e.cfg.Rules))
	for i := range e.cfg.Rules {
		rules[e.cfg.Rules[i].Name] = &e.cfg.Rules[i]
	}
	for _, w := range readSorted(r, "windows", maxTracked, readWindow,
		func(a, b *window) int { return a.key.compare(b.key) }) {
		rule := rules[w.key.rule]
		if rule == nil || newWindow(rule, w.key.series, 0).width != w.width {
			continue
		}
		w.rule = rule
		e.windows[w.key] = w
		if w.active {
			e.active = append(e.active, w)
		}
	}
}

func readWindow(r *pack.Reader) *window {
	w := &window{key: windowKey{readText(r, "rule", MaxRuleName), readSeries(r)}}
	w.width = int64(max(1, r.Uint("width", uint64(maxDuration))))
	w.head = int64(r.Uint("head", uint64(math.MaxInt64/2/w.width)))
	for i := w.head - slots + 1; i <= w.head && r.Err() == nil; i++ {
		b := slot{count: int64(r.Uint("count", math.MaxInt64/64))}
		if b.count > 0 {
			b.point = r.Int("point")
			b.onset = clock.Interval{Lo: r.Int("onset"), Hi: r.Int("onset")}
			b.ref = readRef(r)
		}
		*w.at(i) = b
		w.total += b.count
	}
	if r.Bool("finding") {
		f := ReadFinding(r)
		w.finding = &f
	}
	w.unit = stream.ReadUnit(r)
	w.active = r.Bool("active")
	w.calm = r.Int("calm")
	w.rearm = r.Int("re-arm")
	w.flaps = uint8(r.Uint("flaps", maxFlaps))
	if r.Err() == nil && w.active && w.finding == nil {
		r.Fail("active", errors.New("without a finding"))
	}
	return w
}
