package cli

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxConfigDepth is far deeper than any of our structs; it ends the walk over
// a file that nests for the sake of nesting.
const maxConfigDepth = 64

// lintFault is a fault and the token that it is about.
type lintFault struct {
	*configError
	token *token.Token
}

// lint finds what the YAML library cannot say or does not see: which known key
// an unknown one is nearest to, and a fraction where a whole number is wanted,
// which it would cut off silently, or a duration without its unit, which it would
// take for nanoseconds. Everything else is left to the decoder.
func lint(node ast.Node, t reflect.Type, depth int) *lintFault {
	t = indirect(t)
	if depth > maxConfigDepth || decodesItself(t) {
		return nil
	}
	switch n := node.(type) {
	case *ast.AnchorNode:
		return lint(n.Value, t, depth+1)
	case *ast.MappingNode:
		for _, entry := range n.Values {
			if fault := lintEntry(entry, t, depth); fault != nil {
				return fault
			}
		}
	case *ast.MappingValueNode:
		return lintEntry(n, t, depth)
	case *ast.SequenceNode:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return nil
		}
		for _, element := range n.Values {
			if fault := lint(element, t.Elem(), depth+1); fault != nil {
				return fault
			}
		}
	case *ast.FloatNode:
		if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
			return &lintFault{
				configError: &configError{reason: fmt.Sprintf("%s: want a whole number", n.GetToken().Value)},
				token:       n.GetToken(),
			}
		}
	case *ast.IntegerNode:
		if t == reflect.TypeFor[time.Duration]() && n.GetToken().Value != "0" {
			return &lintFault{
				configError: &configError{reason: fmt.Sprintf("%s: a duration needs its unit, such as 500ms, 10s or 1h30m", n.GetToken().Value)},
				token:       n.GetToken(),
			}
		}
	}
	return nil
}

func lintEntry(entry *ast.MappingValueNode, t reflect.Type, depth int) *lintFault {
	key := entry.Key.GetToken()
	if entry.Key.Type() == ast.MergeKeyType {
		return lint(entry.Value, t, depth+1)
	}
	switch t.Kind() {
	case reflect.Map:
		return lint(entry.Value, t.Elem(), depth+1)
	case reflect.Struct:
		fields := map[string]reflect.Type{}
		yamlFields(t, fields)
		if field, ok := fields[key.Value]; ok {
			return lint(entry.Value, field, depth+1)
		}
		fault := &lintFault{
			configError: &configError{reason: fmt.Sprintf("unknown key %q", key.Value)},
			token:       key,
		}
		if near := nearest(key.Value, fields); near != "" {
			fault.hint = fmt.Sprintf("did you mean %q?", near)
		}
		return fault
	}
	return nil
}

// yamlFields collects the keys of a struct, inlined structs included.
func yamlFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-":
		case strings.Contains(options, "inline"):
			yamlFields(indirect(f.Type), into)
		case name == "":
			into[strings.ToLower(f.Name)] = f.Type
		default:
			into[name] = f.Type
		}
	}
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// decodesItself tells whether the type has its own notion of YAML.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	for _, own := range []reflect.Type{
		reflect.TypeFor[yaml.NodeUnmarshaler](),
		reflect.TypeFor[yaml.InterfaceUnmarshaler](),
		reflect.TypeFor[yaml.BytesUnmarshaler](),
	} {
		if p.Implements(own) {
			return true
		}
	}
	return false
}

// nearest returns the known key that is fewest edits away, or "" if none is
// near enough to have been meant. Ties go to the key that sorts first.
func nearest(key string, known map[string]reflect.Type) string {
	limit := max(1, len(key)/3)
	best, bestDistance := "", limit+1
	for k := range known {
		d := editDistance(key, k)
		if d < bestDistance || d == bestDistance && best != "" && k < best {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment). Both are keys, so
// bytes will do; a key longer than maxKey is near to nothing.
func editDistance(a, b string) int {
	const maxKey = 64
	if len(a) > maxKey || len(b) > maxKey {
		return maxKey
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
