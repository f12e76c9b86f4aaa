package relay

import (
	"bytes"
	"fmt"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/stream/cep"
	"pando/tree/wire"
)

const (
	// maxMatches bounds the matches of one tick that become findings, as one
	// message to the root bounds them. The rest is counted.
	maxMatches = maxFindingsPerMessage
	// maxRuns bounds what a checkpoint holds of the patterns' runs, in bytes. It is
	// what a root lets them have in memory, where they are twice as large.
	maxRuns = maxState
)

// regional is the set of patterns that the root has in force, as far as this
// relay has heard, and what the events have come to in those of scope relay.
type regional struct {
	version uint64      // as the root numbers it
	encoded []byte      // as the root sent it
	set     *cep.Set    // nil: none was ever sent
	engine  *cep.Engine // of those of scope relay; nil with set, and if there are none
	unsaid  uint64      // matches beyond maxMatches

	interest // an accelerator
}

// interest is what patterns may want of the batch that is observed. Most events
// are of a signal and an entity that no pattern names, which is found out once
// for each name in the batch's dictionary; what is left is asked for once for
// each line and kind.
type interest struct {
	some              bool   // of it may be wanted
	everything        bool   // some pattern names neither
	signals, entities []bool // by their numbers in the batch: a pattern names it; empty: none names any
	// wanted has, by line, a bit for each kind that was asked for, and one,
	// kindBits higher, if it is wanted.
	wanted []uint16
}

const kindBits = 8

// begin makes a the batch whose events are observed next.
func (x *interest) begin(e *cep.Engine, a *stream.Arrival) {
	signal, entity, everything := e.Names()
	var bySignal, byEntity bool
	x.signals, bySignal = named(x.signals[:0], signal, a.Signal.Texts)
	x.entities, byEntity = named(x.entities[:0], entity, a.Entity.Texts)
	x.everything, x.some = everything, everything || bySignal || byEntity
	if x.some {
		x.wanted = append(x.wanted[:0], make([]uint16, a.Sums.Len())...)
	}
}

// named asks for each text of a batch's dictionary whether a pattern names it.
func named(list []bool, names func(string) bool, texts []string) (_ []bool, some bool) {
	if names == nil {
		return list, false
	}
	for _, text := range texts {
		is := names(text)
		list, some = append(list, is), some || is
	}
	return list, some
}

// wants reports whether a pattern may want event i of the batch.
func (x *interest) wants(e *cep.Engine, a *stream.Arrival, i int) bool {
	if !x.everything && !isNamed(x.signals, a.Signal.Number(i)) && !isNamed(x.entities, a.Entity.Number(i)) {
		return false
	}
	n, asked := a.Sums.LineOf[i], uint16(1)<<a.Kind[i]
	if x.wanted[n]&asked == 0 {
		x.wanted[n] |= asked
		if ln := a.Sums.Line(int(n)); e.Wants(a.Kind[i], ln.Entity, ln.Signal) {
			x.wanted[n] |= asked << kindBits
		}
	}
	return x.wanted[n]&(asked<<kindBits) != 0
}

func isNamed(list []bool, number uint32) bool { return int(number) < len(list) && list[number] }

// patternsOf reads a set as the root sends it. The shell tries it before the
// log has it: a record that cannot be stepped would keep the relay from ever
// starting again.
func patternsOf(body []byte) (m wire.Patterns, set *cep.Set, err error) {
	if err = wire.Decode(body, &m); err != nil {
		return m, nil, err
	}
	r := pack.NewReader(m.Set)
	if set, err = cep.ReadSet(r); err == nil {
		err = r.Done()
	}
	return m, set, err
}

// exchange puts a set in force. Runs of patterns that do the same as before go
// on.
func (p *regional) exchange(body []byte) error {
	m, set, err := patternsOf(body)
	if err != nil {
		return fmt.Errorf("patterns: %w", err)
	}
	if err := p.load(set); err != nil {
		return err
	}
	p.version, p.encoded = m.Version, bytes.Clone(m.Set)
	return nil
}

func (p *regional) load(set *cep.Set) error {
	p.set = set
	here := set.For(cep.Relay)
	if p.engine != nil {
		p.engine.Reconfigure(here)
		return nil
	}
	if len(here.Patterns()) == 0 {
		return nil
	}
	var err error
	p.engine, err = cep.New(here, cep.DefaultOptions())
	return err
}

// begin makes a the batch whose events are observed next.
func (p *regional) begin(a *stream.Arrival) {
	if p.engine != nil {
		p.interest.begin(p.engine, a)
	}
}

// observe shows the patterns event i of a batch, unless none wants it. It cannot
// have happened after now: one of the far future would wait for as long.
func (p *regional) observe(a *stream.Arrival, i int, now int64) {
	if !p.some || !p.wants(p.engine, a, i) {
		return
	}
	var e event.Event
	a.Event(i, &e)
	iv := a.Interval(i)
	x := cep.FromEvent(a.Unit, &e, clock.Interval{Lo: iv.Lo, Hi: max(iv.Lo, iv.Hi)}, min(a.Points[i], now))
	p.engine.Observe(&x)
}

// match says what is complete as of the watermark of both lanes: an event of
// either may belong to a match.
func (c *core) match() {
	p := &c.patterns
	if p.engine == nil {
		return
	}
	mark, _, _ := c.marks.Min(event.Critical, event.Bulk)
	matches := p.engine.Advance(min(mark, c.now))
	if extra := len(matches) - maxMatches; extra > 0 {
		p.unsaid += uint64(extra)
		matches = matches[:maxMatches]
	}
	var fs []anomaly.Finding
	for i := range matches {
		fs = append(fs, matches[i].Finding(c.now))
	}
	c.detected(fs, nil)
}

// listing tells operators of the patterns.
func (p *regional) listing() cep.Listing {
	switch {
	case p.set == nil:
		return cep.Listing{Patterns: []cep.Standing{}}
	case p.engine == nil:
		return cep.List(p.set, p.version)
	}
	l := p.engine.Listing(p.set, p.version)
	l.Unsaid = p.unsaid
	return l
}

func (p *regional) append(w *pack.Writer) {
	w.Bool(p.set != nil)
	if p.set == nil {
		return
	}
	w.Uint(p.version)
	w.Bin(p.encoded)
	w.Uint(p.unsaid)
	runs := pack.NewWriter()
	if p.engine != nil {
		p.engine.Snapshot(runs)
	}
	w.Bin(runs.Bytes())
}

func (p *regional) read(r *pack.Reader) error {
	if !r.Bool("patterns") {
		return r.Err()
	}
	m := wire.Patterns{Version: r.Uint("version of patterns", maxSeq), Set: r.Bin("patterns", wire.MaxPatterns)}
	unsaid, runs := r.Uint("matches", maxSeq), r.Bin("runs", maxRuns)
	if r.Err() != nil {
		return r.Err()
	}
	if err := p.exchange(wire.Encode(&m).Body); err != nil {
		return err
	}
	p.unsaid = unsaid
	if len(runs) == 0 {
		return nil
	}
	if p.engine == nil { // a set before this one had some, and its counts are kept
		var err error
		if p.engine, err = cep.New(p.set.For(cep.Relay), cep.DefaultOptions()); err != nil {
			return err
		}
	}
	state := pack.NewReader(runs)
	if err := p.engine.Restore(state); err != nil {
		return err
	}
	return state.Done()
}
