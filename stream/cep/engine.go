package cep

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"pando/event"
)

// LatePolicy names what happens to an event that comes after its time has been
// stepped.
type LatePolicy string

const (
	LateDrop LatePolicy = "drop" // it is counted, and no pattern sees it
	LateNow  LatePolicy = "now"  // patterns see it as if it happened at the watermark
)

// Options of an engine.
type Options struct {
	Buffered      int        `yaml:"buffered"`       // events that may wait for the watermark
	BufferedBytes int        `yaml:"buffered_bytes"` // of their texts and attributes
	Late          LatePolicy `yaml:"late"`
	// Misses makes the engine tell of runs that did not become a match. They are
	// kept until [Engine.Misses] is called, so it is for trials, not for a node.
	Misses bool `yaml:"-"`
}

// Bounds of the options.
const (
	maxBuffered      = 1 << 22
	maxBufferedBytes = 1 << 30
	// leastBufferedBytes holds one event with the longest names, and as many
	// attributes as it may have.
	leastBufferedBytes = 1 << 20
)

// DefaultOptions hold a second of 65,000 events that patterns want.
func DefaultOptions() Options {
	return Options{Buffered: 1 << 16, BufferedBytes: 16 << 20, Late: LateDrop}
}

// Validate reports every fault of the options at once.
func (o *Options) Validate() error {
	var f faults
	f.between("buffered", o.Buffered, 1, maxBuffered)
	f.between("buffered_bytes", o.BufferedBytes, leastBufferedBytes, maxBufferedBytes)
	f.check(o.Late == LateDrop || o.Late == LateNow, "late is %q: want %s or %s", o.Late, LateDrop, LateNow)
	return errors.Join(f.list...)
}

// Totals tell what became of the events of an engine. They only rise.
type Totals struct {
	Late     uint64 // events that came after their time, dropped
	Moved    uint64 // such events that were taken as of the watermark
	Hurried  uint64 // events that were stepped before the watermark, as the buffer was full
	Stepped  uint64 // events that a pattern was interested in
	Reloaded uint64 // runs dropped since their pattern changed or went
}

func (t *Totals) fields() []*uint64 {
	return []*uint64{&t.Late, &t.Moved, &t.Hurried, &t.Stepped, &t.Reloaded}
}

// Engine runs a set of patterns. It is a pure state machine: no method reads a
// clock, and the order of calls decides everything. Not safe for concurrent
// use; the core that steps events owns it.
type Engine struct {
	opts     Options
	set      *Set
	index    *index
	machines []*machine
	attrs    map[string]bool // those that a pattern reads
	buffer   buffer
	spare    []*Event // stepped, to be used again
	wheel    wheel
	floor    int64 // event time that has been stepped: earlier events are late
	totals   Totals

	matches []found // since the last Advance
	misses  []Miss
}

// New returns an engine without any runs.
func New(set *Set, opts Options) (*Engine, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("configure patterns: %w", err)
	}
	e := &Engine{opts: opts}
	e.load(set, nil)
	return e, nil
}

// load makes the machines of a set; those of old that do the same stay.
func (e *Engine) load(set *Set, old map[Hash]*machine) {
	e.set, e.index, e.attrs, e.machines = set, newIndex(set.patterns), map[string]bool{}, nil
	for i, p := range set.patterns {
		m := old[set.hashes[i]]
		if m != nil {
			m.Pattern, m.number = p, i
		} else {
			m = newMachine(p, set.hashes[i], i)
		}
		e.machines = append(e.machines, m)
		p.attributes(e.attrs)
	}
	e.hold()
}

// hold keeps of the events that wait what the patterns now in force read, as if
// they had come under these: whoever restores the state knows no others.
func (e *Engine) hold() {
	e.buffer.bytes = 0
	for i := range e.buffer.heap {
		h := &e.buffer.heap[i]
		h.event, h.size = e.retain(h.event)
		h.interests = e.index.lookup(h.event)
		e.buffer.bytes += h.size
	}
}

// Reconfigure exchanges the patterns. Runs of a pattern that does the same as
// one before (see [Hash]) go on; the others are dropped and counted.
func (e *Engine) Reconfigure(set *Set) {
	old := make(map[Hash]*machine, len(e.machines))
	for _, m := range e.machines {
		old[m.hash] = m
	}
	was := e.machines
	e.load(set, old)
	for _, m := range was {
		if m.number < len(e.machines) && e.machines[m.number] == m {
			continue
		}
		for k := m.oldest; k != nil; k = k.newer {
			e.wheel.stop(&k.timer)
			e.totals.Reloaded += uint64(k.total)
		}
	}
}

// Observe takes an event. One that no pattern is interested in costs a look
// into a table; others wait until the watermark has passed them. Nothing of
// ev's memory is kept. If the buffer is full the earliest are stepped at once;
// what they match is returned by the next Advance.
func (e *Engine) Observe(ev *Event) {
	interests := e.index.lookup(ev)
	if len(interests) == 0 {
		return
	}
	at := ev.Time
	if at < e.floor {
		if e.opts.Late == LateDrop {
			e.totals.Late++
			return
		}
		e.totals.Moved++
		at = e.floor
	}
	held, size := e.retain(ev)
	held.Time = at
	e.buffer.push(held, interests, size)
	for e.buffer.len() > e.opts.Buffered || e.buffer.bytes > e.opts.BufferedBytes {
		e.totals.Hurried++
		e.step(e.buffer.pop())
	}
}

// Names reports whether a pattern may be interested in events of a signal, or of
// an entity, since a condition names it, or any that it begins with; everything
// says that one names neither, so that nothing is ruled out. Where most events are
// of no interest it costs less than [Engine.Wants], and answers for many series.
func (e *Engine) Names() (signal, entity func(string) bool, everything bool) {
	return e.index.names(bySignal), e.index.names(byEntity), len(e.index.rest) > 0
}

// Wants reports whether a pattern may be interested in events of a kind and
// series: all of them can be asked for at once where many have the same.
func (e *Engine) Wants(kind event.Kind, entity, signal string) bool {
	return len(e.index.lookup(&Event{Kind: kindName(kind), Entity: entity, Signal: signal})) > 0
}

// Advance says that all events before the watermark, in root time, have been
// given. It returns the matches that are certain by that, in the order of
// their end. A watermark that goes back changes nothing.
func (e *Engine) Advance(watermark int64) []Match {
	for e.buffer.len() > 0 && e.buffer.first().Time < watermark {
		e.step(e.buffer.pop())
	}
	e.floor = max(e.floor, watermark)
	e.due(e.floor)
	return e.take()
}

// Misses returns the near misses since the last call, in the order in which
// they were decided.
func (e *Engine) Misses() []Miss {
	out := e.misses
	slices.SortStableFunc(out, func(a, b Miss) int { return cmp.Compare(a.At, b.At) })
	e.misses = nil
	return out
}

// step gives an event to the patterns that want it.
func (e *Engine) step(h held) {
	ev := h.event
	e.floor = max(e.floor, ev.Time)
	e.totals.Stepped++
	x := occurrence{event: ev, order: e.totals.Stepped}
	for _, i := range h.interests {
		x.wanted = i.wanted
		e.observe(e.machines[i.pattern], &x)
	}
	*ev = Event{} // its texts go
	e.spare = append(e.spare, ev)
}

// retain copies an event with the attributes that patterns read, and returns
// the bytes of its texts and attributes.
func (e *Engine) retain(ev *Event) (*Event, int) {
	held := &Event{}
	if n := len(e.spare); n > 0 {
		held, e.spare = e.spare[n-1], e.spare[:n-1]
	}
	*held = *ev
	held.Attrs = nil
	size := len(ev.Entity) + len(ev.Signal) + len(ev.Peer) + len(ev.Source) + len(ev.Kind) + len(ev.Unit.Origin)
	for _, a := range ev.Attrs {
		if e.attrs[a.Key] {
			held.Attrs = append(held.Attrs, a)
			size += int(unsafe.Sizeof(a)) + len(a.Key) + len(a.Value)
		}
	}
	var text strings.Builder
	text.Grow(size)
	own := func(s string) string {
		from := text.Len()
		text.WriteString(s)
		return text.String()[from:]
	}
	held.Entity, held.Signal, held.Peer, held.Source = own(ev.Entity), own(ev.Signal), own(ev.Peer), own(ev.Source)
	held.Kind, held.Unit.Origin = own(ev.Kind), own(ev.Unit.Origin)
	for i := range held.Attrs {
		held.Attrs[i].Key, held.Attrs[i].Value = own(held.Attrs[i].Key), own(held.Attrs[i].Value)
	}
	return held, size
}

// Next is the watermark from which on time alone may do something: step an event
// that waits, complete a match, end a run. It may be too early, and is
// [math.MaxInt64] if nothing waits.
func (e *Engine) Next() int64 {
	next := int64(math.MaxInt64)
	if e.buffer.len() > 0 {
		next = satAdd(e.buffer.first().Time, 1)
	}
	return min(next, e.wheel.next())
}

// Totals are the counts of all patterns together.
func (e *Engine) Totals() Totals { return e.totals }

// Status is what an engine holds of one pattern.
type Status struct {
	Name   string
	Keys   int
	Runs   int
	Groups int // of runs that are evaluated together
	Counts Counts
}

// Status counts, pattern by pattern; it walks over all keys.
func (e *Engine) Status() []Status {
	var out []Status
	for _, m := range e.machines {
		s := Status{Name: m.Name, Keys: len(m.keys), Counts: m.counts}
		for k := m.oldest; k != nil; k = k.newer {
			s.Groups += len(k.groups)
			s.Runs += k.total
		}
		out = append(out, s)
	}
	return out
}
