package cep

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
)

var traceCount = flag.Int("traces", 100_000/slower, "random traces to compare with the oracle")

// tick is the step of time in random traces: a second.
const tick = 1_000_000_000

func field(f Field) Node                 { return Node{Op: OpField, Number: int64(f)} }
func number(v int64) Node                { return Node{Op: OpNumber, Number: v * Scale} }
func text(s string) Node                 { return Node{Op: OpText, Text: s} }
func node(op Op, args ...Node) Node      { return Node{Op: op, Args: args} }
func signalIs(s string) Node             { return node(OpEqual, field(FieldSignal), text(s)) }
func slot(i int) Node                    { return Node{Op: OpSlot, Number: int64(i)} }
func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomCondition is one on few signals and small values, so that short traces
// meet it often.
func randomCondition(r *rand.Rand, types []Type) Node {
	simple := func() Node {
		switch r.IntN(6) {
		case 0:
			return node(OpLess, number(int64(r.IntN(3))), field(FieldValue))
		case 1:
			return node(OpIn, field(FieldSignal), text("a"), text(one(r, "b", "c")))
		}
		return signalIs(one(r, "a", "b", "c"))
	}
	c := simple()
	if len(types) > 0 && r.IntN(2) == 0 {
		i := r.IntN(len(types))
		if types[i] == Number {
			c = node(one(r, OpAnd, OpOr), c, node(one(r, OpLess, OpLessEqual, OpEqual), slot(i), field(FieldValue)))
		} else {
			c = node(one(r, OpAnd, OpOr), c, node(OpEqual, slot(i), field(FieldSignal)))
		}
	}
	if r.IntN(8) == 0 {
		c = node(OpOr, c, simple())
	}
	return c
}

func randomAbsence(r *rand.Rand, types []Type) *Absence {
	a := &Absence{Name: "none", When: randomCondition(r, types)}
	if r.IntN(3) > 0 {
		a.For = int64(1+r.IntN(4)) * tick
	}
	return a
}

// randomPattern tries until one is valid: the rules leave enough.
func randomPattern(r *rand.Rand) *Pattern {
	for {
		p := &Pattern{
			Name: "random", Key: []Operand{{Field: FieldEntity}}, Within: int64(1+r.IntN(14)) * tick,
			After:  Strategy(r.IntN(int(strategyEnd))),
			Limits: Limits{Runs: 1 << 12, Keys: 100, Events: one(r, 2, 3, 8), Text: 16},
			Slots:  []Slot{{Name: "first", Op: First, Of: field(FieldEntity)}},
		}
		// Half of the patterns have no strict contiguity: only they may leave out
		// events that match nothing.
		between := one(r, []Contiguity{Skip, Any}, []Contiguity{Skip, Any, Next})
		count := 1 + r.IntN(4)
		p.AfterStep = r.IntN(count)
		for range r.IntN(3) {
			s := Slot{Step: r.IntN(count), Name: "fold", Op: FoldOp(r.IntN(int(foldEnd))), Of: field(FieldValue)}
			if (s.Op == First || s.Op == Last) && r.IntN(2) == 0 {
				s.Of = field(FieldSignal)
			}
			p.Slots = append(p.Slots, s)
		}
		types, _ := p.types()
		if r.IntN(8) == 0 {
			where := node(OpNotEqual, field(FieldSignal), text("d"))
			p.Where = &where
		}
		for i := range count {
			s := Step{
				Name: fmt.Sprint("s", i), When: randomCondition(r, types), Min: 1, Max: 1,
				Follow: one(r, between...), Repeat: one(r, between...),
				Optional: r.IntN(4) == 0, Greedy: r.IntN(3) == 0,
			}
			if r.IntN(2) == 0 {
				s.Min = 1 + r.IntN(2)
				s.Max = one(r, 0, s.Min, s.Min+1)
			}
			if i > 0 && r.IntN(4) == 0 {
				s.Absent = randomAbsence(r, types)
			}
			p.Steps = append(p.Steps, s)
		}
		if r.IntN(4) == 0 {
			p.End = randomAbsence(r, types)
		}
		if p.Validate() == nil {
			return p
		}
	}
}

// randomTrace is short, with many events of the same time.
func randomTrace(r *rand.Rand) []*Event {
	var trace []*Event
	now := int64(100 * tick)
	for i := range 1 + r.IntN(9) {
		now += int64(r.IntN(3)) * tick
		trace = append(trace, &Event{
			Time: now, Onset: clock.Interval{Lo: now - 5, Hi: now + 5},
			Unit: event.Unit{Origin: "east/a", WAL: 7}, Seq: uint64(i + 1),
			Kind: KindLog, Entity: one(r, "x", "x", "x", "y"), Signal: one(r, "a", "a", "b", "b", "c", "d"),
			Value: int64(r.IntN(4)) * Scale,
		})
	}
	return trace
}

// arrival plays a trace to an engine in any order that the watermarks allow,
// and now and then exchanges the engine for one restored from its snapshot.
func arrival(t *testing.T, r *rand.Rand, set *Set, trace []*Event) []Match {
	opts := DefaultOptions()
	opts.Misses = true
	e, err := New(set, opts)
	if err != nil {
		t.Fatal(err)
	}
	var out []Match
	left := slices.Clone(trace)
	r.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	for len(left) > 0 {
		e.Observe(left[0])
		left = left[1:]
		if r.IntN(3) == 0 {
			watermark := trace[len(trace)-1].Time
			for _, ev := range left {
				watermark = min(watermark, ev.Time)
			}
			out = append(out, e.Advance(watermark-int64(r.IntN(2)))...)
		}
		if r.IntN(4) == 0 {
			out = append(out, e.Advance(0)...)
			e = revived(t, e)
		}
	}
	return append(out, e.Advance(1<<62)...)
}

// revived is an engine restored from another's snapshot, which must be the
// same again.
func revived(t *testing.T, e *Engine) *Engine {
	before := snapshotOf(e)
	f, err := New(e.set, e.opts)
	if err != nil {
		t.Fatal(err)
	}
	r := pack.NewReader(before)
	if err := f.Restore(r); err != nil {
		t.Fatal(err)
	}
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, snapshotOf(f)) {
		t.Fatal("a restored engine has another snapshot")
	}
	return f
}

func snapshotOf(e *Engine) []byte {
	w := pack.NewWriter()
	e.Snapshot(w)
	return w.Copy()
}

// TestOracle compares the engine with the naive matcher on random traces and
// patterns.
func TestOracle(t *testing.T) {
	traces := *traceCount
	if testing.Short() {
		traces /= 20
	}
	matches, matched := 0, 0
	for seed := range traces {
		n := compareWithOracle(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		matches += n
		if n > 0 {
			matched++
		}
	}
	if matched < traces/4 {
		t.Errorf("only %d of %d traces matched: the test says little", matched, traces)
	}
	t.Logf("%d traces, %d with matches, %d matches", traces, matched, matches)
}

func compareWithOracle(t *testing.T, seed uint64) int {
	r := rand.New(rand.NewPCG(seed, 1))
	p := randomPattern(r)
	set, err := NewSet([]*Pattern{p})
	if err != nil {
		t.Fatal(err)
	}
	trace := randomTrace(r)
	var want []string
	evidence := map[string][]string{}
	for _, key := range []string{"x", "y"} {
		o := &oracle{machine: newMachine(p, Hash{}, 0)}
		for _, ev := range trace {
			if ev.Entity == key && (o.where == nil || o.where(&scope{event: ev})) {
				o.events = append(o.events, ev)
			}
		}
		lines, proofs := o.matches()
		want = append(want, lines...)
		for line, list := range proofs {
			evidence[line] = append(evidence[line], list...)
		}
	}
	var got []string
	for _, m := range arrival(t, r, set, trace) {
		line := describe(p.Key, m.Key, m.Start, m.End, m.Ways, m.Numbers, m.Texts)
		line = fmt.Sprintf("%s from %d", line, m.Evidence[0].Seq)
		got = append(got, line)
		var seqs []uint64
		for _, ref := range m.Evidence {
			seqs = append(seqs, ref.Seq)
		}
		if !slices.Contains(evidence[line], fmt.Sprint(seqs)) {
			t.Errorf("%s: the evidence %v is no match, but %v", line, seqs, evidence[line])
		}
	}
	// Keys are independent; among themselves the matches of one are in order.
	slices.SortStableFunc(want, byKey)
	slices.SortStableFunc(got, byKey)
	if !slices.Equal(got, want) {
		t.Errorf("pattern %+v\ntrace:", *p)
		for _, ev := range trace {
			t.Errorf("  %d %s %s %d at %d", ev.Seq, ev.Entity, ev.Signal, ev.Value/Scale, ev.Time/tick)
		}
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	return len(got)
}

func byKey(a, b string) int { return bytes.Compare([]byte(a[:10]), []byte(b[:10])) }

// TestNextMissesNothing lets time come by the engine's own word on when it
// matters: before that nothing is matched, and in the end nothing is missing.
func TestNextMissesNothing(t *testing.T) {
	matches := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		set, err := NewSet([]*Pattern{randomPattern(r)})
		if err != nil {
			t.Fatal(err)
		}
		engine := func() *Engine {
			e, err := New(set, DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		steps, atOnce := engine(), engine()
		for _, ev := range randomTrace(r) {
			steps.Observe(ev)
			atOnce.Observe(ev)
		}
		want, got := atOnce.Advance(1<<62), 0
		for next := steps.Next(); next < math.MaxInt64; next = steps.Next() {
			if n := len(steps.Advance(next - 1)); n > 0 {
				t.Fatalf("seed %d: %d matches before %d, from which on there may be some", seed, n, next)
			}
			got += len(steps.Advance(next))
		}
		if got != len(want) {
			t.Fatalf("seed %d: %d matches, want %d", seed, got, len(want))
		}
		matches += got
	}
	if matches == 0 {
		t.Error("nothing matched: the test says nothing")
	}
}
