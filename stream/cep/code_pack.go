package cep

import (
	"errors"
	"fmt"

	"pando/internal/pack"
)

// operands tells what is written beside an operation.
func (op Op) operands() (number, text, count bool) {
	switch op {
	case OpNumber, OpBool, OpSlot:
		return true, false, false
	case OpText:
		return false, true, false
	case OpField:
		return true, true, false
	case OpAnd, OpOr, OpIn:
		return false, false, true
	}
	return false, false, false
}

// arity is the number of arguments of an operation that does not say it.
func (op Op) arity() int {
	switch op {
	case OpNumber, OpText, OpBool, OpField, OpSlot:
		return 0
	case OpNegate, OpNot:
		return 1
	}
	return 2
}

// AppendNode writes a condition that [Node.check] accepts: its operations,
// each after its arguments, with their operands.
func AppendNode(w *pack.Writer, n *Node) {
	count := 0
	n.walk(func(*Node) { count++ })
	w.Array(count)
	appendOps(w, n)
}

func appendOps(w *pack.Writer, n *Node) {
	for i := range n.Args {
		appendOps(w, &n.Args[i])
	}
	w.Uint(uint64(n.Op))
	number, text, count := n.Op.operands()
	if number {
		w.Int(n.Number)
	}
	if text {
		w.String(n.Text)
	}
	if count {
		w.Uint(uint64(len(n.Args)))
	}
}

// ReadNode reads what [AppendNode] wrote. Whether the types fit is for
// [Pattern] to say, which knows the slots.
func ReadNode(r *pack.Reader) Node {
	var stack []Node
	for n := r.Array("condition", MaxNodes); n > 0 && r.Err() == nil; n-- {
		node := Node{Op: Op(r.Uint("operation", uint64(opEnd)-1))}
		number, text, counted := node.Op.operands()
		if number {
			node.Number = r.Int("number")
		}
		if text {
			node.Text = readText(r, "text", MaxLiteral)
		}
		args := node.Op.arity()
		if counted {
			args = int(r.Uint("arguments", MaxNodes))
		}
		if args > len(stack) {
			r.Fail("condition", fmt.Errorf("operation %d wants %d values, %d are there", node.Op, args, len(stack)))
			break
		}
		if args > 0 {
			node.Args = append(node.Args, stack[len(stack)-args:]...)
			stack = stack[:len(stack)-args]
		}
		stack = append(stack, node)
	}
	if r.Err() == nil && len(stack) != 1 {
		r.Fail("condition", errors.New("not one value in the end"))
	}
	if r.Err() != nil {
		return Node{}
	}
	return stack[0]
}
