package cep

import (
	"errors"
	"fmt"
	"regexp"
)

// Op is an operation of the code. Numbers are part of its format: they never
// change their meaning, new ones come at the end.
type Op uint8

const (
	OpNumber     Op = iota // literal: Number, in millionths
	OpText                 // literal: Text
	OpBool                 // literal: Number, 0 or 1
	OpField                // Number is the [Field], Text the name of an attribute
	OpSlot                 // Number is the index of a [Slot]
	OpNegate               // number
	OpAdd                  // two numbers
	OpSubtract             // two numbers
	OpMultiply             // two numbers
	OpDivide               // two numbers
	OpEqual                // two of one type
	OpNotEqual             // two of one type
	OpLess                 // two numbers or two texts
	OpLessEqual            // two numbers or two texts
	OpNot                  // one truth value
	OpAnd                  // two or more truth values
	OpOr                   // two or more truth values
	OpIn                   // a value, and one or more of its type
	OpStartsWith           // two texts
	OpEndsWith             // two texts
	OpContains             // two texts
	OpMatches              // a text, and a literal: RE2 syntax
	opEnd
)

// Bounds of one condition. Each node runs at most once an event, so they bound
// its time as well.
const (
	MaxNodes   = 256  // longer ones nobody reads any more
	MaxLiteral = 1024 // bytes of a text, as of an entity's name
	maxPattern = 256  // bytes of a regular expression
)

// Node is a condition or an expression in it: the code that travels, in a tree.
// Written down, it is a byte-coded stack program, arguments before their
// operation (see [AppendNode]); its operands are integers in millionths and the
// texts that stand in it. Nothing else is needed to run it.
type Node struct {
	Op     Op
	Number int64
	Text   string
	Args   []Node
}

// check returns the type of the node's value, or what is wrong with it. Slots
// are the types of what [OpSlot] may refer to.
func (n *Node) check(slots []Type) (Type, error) {
	left := MaxNodes
	return n.typed(slots, &left)
}

func (n *Node) typed(slots []Type, left *int) (Type, error) {
	if *left--; *left < 0 {
		return 0, fmt.Errorf("more than %d operations in one condition", MaxNodes)
	}
	if len(n.Text) > MaxLiteral {
		return 0, fmt.Errorf("text of %d bytes, at most %d are allowed", len(n.Text), MaxLiteral)
	}
	args := make([]Type, len(n.Args))
	for i := range n.Args {
		t, err := n.Args[i].typed(slots, left)
		if err != nil {
			return 0, err
		}
		args[i] = t
	}
	return n.result(slots, args)
}

// result judges the node itself, given the types of its arguments.
func (n *Node) result(slots []Type, args []Type) (Type, error) {
	switch n.Op {
	case OpNumber, OpText, OpBool, OpField, OpSlot:
		return n.leaf(slots, args)
	case OpNegate:
		return Number, n.want(args, 1, Number)
	case OpAdd, OpSubtract, OpMultiply, OpDivide:
		return Number, n.want(args, 2, Number)
	case OpLess, OpLessEqual:
		if len(args) == 2 && args[0] == Text {
			return Bool, n.want(args, 2, Text)
		}
		return Bool, n.want(args, 2, Number)
	case OpEqual, OpNotEqual:
		if len(args) != 2 || args[0] != args[1] {
			return 0, n.fault("two values of one type")
		}
		return Bool, nil
	case OpNot:
		return Bool, n.want(args, 1, Bool)
	case OpAnd, OpOr:
		return Bool, n.want(args, max(len(args), 2), Bool)
	case OpIn:
		if len(args) == 0 {
			return 0, n.fault("a value and a list")
		}
		return Bool, n.want(args, max(len(args), 2), args[0])
	case OpStartsWith, OpEndsWith, OpContains:
		return Bool, n.want(args, 2, Text)
	case OpMatches:
		if err := n.want(args, 2, Text); err != nil {
			return 0, err
		}
		return Bool, n.expression()
	}
	return 0, fmt.Errorf("operation %d is unknown", n.Op)
}

func (n *Node) leaf(slots []Type, args []Type) (Type, error) {
	if len(args) != 0 {
		return 0, n.fault("no arguments")
	}
	switch n.Op {
	case OpNumber:
		return Number, nil
	case OpText:
		return Text, nil
	case OpBool:
		if n.Number&^1 != 0 {
			return 0, n.fault("0 or 1")
		}
		return Bool, nil
	case OpField:
		if n.Number < 0 || n.Number >= int64(fieldEnd) {
			return 0, n.fault("a field that exists")
		}
		f := Field(n.Number)
		if (f == FieldAttr) != (n.Text != "") {
			return 0, n.fault("a name for an attribute, and for nothing else")
		}
		return f.Type(), nil
	}
	if n.Number < 0 || n.Number >= int64(len(slots)) {
		return 0, n.fault("a slot that exists")
	}
	return slots[n.Number], nil
}

// want demands count arguments of type t.
func (n *Node) want(args []Type, count int, t Type) error {
	if len(args) != count {
		return n.fault(fmt.Sprintf("%d arguments", count))
	}
	for _, a := range args {
		if a != t {
			return n.fault(fmt.Sprintf("a %v, not a %v", t, a))
		}
	}
	return nil
}

// expression checks the second argument of [OpMatches].
func (n *Node) expression() error {
	if n.Args[1].Op != OpText {
		return errors.New("matches wants a literal regular expression")
	}
	if text := n.Args[1].Text; len(text) > maxPattern {
		return fmt.Errorf("regular expression of %d bytes, at most %d are allowed", len(text), maxPattern)
	}
	_, err := regexp.Compile(n.Args[1].Text)
	return err
}

func (n *Node) fault(want string) error {
	return fmt.Errorf("operation %d: want %s", n.Op, want)
}

// walk visits the node and all below it.
func (n *Node) walk(visit func(*Node)) {
	visit(n)
	for i := range n.Args {
		n.Args[i].walk(visit)
	}
}
