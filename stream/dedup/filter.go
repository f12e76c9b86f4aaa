// Package dedup folds findings that are one alarm come by several paths: a
// console message read from SYSLOG and from OPERLOG, an abend in a job log and
// on the console, an alert sent to two listeners. It drops findings, never
// counts: events, sums and custody do not pass through here.
//
// Two findings are one alarm when they were said by the same detector and
// rule, agree in the fields that the configuration names, and may have begun
// within its window of each other: onsets are intervals of root time, and the
// distance is that between their nearest ends. The first is said, the later
// ones are folded into it. Windows are not chained: each is compared with the
// alarm's own onset, so a condition that comes again and again is said again.
//
// Nothing that goes on is hidden. A folded finding that lasts longer than its
// alarm is said after all; so is one whose alarm must be forgotten. Nor is one
// that the root can count on folded into one that is provisional. Silences and
// changes of rates, ratios and levels are never folded: they are said of a path,
// and move from relay to relay with it.
//
// How many findings were folded into an alarm, and the paths by which they
// came, stand in its summary from its next revision on, the last of which says
// that it is over. No revision is made for them: a flood of duplicates costs
// the root nothing, and revisions stay the detectors' own to count.
package dedup

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/stream/anomaly"
	"pando/stream/cep"
)

const (
	// patience is how long, in root time, a folded finding may go on after its
	// alarm is over. It is more than two detectors' ticks and the difference
	// between two agents' delays.
	patience = int64(2 * time.Second)
	// sweepEvery is how often [Filter.Tick] looks through the alarms.
	sweepEvery = int64(time.Second)
	// maxPaths of an alarm's duplicates are told by name.
	maxPaths = 8
	// perAlarm times max_alarms bounds the findings that are folded at once, of
	// all alarms together: four alarms of four thousand agents by default.
	perAlarm = 4
)

// Path is where a finding came from.
type Path struct{ Origin, Source string }

func (p Path) String() string { return strings.TrimSuffix(p.Origin+" "+p.Source, " ") }

// Counts only rise.
type Counts struct {
	Folded       uint64 // findings that were not said
	Released     uint64 // of these, those that were said after all: they outlasted their alarm, or it was forgotten
	Evicted      uint64 // alarms forgotten early, to make room for newer ones
	Full         uint64 // duplicates that were said because too many are folded
	Incomparable uint64 // findings said unseen: they lack a field, or their fields are too long
}

// Filter knows the alarms of one relay. It is a pure state machine: the order
// of calls decides everything. Not safe for concurrent use; the relay's core
// owns it.
//
// When there are more alarms than the configuration allows, the one that was
// said first among those that are over is forgotten, or else the one that was
// said first.
type Filter struct {
	cfg    Config
	now    int64 // the latest root time given, Unix nanoseconds
	swept  int64
	alarms []*alarm // in the order in which they were said
	counts Counts

	// Indexes of alarms; no snapshot holds them.
	byID    map[anomaly.ID]*alarm
	byPrint map[Fingerprint][]*alarm
	folded  map[anomaly.ID]*alarm // by the ids of the findings folded into it

	hash func(identity []byte) Fingerprint // a seam: tests make it collide
}

// alarm is a finding that was said and what was folded into it.
type alarm struct {
	id          anomaly.ID
	identity    []byte
	path        Path
	onset       clock.Interval
	said        int64 // root time
	lasts       bool  // it is not over at once, as a novelty is
	provisional bool
	over        bool
	overAt      int64 // root time
	duplicates  uint64
	paths       []Path    // of duplicates, other than path, as they came
	folded      []*folded // as they came
}

// folded is a finding that was not said.
type folded struct {
	id   anomaly.ID
	path Path
	came int64            // root time
	open *anomaly.Finding // its latest revision while it goes on; immutable
}

// New returns a filter that knows no alarm.
func New(cfg Config) (*Filter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure deduplication: %w", err)
	}
	cfg.Fields = slices.Clone(cfg.Fields)
	return &Filter{
		cfg: cfg, hash: fingerprint,
		byID: map[anomaly.ID]*alarm{}, byPrint: map[Fingerprint][]*alarm{}, folded: map[anomaly.ID]*alarm{},
	}, nil
}

// Counts returns what was done so far.
func (f *Filter) Counts() Counts { return f.counts }

// Pass takes what detectors said on one event, or without one (nil), in their
// order, and returns what is to be said, in the same order.
func (f *Filter) Pass(fs []anomaly.Finding, e *event.Event) []anomaly.Finding {
	var out []anomaly.Finding
	for i := range fs {
		out = f.pass(out, &fs[i], e)
	}
	return out
}

func (f *Filter) pass(out []anomaly.Finding, x *anomaly.Finding, e *event.Event) []anomaly.Finding {
	if a := f.folded[x.ID]; a != nil {
		return f.again(out, a, x)
	}
	if a := f.byID[x.ID]; a != nil {
		return append(out, a.revised(x, f.now))
	}
	if !f.cfg.Enabled || x.Revision > 1 || alone(x) {
		return append(out, *x)
	}
	identity, ok := f.cfg.identity(x, e)
	if !ok {
		f.counts.Incomparable++
		return append(out, *x)
	}
	path := pathOf(x, e)
	if a := f.match(x, identity, true); a != nil {
		if len(f.folded) < perAlarm*f.cfg.MaxAlarms {
			f.fold(a, x, path)
			return out
		}
		f.counts.Full++
	}
	return f.say(out, x, identity, path)
}

// alone reports whether a finding is an alarm of its own in any case: one that
// travels is of one source, and what tells the matches of a pattern apart, its key,
// is no field of a finding.
func alone(x *anomaly.Finding) bool { return x.Travels() || x.Detector == cep.DetectorPattern }

func pathOf(x *anomaly.Finding, e *event.Event) (p Path) {
	if len(x.Evidence) > 0 {
		p.Origin = x.Evidence[0].Unit.Origin
	}
	if e != nil {
		p.Source = e.Source
	}
	return p
}

// match finds the alarm that a finding is of: one that goes on before one that
// is over, and of several the one that was said first.
func (f *Filter) match(x *anomaly.Finding, identity []byte, evenOver bool) *alarm {
	var found *alarm
	for _, a := range f.byPrint[f.hash(identity)] {
		if !bytes.Equal(a.identity, identity) || !within(a.onset, x.Onset, int64(f.cfg.Window)) ||
			a.provisional && !x.Provisional || a.over && !evenOver {
			continue
		}
		if !a.over {
			return a
		}
		if found == nil {
			found = a
		}
	}
	return found
}

// fold keeps a finding from being said.
func (f *Filter) fold(a *alarm, x *anomaly.Finding, path Path) {
	f.counts.Folded++
	f.join(a, &folded{id: x.ID, path: path, came: f.now}, x)
}

// join puts a finding that is not said to an alarm.
func (f *Filter) join(a *alarm, d *folded, x *anomaly.Finding) {
	d.keep(x)
	a.folded = append(a.folded, d)
	f.folded[d.id] = a
	a.duplicates++
	if d.path != a.path && len(a.paths) < maxPaths && !slices.Contains(a.paths, d.path) {
		a.paths = append(a.paths, d.path)
	}
}

// keep remembers the latest revision of a finding that goes on.
func (d *folded) keep(x *anomaly.Finding) {
	d.open = nil
	if !x.Ended {
		kept := *x
		d.open = &kept
	}
}

// again takes a further revision of a finding that was folded into a. One that
// is back while its alarm is not is said.
func (f *Filter) again(out []anomaly.Finding, a *alarm, x *anomaly.Finding) []anomaly.Finding {
	at := slices.IndexFunc(a.folded, func(d *folded) bool { return d.id == x.ID })
	d := a.folded[at]
	back := d.open == nil && !x.Ended
	if d.keep(x); back && a.over {
		f.detach(a, at)
		return f.release(out, a.identity, d)
	}
	return out
}

func (f *Filter) detach(a *alarm, at int) {
	delete(f.folded, a.folded[at].id)
	a.folded = slices.Delete(a.folded, at, at+1)
}

// release says a finding that was folded, unless another alarm goes on that it
// is one with.
func (f *Filter) release(out []anomaly.Finding, identity []byte, d *folded) []anomaly.Finding {
	if a := f.match(d.open, identity, false); a != nil {
		f.join(a, d, d.open)
		return out
	}
	f.counts.Released++
	return f.say(out, d.open, identity, d.path)
}

// say makes a finding an alarm.
func (f *Filter) say(out []anomaly.Finding, x *anomaly.Finding, identity []byte, path Path) []anomaly.Finding {
	for len(f.alarms) >= f.cfg.MaxAlarms {
		out = f.evict(out)
	}
	f.insert(&alarm{
		id: x.ID, identity: identity, path: path, onset: x.Onset, said: f.now,
		lasts: x.Class != anomaly.Novelty, provisional: x.Provisional,
	})
	return append(out, *x)
}

func (f *Filter) insert(a *alarm) {
	f.alarms = append(f.alarms, a)
	f.byID[a.id] = a
	print := f.hash(a.identity)
	f.byPrint[print] = append(f.byPrint[print], a)
	for _, d := range a.folded {
		f.folded[d.id] = a
	}
}

// evict forgets an alarm before its time, and says what of it goes on unsaid.
func (f *Filter) evict(out []anomaly.Finding) []anomaly.Finding {
	at := max(0, slices.IndexFunc(f.alarms, func(a *alarm) bool { return a.over }))
	a := f.alarms[at]
	f.forget(a)
	f.alarms = slices.Delete(f.alarms, at, at+1)
	f.counts.Evicted++
	for _, d := range a.folded {
		if d.open != nil {
			f.counts.Released++
			out = append(out, *d.open)
		}
	}
	a.folded = nil
	return out
}

// forget takes an alarm out of the indexes.
func (f *Filter) forget(a *alarm) {
	delete(f.byID, a.id)
	print := f.hash(a.identity)
	same := slices.DeleteFunc(f.byPrint[print], func(b *alarm) bool { return a == b })
	if f.byPrint[print] = same; len(same) == 0 {
		delete(f.byPrint, print)
	}
	for _, d := range a.folded {
		delete(f.folded, d.id)
	}
}

// revised takes a further revision of the alarm's finding, and returns it with
// what was folded into it.
func (a *alarm) revised(x *anomaly.Finding, now int64) anomaly.Finding {
	if x.Ended && !a.over {
		a.overAt = now
	}
	a.over, a.provisional = x.Ended, x.Provisional
	y := *x
	if a.duplicates > 0 {
		y.Annotate(a.note())
	}
	return y
}

// note tells of duplicates, for people.
func (a *alarm) note() string {
	var paths []string
	for _, p := range a.paths {
		paths = append(paths, p.String())
	}
	switch {
	case len(paths) > 0:
		return fmt.Sprintf(" (%d more, also by %s)", a.duplicates, strings.Join(paths, ", "))
	default:
		return fmt.Sprintf(" (%d more)", a.duplicates)
	}
}

// Tick says that root time has come to now, and returns the folded findings
// that outlast their alarms. Alarms that are over, and too old for duplicates,
// are forgotten.
func (f *Filter) Tick(now int64) []anomaly.Finding {
	f.now = max(f.now, now)
	if f.now-f.swept < sweepEvery {
		return nil
	}
	f.swept = f.now
	var out []anomaly.Finding
	keep := int64(f.cfg.Window) + int64(f.cfg.Late)
	for _, a := range slices.Clone(f.alarms) {
		for at := 0; a.over && a.lasts && at < len(a.folded); {
			d := a.folded[at]
			if d.open == nil || f.now-max(a.overAt, d.came) < patience {
				at++
				continue
			}
			f.detach(a, at)
			out = f.release(out, a.identity, d)
		}
	}
	f.alarms = slices.DeleteFunc(f.alarms, func(a *alarm) bool {
		old := a.over && f.now-a.said >= keep && !slices.ContainsFunc(a.folded, func(d *folded) bool { return d.open != nil })
		if old {
			f.forget(a)
		}
		return old
	})
	return out
}
