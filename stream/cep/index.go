package cep

import (
	"slices"
	"strings"

	"pando/stream"
)

// interest names the conditions of a pattern that an event might meet, by
// their bits; see [conditionBit].
type interest struct {
	pattern int
	wanted  uint64
}

// Bits of the conditions of a pattern: the steps', those of the absences
// before them, the one at the end, and, for patterns to which any event of the
// key matters, that it is there.
const (
	absentBits = MaxSteps
	endBit     = uint64(1) << (2 * MaxSteps)
	seenBit    = endBit << 1
)

func stepBit(step int) uint64   { return 1 << step }
func absentBit(step int) uint64 { return 1 << (absentBits + step) }

// literal is what a condition demands of one field: one of some values, or
// one of some prefixes.
type literal struct {
	field  Field
	prefix bool
	values []string
}

func (l *literal) holds(e *Event) bool {
	text := e.text(Operand{Field: l.field})
	if l.prefix {
		return slices.ContainsFunc(l.values, func(v string) bool { return strings.HasPrefix(text, v) })
	}
	return slices.Contains(l.values, text)
}

// literals returns what must hold for the condition to hold, as far as it can
// be told by comparing kind, entity or signal with literals.
func literals(n *Node) []literal {
	switch n.Op {
	case OpAnd:
		var all []literal
		for i := range n.Args {
			all = append(all, literals(&n.Args[i])...)
		}
		return all
	case OpOr:
		common := literals(&n.Args[0])
		for i := range n.Args[1:] {
			common = either(common, literals(&n.Args[i+1]))
		}
		return common
	case OpEqual:
		if n.Args[0].Op == OpText {
			return demanded(&n.Args[1], n.Args[:1], false)
		}
		return demanded(&n.Args[0], n.Args[1:], false)
	case OpIn:
		return demanded(&n.Args[0], n.Args[1:], false)
	case OpStartsWith:
		return demanded(&n.Args[0], n.Args[1:], true)
	}
	return nil
}

// demanded is the literal of a comparison, if it is one of a field that is
// indexed with literals only.
func demanded(of *Node, with []Node, prefix bool) []literal {
	if of.Op != OpField {
		return nil
	}
	f := Field(of.Number)
	if f != FieldKind && f != FieldEntity && f != FieldSignal {
		return nil
	}
	l := literal{field: f, prefix: prefix}
	for i := range with {
		if with[i].Op != OpText {
			return nil
		}
		l.values = append(l.values, with[i].Text)
	}
	return []literal{l}
}

// either keeps what holds whichever of two conditions does.
func either(a, b []literal) []literal {
	var out []literal
	for _, x := range a {
		for _, y := range b {
			if x.field == y.field && x.prefix == y.prefix {
				out = append(out, literal{x.field, x.prefix, slices.Concat(x.values, y.values)})
				break
			}
		}
	}
	return out
}

// posting is one condition in the index, with all that its literals demand.
type posting struct {
	interest
	demands []literal
}

// index finds the conditions that may hold for an event: by the most telling
// of their literals first, then by the others. Most events are of a few series,
// so what was found for one is remembered.
type index struct {
	exact    [2]map[string][]posting // by signal, by entity
	prefixes [2][]prefixed
	rest     []posting // those that only demand a kind, or nothing
	recent   []answer
	searches int
}

// Where the index files conditions.
const (
	bySignal = iota
	byEntity
)

// names returns whether a condition is filed under a text, or a prefix of it; nil
// if none is filed there at all.
func (x *index) names(at int) func(string) bool {
	if len(x.exact[at]) == 0 && len(x.prefixes[at]) == 0 {
		return nil
	}
	return func(text string) bool {
		if _, ok := x.exact[at][text]; ok {
			return true
		}
		return slices.ContainsFunc(x.prefixes[at], func(p prefixed) bool { return strings.HasPrefix(text, p.prefix) })
	}
}

type prefixed struct {
	prefix string
	posting
}

// answer is what the index said for a kind, entity and signal.
type answer struct {
	known                bool
	kind, entity, signal string
	interests            []interest
}

// recentAnswers is the size of the memory: the series that make most events, in
// 300 KB. It is made after as many searches as fewSearches says, so that an
// engine for a short trace costs little. Each series has several places, so that
// a few that fall together do not drive each other out.
const (
	recentAnswers = 4096
	places        = 4
	fewSearches   = 64
)

func newIndex(patterns []*Pattern) *index {
	x := &index{}
	x.exact[0], x.exact[1] = map[string][]posting{}, map[string][]posting{}
	for i, p := range patterns {
		var where []literal
		if p.Where != nil {
			where = literals(p.Where)
		}
		add := func(bit uint64, n *Node) {
			demands := where
			if n != nil {
				demands = slices.Concat(where, literals(n))
			}
			x.add(posting{interest{i, bit}, demands})
		}
		for s := range p.Steps {
			add(stepBit(s), &p.Steps[s].When)
			if a := p.Steps[s].Absent; a != nil {
				add(absentBit(s), &a.When)
			}
		}
		if p.End != nil {
			add(endBit, &p.End.When)
		}
		if p.strict() {
			add(seenBit, nil)
		}
	}
	return x
}

// add files a posting under its most telling literal.
func (x *index) add(p posting) {
	for _, prefix := range []bool{false, true} {
		for at, field := range []Field{FieldSignal, FieldEntity} {
			i := slices.IndexFunc(p.demands, func(l literal) bool { return l.field == field && l.prefix == prefix })
			if i < 0 {
				continue
			}
			values := slices.Compact(slices.Sorted(slices.Values(p.demands[i].values)))
			for _, v := range values {
				if prefix {
					x.prefixes[at] = append(x.prefixes[at], prefixed{v, p})
				} else {
					x.exact[at][v] = append(x.exact[at][v], p)
				}
			}
			return
		}
	}
	x.rest = append(x.rest, p)
}

// lookup returns the conditions that may hold for the event, by pattern in
// ascending order. The result is shared; nobody may change it.
func (x *index) lookup(e *Event) []interest {
	if x.recent == nil {
		if x.searches++; x.searches < fewSearches {
			return x.search(e)
		}
		x.recent = make([]answer, recentAnswers)
	}
	at := stream.Series{Entity: e.Entity, Signal: e.Signal}.Spread(recentAnswers) &^ (places - 1)
	set := x.recent[at : at+places]
	for i := range set {
		if a := &set[i]; a.known && a.signal == e.Signal && a.entity == e.Entity && a.kind == e.Kind {
			return a.interests
		}
	}
	copy(set[1:], set)
	// The copies let go of the batch that the event's names lie in.
	set[0] = answer{known: true, kind: strings.Clone(e.Kind), entity: strings.Clone(e.Entity), signal: strings.Clone(e.Signal)}
	set[0].interests = x.search(e)
	return set[0].interests
}

func (x *index) search(e *Event) []interest {
	var out []interest
	take := func(p *posting) {
		for i := range p.demands {
			if !p.demands[i].holds(e) {
				return
			}
		}
		at, found := slices.BinarySearchFunc(out, p.pattern, func(i interest, pattern int) int { return i.pattern - pattern })
		if !found {
			out = slices.Insert(out, at, interest{pattern: p.pattern})
		}
		out[at].wanted |= p.wanted
	}
	for at, text := range []string{e.Signal, e.Entity} {
		for i := range x.exact[at][text] {
			take(&x.exact[at][text][i])
		}
		for i := range x.prefixes[at] {
			if strings.HasPrefix(text, x.prefixes[at][i].prefix) {
				take(&x.prefixes[at][i].posting)
			}
		}
	}
	for i := range x.rest {
		take(&x.rest[i])
	}
	return out
}
