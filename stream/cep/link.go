package cep

import (
	"regexp"
	"slices"
	"strings"
)

// scope is what a condition reads: an event, and what a run has bound.
type scope struct {
	event   *Event
	numbers []int64  // by the place of a slot among those of its type
	texts   []string // likewise
}

type (
	condition func(*scope) bool
	numeric   func(*scope) int64
	textual   func(*scope) string
)

// linker turns checked nodes into closures. Places are the slots' indices
// among those of their type.
type linker struct {
	types  []Type
	places []int
}

// condition links a node whose type is Bool.
func (l *linker) condition(n *Node) condition {
	switch n.Op {
	case OpBool:
		value := n.Number != 0
		return func(*scope) bool { return value }
	case OpNot:
		inner := l.condition(&n.Args[0])
		return func(s *scope) bool { return !inner(s) }
	case OpAnd, OpOr:
		return l.joined(n)
	case OpIn:
		return l.in(n)
	case OpEqual, OpNotEqual, OpLess, OpLessEqual:
		return l.compared(n)
	}
	return l.textTest(n)
}

// joined folds the arguments of and, or from the right.
func (l *linker) joined(n *Node) condition {
	last := l.condition(&n.Args[len(n.Args)-1])
	for i := len(n.Args) - 2; i >= 0; i-- {
		first, second := l.condition(&n.Args[i]), last
		if n.Op == OpAnd {
			last = func(s *scope) bool { return first(s) && second(s) }
		} else {
			last = func(s *scope) bool { return first(s) || second(s) }
		}
	}
	return last
}

func (l *linker) in(n *Node) condition {
	switch l.typeOf(&n.Args[0]) {
	case Number:
		value := l.number(&n.Args[0])
		list := make([]numeric, len(n.Args)-1)
		for i := range list {
			list[i] = l.number(&n.Args[i+1])
		}
		return func(s *scope) bool {
			v := value(s)
			return slices.ContainsFunc(list, func(item numeric) bool { return item(s) == v })
		}
	case Text:
		value := l.text(&n.Args[0])
		list := make([]textual, len(n.Args)-1)
		for i := range list {
			list[i] = l.text(&n.Args[i+1])
		}
		return func(s *scope) bool {
			v := value(s)
			return slices.ContainsFunc(list, func(item textual) bool { return item(s) == v })
		}
	}
	value := l.condition(&n.Args[0])
	list := make([]condition, len(n.Args)-1)
	for i := range list {
		list[i] = l.condition(&n.Args[i+1])
	}
	return func(s *scope) bool {
		v := value(s)
		return slices.ContainsFunc(list, func(item condition) bool { return item(s) == v })
	}
}

func (l *linker) compared(n *Node) condition {
	switch l.typeOf(&n.Args[0]) {
	case Number:
		return compareNumbers(n.Op, l.number(&n.Args[0]), l.number(&n.Args[1]))
	case Text:
		return compareTexts(n.Op, l.text(&n.Args[0]), l.text(&n.Args[1]))
	}
	a, b := l.condition(&n.Args[0]), l.condition(&n.Args[1])
	if n.Op == OpEqual {
		return func(s *scope) bool { return a(s) == b(s) }
	}
	return func(s *scope) bool { return a(s) != b(s) }
}

func compareNumbers(op Op, a, b numeric) condition {
	switch op {
	case OpEqual:
		return func(s *scope) bool { return a(s) == b(s) }
	case OpNotEqual:
		return func(s *scope) bool { return a(s) != b(s) }
	case OpLess:
		return func(s *scope) bool { return a(s) < b(s) }
	}
	return func(s *scope) bool { return a(s) <= b(s) }
}

func compareTexts(op Op, a, b textual) condition {
	switch op {
	case OpEqual:
		return func(s *scope) bool { return a(s) == b(s) }
	case OpNotEqual:
		return func(s *scope) bool { return a(s) != b(s) }
	case OpLess:
		return func(s *scope) bool { return a(s) < b(s) }
	}
	return func(s *scope) bool { return a(s) <= b(s) }
}

func (l *linker) textTest(n *Node) condition {
	a := l.text(&n.Args[0])
	if n.Op == OpMatches {
		re := regexp.MustCompile(n.Args[1].Text) // compiled once before, by check
		return func(s *scope) bool { return re.MatchString(a(s)) }
	}
	b := l.text(&n.Args[1])
	switch n.Op {
	case OpStartsWith:
		return func(s *scope) bool { return strings.HasPrefix(a(s), b(s)) }
	case OpEndsWith:
		return func(s *scope) bool { return strings.HasSuffix(a(s), b(s)) }
	}
	return func(s *scope) bool { return strings.Contains(a(s), b(s)) }
}

// number links a node whose type is Number.
func (l *linker) number(n *Node) numeric {
	switch n.Op {
	case OpNumber:
		value := n.Number
		return func(*scope) int64 { return value }
	case OpField:
		if f := Field(n.Number); f != FieldValue {
			return func(s *scope) int64 { return s.event.number(f) }
		}
		return func(s *scope) int64 { return s.event.Value }
	case OpSlot:
		at := l.places[n.Number]
		return func(s *scope) int64 { return s.numbers[at] }
	case OpNegate:
		a := l.number(&n.Args[0])
		return func(s *scope) int64 { return negate(a(s)) }
	}
	a, b := l.number(&n.Args[0]), l.number(&n.Args[1])
	switch n.Op {
	case OpAdd:
		return func(s *scope) int64 { return add(a(s), b(s)) }
	case OpSubtract:
		return func(s *scope) int64 { return subtract(a(s), b(s)) }
	case OpMultiply:
		return func(s *scope) int64 { return multiply(a(s), b(s)) }
	}
	return func(s *scope) int64 { return divide(a(s), b(s)) }
}

// text links a node whose type is Text.
func (l *linker) text(n *Node) textual {
	switch n.Op {
	case OpText:
		value := n.Text
		return func(*scope) string { return value }
	case OpSlot:
		at := l.places[n.Number]
		return func(s *scope) string { return s.texts[at] }
	}
	switch o := (Operand{Field(n.Number), n.Text}); o.Field {
	case FieldEntity:
		return func(s *scope) string { return s.event.Entity }
	case FieldSignal:
		return func(s *scope) string { return s.event.Signal }
	default:
		return func(s *scope) string { return s.event.text(o) }
	}
}

func (l *linker) typeOf(n *Node) Type {
	t, _ := n.check(l.types) // it was checked as a part of the whole
	return t
}
