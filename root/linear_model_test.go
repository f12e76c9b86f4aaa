//go:build !zos

package root

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pando/tree/custody"
)

// what a client does to a unit.
const (
	opClaim = iota
	opSettle
	opRead
)

// unitInput is one operation.
type unitInput struct {
	op       int
	relay    string
	term     custody.Term
	from, to uint64 // opSettle
}

// unitOutput is what came back.
type unitOutput struct {
	unknown bool
	granted bool            // opClaim
	verdict custody.Verdict // opSettle
	owner   unitState       // opRead: all of it; else settled alone
}

// unitState is the model of one unit.
type unitState struct {
	term    custody.Term
	relay   string
	settled uint64
}

// unitModel says what one unit does when operations come one after another.
func unitModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return unitState{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(unitState), input.(unitInput), output.(unitOutput)
			next, want := s.step(in)
			if out.unknown {
				return true, next
			}
			return want == out, next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	}
}

// step is the sequential behaviour, written down independently of the state
// machine.
func (s unitState) step(in unitInput) (unitState, unitOutput) {
	switch in.op {
	case opClaim:
		out := unitOutput{granted: in.term.Compare(s.term) > 0 || in.term == s.term && (s.relay == in.relay || s.relay == "")}
		if out.granted {
			s.term, s.relay = in.term, in.relay
		}
		out.owner.settled = s.settled
		return s, out
	case opSettle:
		out := unitOutput{}
		switch {
		case in.term != s.term || in.relay != s.relay:
			out.verdict = custody.SkipTerm
		case in.from != s.settled+1:
			out.verdict = custody.SkipPosition
		default:
			s.settled = in.to
		}
		out.owner.settled = s.settled
		return s, out
	}
	return s, unitOutput{owner: s}
}

// TestModelNoticesFaults gives the model histories that a broken root would
// make, and ones that only look broken.
func TestModelNoticesFaults(t *testing.T) {
	t1, t2 := term(1, 1), term(1, 2)
	claim := func(relay string, at custody.Term) unitInput { return unitInput{op: opClaim, relay: relay, term: at} }
	settle := func(relay string, at custody.Term, from, to uint64) unitInput {
		return unitInput{op: opSettle, relay: relay, term: at, from: from, to: to}
	}
	granted := unitOutput{granted: true}
	at := func(v custody.Verdict, settled uint64) unitOutput {
		return unitOutput{verdict: v, owner: unitState{settled: settled}}
	}
	type step struct {
		in  unitInput
		out unitOutput
	}
	for name, c := range map[string]struct {
		steps []step
		want  porcupine.CheckResult
	}{
		"in order":              {[]step{{claim("a", t1), granted}, {settle("a", t1, 1, 5), at(custody.Apply, 5)}, {settle("a", t1, 1, 5), at(custody.SkipPosition, 5)}}, porcupine.Ok},
		"counted twice":         {[]step{{claim("a", t1), granted}, {settle("a", t1, 1, 5), at(custody.Apply, 5)}, {settle("a", t1, 1, 5), at(custody.Apply, 5)}}, porcupine.Illegal},
		"lost":                  {[]step{{claim("a", t1), granted}, {settle("a", t1, 1, 5), at(custody.Apply, 5)}, {settle("a", t1, 1, 3), at(custody.Apply, 3)}}, porcupine.Illegal},
		"two owners":            {[]step{{claim("a", t1), granted}, {claim("b", t1), granted}}, porcupine.Illegal},
		"fenced and heard":      {[]step{{claim("a", t1), granted}, {claim("b", t2), granted}, {settle("a", t1, 1, 5), at(custody.Apply, 5)}}, porcupine.Illegal},
		"unknown took effect":   {[]step{{claim("a", t1), granted}, {settle("a", t1, 1, 5), unitOutput{unknown: true}}, {settle("a", t1, 6, 7), at(custody.Apply, 7)}}, porcupine.Ok},
		"unknown took none":     {[]step{{claim("a", t1), granted}, {settle("a", t1, 1, 5), unitOutput{unknown: true}}, {settle("a", t1, 1, 3), at(custody.Apply, 3)}}, porcupine.Ok},
		"unknown before itself": {[]step{{settle("a", t1, 6, 7), at(custody.Apply, 7)}, {settle("a", t1, 1, 5), unitOutput{unknown: true}}}, porcupine.Illegal},
	} {
		h := newHistory(1)
		for _, s := range c.steps {
			h.add(1, s.in, time.Since(h.start), s.out)
		}
		if got := h.check(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
