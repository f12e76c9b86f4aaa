package cep

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"unique"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
)

const snapshotVersion = 1

// Snapshot writes the whole state: equal states have equal bytes. An engine of
// the same patterns that restores it goes on identically. Matches that Advance
// has not returned yet are not part of it, so it belongs after an Advance.
func (e *Engine) Snapshot(w *pack.Writer) {
	w.Uint(snapshotVersion)
	w.Int(e.floor)
	for _, n := range e.totals.fields() {
		w.Uint(*n)
	}
	waiting := slices.Clone(e.buffer.heap)
	slices.SortFunc(waiting, func(a, b held) int {
		return cmp.Or(a.event.compare(b.event), cmp.Compare(a.arrival, b.arrival))
	})
	w.Array(len(waiting))
	for i := range waiting {
		appendEvent(w, waiting[i].event)
	}
	w.Array(len(e.machines))
	for _, m := range e.machines {
		m.snapshot(w)
	}
}

func (m *machine) snapshot(w *pack.Writer) {
	w.Bin(m.hash[:])
	for _, n := range m.counts.fields() {
		w.Uint(*n)
	}
	w.Uint(uint64(m.numbers))
	w.Uint(uint64(m.texts))
	w.Array(len(m.keys))
	for k := m.oldest; k != nil; k = k.newer {
		w.String(k.text)
		w.Array(len(k.groups))
		for _, g := range k.groups {
			appendGroup(w, g.group)
		}
	}
}

func appendGroup(w *pack.Writer, g *group) {
	w.Uint(uint64(g.step))
	w.Uint(uint64(g.open))
	w.Uint(uint64(g.count))
	w.Int(g.until)
	w.Uint(g.mark)
	for _, n := range g.numbers {
		w.Int(n)
	}
	for _, t := range g.texts {
		w.String(t)
	}
	w.Array(len(g.runs))
	for i := range g.runs {
		r := &g.runs[i]
		w.Uint(r.start)
		w.Int(r.time)
		w.Int(r.onset.Lo)
		w.Int(r.onset.Hi)
		w.Uint(r.ways)
		w.Bool(r.moved)
		w.Array(len(r.evidence))
		for _, ref := range r.evidence {
			stream.AppendUnit(w, ref.Unit.Value())
			w.Uint(ref.Seq)
			w.Int(ref.Time)
			w.Uint(uint64(ref.Step))
		}
	}
}

// Restore replaces the state by what [Engine.Snapshot] wrote; after an error
// the engine is as before. Runs of patterns that the engine does not have, or
// that do something else by now, are dropped and counted.
func (e *Engine) Restore(r *pack.Reader) error {
	fresh, err := New(e.set, e.opts)
	if err != nil {
		return err
	}
	if v := r.Uint("snapshot version", math.MaxUint64); r.Err() == nil && v != snapshotVersion {
		r.Fail("snapshot version", fmt.Errorf("%d is unknown, %d is understood", v, snapshotVersion))
	}
	fresh.floor = readTime(r, "floor")
	fresh.wheel.now = fresh.floor
	for _, n := range fresh.totals.fields() {
		*n = r.Uint("totals", math.MaxUint64)
	}
	for n := r.Array("events", maxBuffered+1); n > 0 && r.Err() == nil; n-- {
		if ev := readEvent(r); r.Err() == nil {
			held, size := fresh.retain(&ev)
			fresh.buffer.push(held, fresh.index.lookup(held), size)
		}
	}
	known := make(map[Hash]*machine, len(fresh.machines))
	for _, m := range fresh.machines {
		known[m.hash] = m
	}
	for n := r.Array("patterns", MaxPatterns); n > 0 && r.Err() == nil; n-- {
		var hash Hash
		copy(hash[:], r.Bin("pattern", len(hash)))
		m := known[hash]
		delete(known, hash) // a second one of the same hash is dropped like a stranger
		fresh.restore(r, m)
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("restore patterns: %w", err)
	}
	*e = *fresh
	return nil
}

// restore reads the state of one pattern; m is nil if it is not known.
func (e *Engine) restore(r *pack.Reader, m *machine) {
	var counts Counts
	for _, n := range counts.fields() {
		*n = r.Uint("counts", math.MaxUint64)
	}
	numbers, texts := int(r.Uint("numbers", MaxSlots)), int(r.Uint("texts", MaxSlots))
	if m != nil {
		m.counts = counts
		if r.Err() == nil && (numbers != m.numbers || texts != m.texts) {
			r.Fail("pattern", errors.New("binds other values than its definition says"))
		}
	}
	for n := r.Array("keys", 1<<20); n > 0 && r.Err() == nil; n-- {
		k := &keyed{machine: m, text: r.String("key", MaxKeyParts*(event.MaxName+4))}
		k.timer.due = k
		for g := r.Array("groups", 1<<12); g > 0 && r.Err() == nil; g-- {
			if next := readGroup(r, numbers, texts); r.Err() == nil {
				k.groups = append(k.groups, member{group: next, hash: next.digest()})
				k.groups[len(k.groups)-1].update()
				k.total += len(next.runs)
			}
		}
		switch {
		case r.Err() != nil:
		case m == nil:
			e.totals.Reloaded += uint64(k.total)
		default:
			e.admit(r, m, k)
		}
	}
}

// admit checks a key that was read, and takes it up.
func (e *Engine) admit(r *pack.Reader, m *machine, k *keyed) {
	for i, g := range k.groups {
		if err := m.possible(g.group); err != nil {
			r.Fail("group", err)
			return
		}
		for _, h := range k.groups[:i] {
			if g.hash == h.hash && g.compare(&h.state) == 0 {
				r.Fail("group", errors.New("it is there twice"))
				return
			}
		}
	}
	switch {
	case k.total == 0 || k.total > m.Limits.Runs:
		r.Fail("groups", fmt.Errorf("%d runs, want 1 to %d", k.total, m.Limits.Runs))
	case m.keys[k.text] != nil || len(m.keys) >= m.Limits.Keys:
		r.Fail("keys", errors.New("one twice, or too many"))
	case len(keyParts(k.text)) != len(m.Key):
		r.Fail("key", errors.New("it has other parts than the pattern's"))
	default:
		m.keys[k.text] = k
		m.append(k)
		k.survey()
		e.arm(k)
	}
}

// possible tells whether a run of the pattern may be in that state.
func (m *machine) possible(g *group) error {
	step := int(g.step)
	if step >= len(m.Steps) || g.count < 1 || g.open == 0 {
		return errors.New("no such state")
	}
	s := &m.Steps[step]
	if s.Max > 0 && int(g.count) > s.Max || s.Max == 0 && int(g.count) > s.Min ||
		g.open&^m.openings(step, int(g.count)) != 0 {
		return errors.New("no such state")
	}
	for i := range g.runs {
		for _, ref := range g.runs[i].evidence {
			if int(ref.Step) >= len(m.Steps) {
				return errors.New("evidence of a step that does not exist")
			}
		}
	}
	return nil
}

func readGroup(r *pack.Reader, numbers, texts int) *group {
	g := &group{state: state{
		step: uint8(r.Uint("step", MaxSteps-1)), open: uint16(r.Uint("open", math.MaxUint16)),
		count: int32(r.Uint("count", MaxTimes)), until: readTime(r, "until"), mark: r.Uint("mark", math.MaxUint64),
		numbers: make([]int64, numbers), texts: make([]string, texts),
	}}
	for i := range g.numbers {
		g.numbers[i] = r.Int("number")
	}
	for i := range g.texts {
		g.texts[i] = r.String("text", event.MaxName)
	}
	n := r.Array("runs", 1<<12)
	if n == 0 {
		r.Fail("runs", errors.New("none"))
	}
	for ; n > 0 && r.Err() == nil; n-- {
		next := readRun(r)
		if last := len(g.runs) - 1; r.Err() == nil && last >= 0 && (next.start <= g.runs[last].start || next.time < g.runs[last].time) {
			r.Fail("runs", errors.New("not in order"))
		}
		g.runs = append(g.runs, next)
	}
	return g
}

func readRun(r *pack.Reader) run {
	out := run{
		start: r.Uint("start", math.MaxUint64), time: readTime(r, "time"),
		onset: clock.Interval{Lo: r.Int("onset"), Hi: r.Int("onset")},
		ways:  r.Uint("ways", math.MaxUint64), moved: r.Bool("moved"),
	}
	for n := r.Array("evidence", 64); n > 0 && r.Err() == nil; n-- {
		out.evidence = append(out.evidence, Ref{
			Unit: unique.Make(stream.ReadUnit(r)), Seq: r.Uint("sequence", math.MaxUint64),
			Time: readTime(r, "time"), Step: uint8(r.Uint("step", MaxSteps-1)),
		})
	}
	if r.Err() == nil && (out.onset.Lo > out.onset.Hi || len(out.evidence) == 0) {
		r.Fail("run", errors.New("an onset that ends before it starts, or no evidence"))
	}
	return out
}

func appendEvent(w *pack.Writer, e *Event) {
	w.Int(e.Time)
	w.Int(e.Onset.Lo)
	w.Int(e.Onset.Hi)
	stream.AppendUnit(w, e.Unit)
	w.Uint(e.Seq)
	w.String(e.Kind)
	w.Uint(uint64(e.Severity))
	for _, text := range []string{e.Entity, e.Signal, e.Peer, e.Source} {
		w.String(text)
	}
	w.Int(e.Value)
	w.Bin(e.Trace[:])
	w.Bin(e.Span[:])
	w.Bin(e.Parent[:])
	w.Array(len(e.Attrs))
	for _, a := range e.Attrs {
		w.String(a.Key)
		w.String(a.Value)
	}
}

func readEvent(r *pack.Reader) Event {
	e := Event{
		Time: readTime(r, "time"), Onset: clock.Interval{Lo: r.Int("onset"), Hi: r.Int("onset")},
		Unit: stream.ReadUnit(r), Seq: r.Uint("sequence", math.MaxUint64), Kind: readText(r, "kind", MaxName),
		Severity: event.Severity(r.Uint("severity", uint64(event.MaxSeverity))),
		Entity:   readText(r, "entity", event.MaxName), Signal: readText(r, "signal", event.MaxName),
		Peer: readText(r, "peer", event.MaxName), Source: readText(r, "source", event.MaxName),
		Value: r.Int("value"),
	}
	copy(e.Trace[:], r.Bin("trace", len(e.Trace)))
	copy(e.Span[:], r.Bin("span", len(e.Span)))
	copy(e.Parent[:], r.Bin("parent", len(e.Parent)))
	for n := r.Array("attributes", event.MaxAttrs); n > 0 && r.Err() == nil; n-- {
		e.Attrs = append(e.Attrs, event.Attr{Key: readText(r, "attribute", event.MaxName), Value: readText(r, "value", event.MaxString)})
	}
	return e
}

// readTime reads a root time, which is not negative.
func readTime(r *pack.Reader, field string) int64 {
	t := r.Int(field)
	if r.Err() == nil && t < 0 {
		r.Fail(field, fmt.Errorf("%d is before 1970", t))
	}
	return t
}
