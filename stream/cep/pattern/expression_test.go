package pattern

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/expr-lang/expr"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/cep"
)

// condition writes a random condition in which integers are small, so that
// expr's floats and our fixed point agree exactly, and nothing is divided.
func condition(r *rand.Rand, depth int) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	number := func() string { return sum(r, 2) }
	text := func() string {
		return pick("kind", "entity", "signal", "peer", "source", `attr["zone"]`, `attr.rack`, `"a"`, `"ab"`, `"b"`, `""`, "a.signal", "a.who", `a.attr["zone"]`)
	}
	if depth == 0 {
		switch r.IntN(6) {
		case 0:
			return fmt.Sprintf("%s %s %s", number(), pick("<", "<=", ">", ">=", "==", "!="), number())
		case 1:
			return fmt.Sprintf("%s %s %s", text(), pick("<", "<=", ">", ">=", "==", "!="), text())
		case 2:
			return fmt.Sprintf("%s %s %s", text(), pick("startsWith", "endsWith", "contains", "not contains"), text())
		case 3:
			return fmt.Sprintf("%s %s [%s, %s]", text(), pick("in", "not in"), `"ab"`, pick(`"a"`, `"b"`))
		case 4:
			return fmt.Sprintf(`%s matches "%s"`, text(), pick("^a", "b$", "a.*b", "(?i)AB", "[^a]"))
		}
		return pick("true", "false")
	}
	switch r.IntN(4) {
	case 0:
		return fmt.Sprintf("(%s) and (%s)", condition(r, depth-1), condition(r, depth-1))
	case 1:
		return fmt.Sprintf("(%s) || (%s)", condition(r, depth-1), condition(r, depth-1))
	case 2:
		return fmt.Sprintf("not (%s)", condition(r, depth-1))
	}
	return fmt.Sprintf("(%s) %s (%s)", condition(r, depth-1), []string{"==", "!="}[r.IntN(2)], condition(r, depth-1))
}

func sum(r *rand.Rand, depth int) string {
	if depth == 0 {
		return []string{"value", "severity", "1", "2.5", "-3", "warn", "a.value", "a.total"}[r.IntN(8)]
	}
	return fmt.Sprintf("(%s %s %s)", sum(r, depth-1), []string{"+", "-", "*"}[r.IntN(3)], sum(r, depth-1))
}

// TestConditionsMeanWhatExprSays evaluates random conditions three ways: by
// expr's own virtual machine on floats, by our code as it was compiled, and by
// our code after it was written and read. The first is the oracle for what the
// language means, and must never differ.
func TestConditionsMeanWhatExprSays(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	holds := 0
	const rounds = 3000
	for range rounds {
		source := condition(r, r.IntN(4))
		set, err := Compile(&File{Patterns: []Pattern{{
			Name: "p", Key: []string{"source"}, Within: 1e9, Steps: []Step{
				{Name: "a", When: "kind == \"span\"", Fold: []Fold{{Name: "total", Op: FoldOp(cep.Sum), Of: "value"}, {Name: "who", Op: FoldOp(cep.First), Of: "entity"}}},
				{Name: "b", When: source},
			},
		}}})
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		first, second := randomEvent(r, "span", 1), randomEvent(r, "log", 2)
		want := meaning(t, source, &first, &second)
		for name, s := range map[string]*cep.Set{"as compiled": set, "as read": travelled(t, set)} {
			e, err := cep.New(s, cep.DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			e.Observe(&first)
			e.Observe(&second)
			if got := len(e.Advance(1e12)) == 1; got != want {
				t.Fatalf("%s\n%s it is %v, by expr %v, for\n%+v\n%+v", source, name, got, want, first, second)
			}
		}
		if want {
			holds++
		}
	}
	if holds < rounds/5 || holds > rounds*4/5 {
		t.Errorf("%d of %d conditions hold: they say little", holds, rounds)
	}
}

func travelled(t *testing.T, set *cep.Set) *cep.Set {
	w := pack.NewWriter()
	set.Append(w)
	r := pack.NewReader(w.Bytes())
	out, err := cep.ReadSet(r)
	if err != nil || r.Done() != nil {
		t.Fatal(err, r.Done())
	}
	for i := range set.Patterns() {
		if set.Hash(i) != out.Hash(i) {
			t.Fatal("a pattern that was written and read has another hash")
		}
	}
	return out
}

func randomEvent(r *rand.Rand, kind string, at int64) cep.Event {
	text := func() string { return []string{"", "a", "b", "ab", "ba", "cab"}[r.IntN(6)] }
	return cep.Event{
		Time: at, Seq: uint64(at), Kind: kind, Severity: event.Severity(r.IntN(25)), Value: cep.Fixed(float64(r.IntN(41)-20) / 4),
		Source: "s", Entity: text(), Signal: text(), Peer: text(),
		Attrs: []event.Attr{{Key: "rack", Value: text()}, {Key: "zone", Value: text()}},
	}
}

// meaning asks expr's virtual machine.
func meaning(t *testing.T, source string, first, second *cep.Event) bool {
	fields := func(e *cep.Event) map[string]any {
		return map[string]any{
			"kind": e.Kind, "entity": e.Entity, "signal": e.Signal, "peer": e.Peer, "source": e.Source,
			"value": float64(e.Value) / cep.Scale, "severity": float64(e.Severity),
			"attr": map[string]string{"rack": e.Attrs[0].Value, "zone": e.Attrs[1].Value},
		}
	}
	env := fields(second)
	a := fields(first)
	a["total"], a["who"] = a["value"], a["entity"]
	env["a"], env["warn"] = a, float64(event.SeverityWarn)
	out, err := expr.Eval(source, env)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return out.(bool)
}
