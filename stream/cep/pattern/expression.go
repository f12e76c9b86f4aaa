package pattern

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"

	"pando/event"
	"pando/stream/cep"
)

// maxExpression is the length in bytes of a condition. It also bounds how deep
// the parser may go.
const maxExpression = 2048

// constants may stand in conditions in the place of numbers.
var constants = map[string]int64{
	"debug": int64(event.SeverityDebug), "info": int64(event.SeverityInfo), "warn": int64(event.SeverityWarn),
	"error": int64(event.SeverityError), "fatal": int64(event.SeverityFatal),
}

// keywords are words of the expression language that could be names.
var keywords = []string{"and", "or", "not", "in", "contains", "startsWith", "endsWith", "matches", "let", "if", "else", "true", "false", "nil"}

// reserved tells whether a word means something in conditions already.
func reserved(word string) bool {
	_, field := cep.FieldNamed(word)
	_, constant := constants[word]
	return field || constant || slices.Contains(keywords, word)
}

// Error is a fault in a condition.
type Error struct {
	Source       string // the whole condition
	Line, Column int    // from 1, within the condition
	Message      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%d:%d: %s in %q", e.Line, e.Column, e.Message, e.Source)
}

// expression parses and checks a condition or an expression, which must have
// one of the types.
func (c *compiler) expression(source string, want ...cep.Type) (cep.Node, cep.Type, error) {
	if len(source) > maxExpression {
		return cep.Node{}, 0, fmt.Errorf("condition of %d bytes: want at most %d", len(source), maxExpression)
	}
	config := conf.New(c.environment())
	config.MaxNodes = cep.MaxNodes
	tree, err := checker.ParseCheck(source, config)
	if err != nil {
		return cep.Node{}, 0, located(source, err)
	}
	t := translator{c, source}
	n, kind, err := t.node(tree.Node)
	if err == nil && !slices.Contains(want, kind) {
		err = t.fault(tree.Node, "this is a %v: want a %v", kind, want[0])
	}
	return n, kind, err
}

// located turns the parser's error into ours.
func located(source string, err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	return &Error{Source: source, Line: max(at.Line, 1), Column: at.Column + 1, Message: at.Message}
}

// environment tells the checker what a condition may name, and its type.
func (c *compiler) environment() types.Map {
	attrs := types.TypeOf(map[string]string{})
	fields := func() types.Map {
		env := types.Map{"attr": attrs}
		for f := cep.FieldKind; ; f++ {
			if _, known := cep.FieldNamed(f.String()); !known {
				return env
			}
			switch {
			case f == cep.FieldAttr:
			case f.Type() == cep.Number:
				env[f.String()] = types.Float64
			default:
				env[f.String()] = types.String
			}
		}
	}
	env := fields()
	for name := range constants {
		env[name] = types.Float64
	}
	for step, at := range c.steps {
		if at > c.visible {
			continue
		}
		of := fields()
		for i, s := range c.to.Slots {
			name, ok := foldOf(step, s.Name)
			switch {
			case !ok:
			case c.types[i] == cep.Text:
				of[name] = types.String
			default:
				of[name] = types.Float64
			}
		}
		env[step] = of
	}
	return env
}

// foldOf is the name of a step's fold in the name of its slot.
func foldOf(step, slot string) (string, bool) {
	if len(slot) <= len(step)+1 || slot[:len(step)+1] != step+"." {
		return "", false
	}
	name := slot[len(step)+1:]
	return name, identifier(name)
}

// translator turns a checked tree into our code.
type translator struct {
	*compiler
	source string
}

func (t translator) fault(at ast.Node, format string, args ...any) error {
	bound := (&file.Error{Location: at.Location(), Message: fmt.Sprintf(format, args...)}).Bind(file.NewSource(t.source))
	return &Error{Source: t.source, Line: bound.Line, Column: bound.Column + 1, Message: bound.Message}
}

// unsupported names what the checker allows and we do not run.
func (t translator) unsupported(at ast.Node, what string) error {
	return t.fault(at, "%s is not supported: conditions have comparisons, and, or, not, in [...], startsWith, endsWith, contains, matches, + - * /", what)
}

func (t translator) node(n ast.Node) (cep.Node, cep.Type, error) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return t.number(n, float64(n.Value))
	case *ast.FloatNode:
		return t.number(n, n.Value)
	case *ast.StringNode:
		return cep.Node{Op: cep.OpText, Text: n.Value}, cep.Text, nil
	case *ast.BoolNode:
		out := cep.Node{Op: cep.OpBool}
		if n.Value {
			out.Number = 1
		}
		return out, cep.Bool, nil
	case *ast.IdentifierNode:
		return t.name(n)
	case *ast.MemberNode:
		return t.member(n)
	case *ast.UnaryNode:
		return t.unary(n)
	case *ast.BinaryNode:
		return t.binary(n)
	}
	return cep.Node{}, 0, t.unsupported(n, describe(n))
}

// describe names a construct for people.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.BuiltinNode:
		return "the function " + n.Name
	case *ast.CallNode:
		return "a call"
	case *ast.ConditionalNode:
		return "a choice (?:)"
	case *ast.ArrayNode:
		return "a list outside in"
	case *ast.NilNode:
		return "nil (a missing text is \"\", a missing number 0)"
	case *ast.VariableDeclaratorNode:
		return "let"
	case *ast.ChainNode:
		return "?."
	case *ast.SequenceNode:
		return "a sequence (;)"
	}
	return reflect.TypeOf(n).Elem().Name()
}

// largest is the least number that does not fit the fixed point any more.
const largest = math.MaxInt64 / cep.Scale

func (t translator) number(at ast.Node, v float64) (cep.Node, cep.Type, error) {
	if v >= largest || v <= -largest {
		return cep.Node{}, 0, t.fault(at, "%v is out of range: numbers go to ±%d", v, int64(largest))
	}
	return cep.Node{Op: cep.OpNumber, Number: cep.Fixed(v)}, cep.Number, nil
}

func (t translator) name(n *ast.IdentifierNode) (cep.Node, cep.Type, error) {
	if v, ok := constants[n.Value]; ok {
		return cep.Node{Op: cep.OpNumber, Number: v * cep.Scale}, cep.Number, nil
	}
	f, ok := cep.FieldNamed(n.Value)
	if !ok || f == cep.FieldAttr {
		return cep.Node{}, 0, t.fault(n, "%s is no value by itself: name a field of it, such as %s.entity", n.Value, n.Value)
	}
	return cep.Node{Op: cep.OpField, Number: int64(f)}, f.Type(), nil
}

// member is attr["name"], step.field, step.fold or step.attr["name"].
func (t translator) member(n *ast.MemberNode) (cep.Node, cep.Type, error) {
	property, ok := n.Property.(*ast.StringNode)
	if !ok || n.Optional || n.Method {
		return cep.Node{}, 0, t.unsupported(n, "a computed name")
	}
	switch of := n.Node.(type) {
	case *ast.IdentifierNode:
		if of.Value == "attr" {
			if property.Value == "" || len(property.Value) > event.MaxName {
				return cep.Node{}, 0, t.fault(n, "the name of an attribute has 1 to %d bytes", event.MaxName)
			}
			return cep.Node{Op: cep.OpField, Number: int64(cep.FieldAttr), Text: property.Value}, cep.Text, nil
		}
		if at, ok := t.slots[of.Value+"."+property.Value]; ok {
			return cep.Node{Op: cep.OpSlot, Number: int64(at)}, t.types[at], nil
		}
		if f, ok := cep.FieldNamed(property.Value); ok && f != cep.FieldAttr {
			return t.bound(n, of.Value, cep.Operand{Field: f})
		}
	case *ast.MemberNode:
		step, isStep := of.Node.(*ast.IdentifierNode)
		attr, isAttr := of.Property.(*ast.StringNode)
		if isStep && isAttr && attr.Value == "attr" && property.Value != "" && len(property.Value) <= event.MaxName {
			return t.bound(n, step.Value, cep.Operand{Field: cep.FieldAttr, Attr: property.Value})
		}
	}
	return cep.Node{}, 0, t.unsupported(n, "this reference")
}

// bound refers to a field of a step's last event.
func (t translator) bound(at ast.Node, step string, o cep.Operand) (cep.Node, cep.Type, error) {
	if _, ok := t.steps[step]; !ok {
		return cep.Node{}, 0, t.fault(at, "there is no step %q with when", step)
	}
	slot := t.reference(step, o)
	return cep.Node{Op: cep.OpSlot, Number: int64(slot)}, t.types[slot], nil
}

func (t translator) unary(n *ast.UnaryNode) (cep.Node, cep.Type, error) {
	inner, kind, err := t.node(n.Node)
	switch {
	case err != nil:
	case n.Operator == "not" || n.Operator == "!":
		return cep.Node{Op: cep.OpNot, Args: []cep.Node{inner}}, cep.Bool, nil
	case n.Operator == "+":
		return inner, kind, nil
	case n.Operator == "-" && inner.Op == cep.OpNumber:
		inner.Number = -inner.Number
		return inner, cep.Number, nil
	case n.Operator == "-":
		return cep.Node{Op: cep.OpNegate, Args: []cep.Node{inner}}, cep.Number, nil
	default:
		err = t.unsupported(n, "operator "+n.Operator)
	}
	return cep.Node{}, 0, err
}

// operators are those of two operands. Greater is less with the operands
// exchanged, which have no side effects.
var operators = map[string]struct {
	op       cep.Op
	exchange bool
	result   cep.Type
}{
	"and": {cep.OpAnd, false, cep.Bool}, "&&": {cep.OpAnd, false, cep.Bool},
	"or": {cep.OpOr, false, cep.Bool}, "||": {cep.OpOr, false, cep.Bool},
	"==": {cep.OpEqual, false, cep.Bool}, "!=": {cep.OpNotEqual, false, cep.Bool},
	"<": {cep.OpLess, false, cep.Bool}, "<=": {cep.OpLessEqual, false, cep.Bool},
	">": {cep.OpLess, true, cep.Bool}, ">=": {cep.OpLessEqual, true, cep.Bool},
	"startsWith": {cep.OpStartsWith, false, cep.Bool}, "endsWith": {cep.OpEndsWith, false, cep.Bool},
	"contains": {cep.OpContains, false, cep.Bool}, "matches": {cep.OpMatches, false, cep.Bool},
	"+": {cep.OpAdd, false, cep.Number}, "-": {cep.OpSubtract, false, cep.Number},
	"*": {cep.OpMultiply, false, cep.Number}, "/": {cep.OpDivide, false, cep.Number},
}

func (t translator) binary(n *ast.BinaryNode) (cep.Node, cep.Type, error) {
	if n.Operator == "in" {
		return t.in(n)
	}
	o, ok := operators[n.Operator]
	if !ok {
		return cep.Node{}, 0, t.unsupported(n, "operator "+n.Operator)
	}
	a, aType, err := t.node(n.Left)
	if err != nil {
		return cep.Node{}, 0, err
	}
	b, bType, err := t.node(n.Right)
	switch {
	case err != nil:
		return cep.Node{}, 0, err
	case aType != bType:
		return cep.Node{}, 0, t.fault(n, "%s compares a %v with a %v", n.Operator, aType, bType)
	case o.op == cep.OpAdd && aType == cep.Text:
		return cep.Node{}, 0, t.unsupported(n, "joining texts by +")
	case o.op == cep.OpMatches && b.Op != cep.OpText:
		return cep.Node{}, 0, t.unsupported(n, "a computed regular expression")
	case o.exchange:
		a, b = b, a
	}
	return cep.Node{Op: o.op, Args: []cep.Node{a, b}}, o.result, nil
}

// in is membership of a list that stands there.
func (t translator) in(n *ast.BinaryNode) (cep.Node, cep.Type, error) {
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok || len(list.Nodes) == 0 {
		return cep.Node{}, 0, t.fault(n, "in wants a list such as [\"a\", \"b\"]")
	}
	value, kind, err := t.node(n.Left)
	if err != nil {
		return cep.Node{}, 0, err
	}
	out := cep.Node{Op: cep.OpIn, Args: []cep.Node{value}}
	for _, item := range list.Nodes {
		v, itemType, err := t.node(item)
		if err != nil {
			return cep.Node{}, 0, err
		}
		if itemType != kind {
			return cep.Node{}, 0, t.fault(item, "a %v in a list for a %v", itemType, kind)
		}
		out.Args = append(out.Args, v)
	}
	return out, cep.Bool, nil
}
