package anomaly

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"

	"pando/event"
	"pando/stream"
)

// Bounds that are not for operators to choose.
const (
	maxOrigins = 1 << 16 // far above the agents that one relay serves
	maxNovel   = 64      // novelties open at once per origin; more tell no more
	ageEvery   = 10_000_000_000
)

// Engine runs the detectors over everything that one relay steps. It is a
// pure state machine: no method reads a clock, and the order of calls decides
// everything. Not safe for concurrent use; the relay's core owns it.
//
// Root times are Unix nanoseconds and should not go back; the engine goes by
// the latest it was given.
type Engine struct {
	cfg     Config
	specs   []spec // of the rates, ratios and levels
	origins map[string]*origin
	windows map[windowKey]*window
	active  []*window // whose finding is not over; in the order of windowKey
	pending []Finding // ended by what a claim made known; the next tick says so

	now      int64 // the latest root time given
	aged     int64 // when ageing last ran
	codes    int   // of all origins
	speakers int   // of all origins
	tests    int   // of all origins
	refused  Refused

	// Accelerators; no outcome depends on them, and no snapshot holds them.
	wake  int64 // no finding ends, nor needs confirmation, before this
	lines stream.Memory[line]

	ticking []placed // rates with events of a tick that is not stepped

	batch batch // that is observed
}

// Refused counts what found no room, or came too late, since the engine was
// made. Its numbers only rise.
type Refused struct {
	Origins   uint64 // events of origins above the bound
	Speakers  uint64 // events whose speaker is not followed
	Codes     uint64 // events whose code is neither known nor remembered
	Novelties uint64 // new codes learnt without a finding, beside too many others
	Windows   uint64 // events of series without a rule window
	Late      uint64 // events older than their rule window
	Tests     uint64 // events, and knowledge, of a rate, ratio or level that is not tested
}

// origin is what is known of one agent, under whatever WAL id.
type origin struct {
	name    string
	since   int64 // root time of the first event ever; 0 before
	heard   int64 // root time of the last sign of life
	floor   event.Severity
	partial bool
	lanes   [event.Lanes]lane
	codes   map[stream.Series]struct{}
	sources map[string]*source
	novel   map[stream.Series]*novelty // open novelties
	tests   int                        // of all sources
	learned uint64                     // rises when Expect has news worth sending
	taught  int64                      // root time at which it last rose for what tests learnt

	// unjudged are codes that came while the unit was not claimed, with what
	// there is to say if the claim does not know them.
	unjudged map[stream.Series]*Finding
}

// lane is the unit that an origin's session currently has open.
type lane struct {
	unit    event.Unit
	present bool
	claimed bool // since it is present, with the expectations of the root
}

// line remembers what an event of an origin's source, entity and signal looks up.
// Whoever drops what a line may point to forgets all lines.
type line struct {
	looked  bool           // what follows of rules and probes is so
	known   bool           // the code is remembered
	ruled   bool           // there are rules
	ratios  bool           // some probe is one of a ratio
	floor   event.Severity // least that matters to any of the probes
	stepped event.Severity // the same of probes that are no ratios
	source  *source
	speaker *speaker
	by      *watchers // nil: none
}

// watchers are what looks at a line.
type watchers struct {
	rules  []ruling
	probes []probe
	few    [2]probe // the room of probes: beside them, since all are looked at together
}

// ruling is a rule that matches a line, and its window; nil while none is open.
type ruling struct {
	rule   *Rule
	window *window
}

// NewEngine returns an engine without any knowledge.
func NewEngine(cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure detectors: %w", err)
	}
	cfg.Rules = slices.Clone(cfg.Rules)
	return &Engine{
		cfg:     cfg,
		specs:   cfg.specs(),
		origins: make(map[string]*origin),
		windows: make(map[windowKey]*window),
		wake:    math.MinInt64,
	}, nil
}

// Present says that a session opened the unit. What the origin's sources and
// speakers did in between went unobserved. Claimed follows when the root has
// answered; until then the engine learns, and what rules find is provisional.
func (e *Engine) Present(unit event.Unit) {
	o := e.origin(unit.Origin)
	if o == nil || int(unit.Lane) >= event.Lanes {
		return
	}
	o.heard = e.now
	o.lanes[unit.Lane] = lane{unit: unit, present: true}
	o.blind(unit.Lane)
}

// Gone says that the session of the unit closed: its speakers are unobserved
// from now on. Nobody is silent because of that, and no silence is over.
func (e *Engine) Gone(unit event.Unit) {
	o := e.origins[unit.Origin]
	if o == nil || int(unit.Lane) >= event.Lanes || o.lanes[unit.Lane].unit != unit {
		return
	}
	o.heard = e.now
	o.lanes[unit.Lane] = lane{unit: unit}
	o.blind(unit.Lane)
}

// blind ends all observation until the lane's heartbeats come again.
func (o *origin) blind(lane event.Lane) {
	for _, s := range o.sources {
		s.beats[lane] = beat{}
		s.observed = false
	}
}

// Claimed hands over what the root knows of the unit's origin, with the claim
// that the root granted. It comes after Present; for a unit that is not
// present any more, only the knowledge is kept.
func (e *Engine) Claimed(unit event.Unit, x Expectations) {
	o := e.origin(unit.Origin)
	if o == nil || int(unit.Lane) >= event.Lanes {
		return
	}
	e.learn(o, x)
	if l := &o.lanes[unit.Lane]; l.present && l.unit == unit {
		l.claimed = true
	}
	for _, s := range o.sources {
		o.watch(s)
		s.next, s.due = math.MinInt64, math.MinInt64
	}
	e.wake = math.MinInt64
}

// Size is the engine's extent, for metrics.
type Size struct {
	Origins    int
	Sources    int
	Observed   int // sources whose silence would be noticed now
	Speakers   int
	Expected   int // speakers with a steady rhythm, learnt to the end
	Unobserved int // of the expected, those whose source is not observed
	Silent     int // speakers with an open finding
	Codes      int
	Windows    int
	Active     int // open findings of rules
	Novelties  int // open findings of first-seen codes
	Tests      int // of rates, ratios and levels
	Changed    int // of these, with an open finding
	Refused    Refused
}

// Refused counts what found no room since the engine began.
func (e *Engine) Refused() Refused { return e.refused }

// Size counts; it walks over all speakers and tests.
func (e *Engine) Size() Size {
	z := Size{
		Origins: len(e.origins), Speakers: e.speakers, Codes: e.codes,
		Windows: len(e.windows), Active: len(e.active), Tests: e.tests, Refused: e.refused,
	}
	for _, o := range e.origins {
		z.Novelties += len(o.novel)
		z.Sources += len(o.sources)
		for _, s := range o.sources {
			if s.observed {
				z.Observed++
			}
			for _, t := range s.tests {
				if t.open() {
					z.Changed++
				}
			}
			for _, sp := range s.speakers {
				if sp.Open != nil {
					z.Silent++
				}
				if sp.expected {
					z.Expected++
					if !s.observed {
						z.Unobserved++
					}
				}
			}
		}
	}
	return z
}

// Observe steps event i of the batch that [Engine.Begin] began, which is no
// heartbeat and no loss, in the order of its unit. Rules and first-seen codes are
// decided here, on arrival.
func (e *Engine) Observe(i int) []Finding {
	a := e.batch.arrival
	if e.batch.origin == nil && !e.enter() {
		e.refused.Origins++
		return nil
	}
	o := e.batch.origin
	ln := &e.batch.lines[a.Sums.Numbers[a.Sums.LineOf[i]]]
	s := e.sighting(i)
	if !ln.looked {
		e.look(ln, s.series)
	}
	var out []Finding
	if e.cfg.Silence.Enabled {
		out = e.hear(o, ln, &s, out)
	}
	if e.cfg.FirstSeen.Enabled && s.severity >= event.Severity(e.cfg.FirstSeen.MinSeverity) {
		out = e.meet(o, ln, &s, out)
	}
	if ln.ruled && !s.backlog {
		out = e.count(ln, &s, out)
	}
	if s.severity >= ln.floor && !s.backlog {
		out = e.measure(o, ln, &s, out)
	}
	return out
}

// origin finds or makes the state of an origin; nil if there is no room.
func (e *Engine) origin(name string) *origin {
	o := e.origins[name]
	if o == nil && len(e.origins) < maxOrigins {
		o = newOrigin(name)
		o.heard, o.floor = e.now, event.Severity(e.cfg.FirstSeen.MinSeverity)
		e.origins[name] = o
	}
	return o
}

func newOrigin(name string) *origin {
	return &origin{
		name:    name,
		codes:   make(map[stream.Series]struct{}),
		sources: make(map[string]*source),
		novel:   make(map[stream.Series]*novelty),

		unjudged: make(map[stream.Series]*Finding),
	}
}

// look finds what looks at a series.
func (e *Engine) look(ln *line, series stream.Series) {
	ln.looked = true
	w := &watchers{}
	for i := range e.cfg.Rules {
		if r := &e.cfg.Rules[i]; stream.Match(r.Entity, series.Entity) && stream.Match(r.Signal, series.Signal) {
			w.rules = append(w.rules, ruling{rule: r})
		}
	}
	w.probes, ln.floor, ln.stepped = e.probes(w.few[:0], series)
	ln.ruled = len(w.rules) > 0
	for i := range w.probes {
		ln.ratios = ln.ratios || w.probes[i].spec.kind == ratioTest
	}
	if len(w.rules)+len(w.probes) > 0 {
		ln.by = w
	}
}

// Tick says that root time has come to now: findings end, provisional ones
// are confirmed, rates are looked at, and what was not heard for long is
// dropped. A silence, a ratio and a fall need no tick: the heartbeat that proves
// them decides them.
func (e *Engine) Tick(now int64) []Finding {
	e.now = max(e.now, now)
	out := e.endTicks(e.pending)
	e.pending = nil
	if e.now >= e.wake {
		e.wake = math.MaxInt64
		out = e.endRules(out)
		out = e.endNovelties(out)
	}
	if e.now-e.aged >= ageEvery {
		e.aged = e.now
		out = e.age(out)
	}
	sortFindings(out)
	return out
}

// sortFindings puts findings that were collected in map order into the order
// of their onset.
func sortFindings(fs []Finding) {
	slices.SortFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Point, b.Point), bytes.Compare(a.ID[:], b.ID[:]), cmp.Compare(a.Revision, b.Revision))
	})
}

// age drops what was not heard for so long that nobody would expect it.
func (e *Engine) age(out []Finding) []Finding {
	limit := e.now - int64(e.cfg.Forget)
	for name, o := range e.origins {
		if o.heard == 0 { // before any time was given
			o.heard = e.now
		}
		present := o.lanes[event.Critical].present || o.lanes[event.Bulk].present
		if !present && o.heard < limit {
			e.drop(name, o)
			continue
		}
		for _, s := range o.sources {
			out = e.ageSpeakers(o, s, limit, out)
			out = e.ageTests(o, s, limit, out)
		}
	}
	e.ageWindows()
	return out
}

func (e *Engine) drop(name string, o *origin) {
	e.codes -= len(o.codes)
	for _, s := range o.sources {
		e.speakers -= len(s.speakers)
		e.tests -= len(s.tests)
		for _, t := range s.tests {
			t.dismiss()
		}
	}
	delete(e.origins, name)
	e.lines.Forget()
}
