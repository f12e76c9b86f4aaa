package anomaly

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"pando/event"
	"pando/stream"
	"pando/stream/detect"
)

// teachEvery is how often, at most, what the tests of an origin learn is worth
// sending up by itself, in root nanoseconds: baselines move slowly, and a relay
// that dies takes no more than this of them with it.
const teachEvery = int64(600e9)

// testKey names a test within its source.
type testKey struct {
	kind   kind
	name   string
	series stream.Series // of a ratio: the entity and the pattern of what fails
}

func (k testKey) compare(l testKey) int {
	return cmp.Or(cmp.Compare(k.kind, l.kind), strings.Compare(k.name, l.name), k.series.Compare(l.series))
}

// test is a sequential test of one series, or entity, of one source. It is
// stepped in event time, by events that are no backlog, within the unbroken
// observations of its source: what nobody observed is no exposure. So neither a
// restart nor a move nor a partition is a change, and what one relay has learnt
// holds at the next.
type test struct {
	key    testKey
	spec   *spec
	source *source

	// One of them, by kind.
	rate  *detect.Rate
	ratio *detect.Ratio
	level *detect.Level

	touched int64    // root time of its latest event; for ageing
	at      int64    // root time up to which it was stepped; 0 before
	stretch uint64   // the observation in which it is stepped
	changed int64    // root time at which finding began or ended last
	finding *Finding // the latest, nil before the first; immutable
	trail   trail

	// Events that are not stepped yet: of a rate those of one tick, of a ratio
	// those that one of the lanes is not past.
	tick    int64 // number of detect.Tick
	count   int64
	present mark
	volumes volumes

	queued bool // accelerator: in Engine.ticking or source.waiting
}

// newTest returns a test that has learnt nothing.
func newTest(s *spec, key testKey) (t *test, err error) {
	t = &test{key: key, spec: s}
	switch s.kind {
	case rateTest:
		t.rate, err = detect.NewRate(s.rate)
	case ratioTest:
		t.ratio, err = detect.NewRatio(s.ratio)
	default:
		t.level, err = detect.NewLevel(s.level)
	}
	return t, err
}

// intensity is the test inside of a rate or ratio, nil for a level, which keeps
// what it learns to itself: five hundred values are too much to travel.
func (t *test) intensity() *detect.Intensity {
	switch {
	case t.rate != nil:
		return t.rate.Test()
	case t.ratio != nil:
		return t.ratio.Test()
	}
	return nil
}

// open reports whether there is a finding that is not over.
func (t *test) open() bool { return t.finding != nil && !t.finding.Ended }

// due is the root time behind which a step without events would say something:
// that a rate fell, or that a change is over.
func (t *test) due() int64 {
	switch {
	case t.rate == nil:
		return math.MaxInt64
	case t.open():
		return t.at
	}
	return t.rate.Due()
}

// probe is a test that looks at a line of events.
type probe struct {
	spec   *spec
	test   *test          // nil until there is one
	floor  event.Severity // of the spec
	failed bool           // of a ratio: these events are failures
}

// noEvent is above every severity.
const noEvent = event.MaxSeverity + 1

// probes appends the tests that look at a series, and finds the least severities
// that matter to any, and to any but ratios.
func (e *Engine) probes(list []probe, series stream.Series) (_ []probe, floor, stepped event.Severity) {
	floor, stepped = noEvent, noEvent
	for i := range e.specs {
		s := &e.specs[i]
		if s.matches(series) {
			list = append(list, probe{spec: s, floor: s.floor, failed: s.kind == ratioTest && stream.Match(s.failed, series.Signal)})
			floor = min(floor, s.floor)
			if s.kind != ratioTest {
				stepped = min(stepped, s.floor)
			}
		}
	}
	return list, floor, stepped
}

// test finds or makes a test; nil if there is no room.
func (e *Engine) test(o *origin, src *source, s *spec, subject stream.Series) *test {
	key := testKey{s.kind, s.name, subject}
	if t := src.tests[key]; t != nil {
		return t
	}
	if e.tests >= e.cfg.MaxTests || o.tests >= MaxTests {
		return nil
	}
	t, err := newTest(s, key)
	if err != nil {
		return nil // not of a validated configuration
	}
	e.adopt(o, src, t)
	return t
}

// adopt puts a test to its source.
func (e *Engine) adopt(o *origin, src *source, t *test) {
	t.source, t.touched = src, e.now
	src.tests[t.key] = t
	o.tests++
	e.tests++
	if t.rate != nil {
		src.due = math.MinInt64
	}
}

// ageTests drops the tests of a source whose series was not heard since limit,
// and ends what was said of them.
func (e *Engine) ageTests(o *origin, src *source, limit int64, out []Finding) []Finding {
	for key, t := range src.tests {
		if t.touched == 0 { // before any time was given
			t.touched = e.now
		}
		if t.touched >= limit {
			continue
		}
		if t.open() {
			f := t.finding.revise()
			f.Ended, f.Summary = true, clip(f.Summary+"; no longer heard of", MaxText)
			out = append(out, *f)
		}
		t.dismiss()
		delete(src.tests, key)
		o.tests--
		e.tests--
		o.learned++
		e.lines.Forget()
	}
	return out
}

// dismiss lets queues pass a test over that is dropped.
func (t *test) dismiss() { t.count, t.volumes.list = 0, nil }

func (s *source) sortedTests() []*test {
	list := make([]*test, 0, len(s.tests))
	for _, t := range s.tests {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *test) int { return a.key.compare(b.key) })
	return list
}
