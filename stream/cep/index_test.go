package cep

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// literalCondition is a random one over what the index knows.
func literalCondition(r *rand.Rand, depth int) Node {
	if depth > 0 {
		return node(one(r, OpAnd, OpOr), literalCondition(r, depth-1), literalCondition(r, depth-1))
	}
	f, value := field(one(r, FieldKind, FieldEntity, FieldSignal)), func() Node { return text(one(r, "a", "ab", "abc", "b", "log")) }
	switch r.IntN(6) {
	case 0:
		return node(OpStartsWith, f, value())
	case 1:
		return node(OpIn, f, value(), value())
	case 2:
		return node(OpNot, node(OpEqual, f, value()))
	case 3:
		return node(OpEqual, value(), f)
	case 4:
		return node(OpLess, field(FieldValue), number(2))
	}
	return node(OpEqual, f, value())
}

// TestIndexMissesNothing: whatever condition holds for an event, the index
// names it; and it says the same when it answers out of its memory.
func TestIndexMissesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	asked, named, ruledOut := 0, 0, 0
	for range 300 {
		var patterns []*Pattern
		for i := range 1 + r.IntN(5) {
			p := &Pattern{Name: fmt.Sprint(i)}
			if r.IntN(2) == 0 {
				where := literalCondition(r, r.IntN(2))
				p.Where = &where
			}
			for range 1 + r.IntN(3) {
				p.Steps = append(p.Steps, Step{When: literalCondition(r, r.IntN(4)), Max: 1})
			}
			patterns = append(patterns, p)
		}
		x, l := newIndex(patterns), &linker{}
		for range 200 {
			ev := &Event{Kind: one(r, "log", "a"), Entity: one(r, "a", "abx", "c"), Signal: one(r, "ab", "abc", "b", "x"), Value: r.Int64N(4) * Scale}
			wanted := map[int]uint64{}
			for _, i := range x.lookup(ev) {
				wanted[i.pattern] = i.wanted
			}
			signal, entity, everything := (&Engine{index: x}).Names()
			if !everything && (signal == nil || !signal(ev.Signal)) && (entity == nil || !entity(ev.Entity)) {
				ruledOut++
				if len(wanted) > 0 {
					t.Fatalf("%+v is ruled out by its names, and the index names %v", *ev, wanted)
				}
			}
			for i, p := range patterns {
				if p.Where != nil && !l.condition(p.Where)(&scope{event: ev}) {
					continue
				}
				for s := range p.Steps {
					asked++
					has := wanted[i]&stepBit(s) != 0
					if has {
						named++
					}
					if !has && l.condition(&p.Steps[s].When)(&scope{event: ev}) {
						t.Fatalf("the index does not name step %d of %+v for %+v", s, *p, *ev)
					}
				}
			}
		}
	}
	if ruledOut == 0 {
		t.Error("no event is ruled out by its names")
	}
	if named > asked*3/4 {
		t.Errorf("the index names %d of %d conditions: it spares nothing", named, asked)
	}
}
