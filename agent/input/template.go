package input

import (
	"fmt"
	"strings"
)

// fields holds one line's fields in the slots that the spec's templates use;
// nobody pays for a field that nothing refers to.
type fields struct {
	values []string
	set    []bool
}

func newFields(n int) *fields { return &fields{values: make([]string, n), set: make([]bool, n)} }

func (f *fields) reset() { clear(f.set) }

// put sets a slot; a negative slot is a field that nothing refers to.
func (f *fields) put(slot int, value string) {
	if slot >= 0 {
		f.values[slot], f.set[slot] = value, true
	}
}

// slots numbers the fields that a spec's templates refer to.
type slots map[string]int

func (s slots) use(name string) int {
	n, ok := s[name]
	if !ok {
		n = len(s)
		s[name] = n
	}
	return n
}

// find returns the field's slot, or -1 if nothing refers to it.
func (s slots) find(name string) int {
	if n, ok := s[name]; ok {
		return n
	}
	return -1
}

// template is text with fields; nil gives nothing.
type template struct{ parts []part }

type part struct {
	text string // the literal, or the value for where the field is absent
	slot int    // -1 for a literal
	own  bool   // text is such a value
}

// parseTemplate returns nil for empty text.
func parseTemplate(text string, s slots) (*template, error) {
	if text == "" {
		return nil, nil
	}
	t := &template{}
	literal := ""
	for text != "" {
		before, rest, found := strings.Cut(text, "{")
		literal += before
		if !found {
			break
		}
		if after, ok := strings.CutPrefix(rest, "{"); ok {
			literal, text = literal+"{", after
			continue
		}
		inside, after, closed := strings.Cut(rest, "}")
		name, own, hasOwn := strings.Cut(inside, "|")
		if name = strings.TrimSpace(name); !closed || name == "" {
			return nil, fmt.Errorf("%q: a field must be {name}; write {{ for a brace", text)
		}
		if literal != "" {
			t.parts = append(t.parts, part{text: literal, slot: -1})
			literal = ""
		}
		t.parts = append(t.parts, part{text: own, slot: s.use(name), own: hasOwn})
		text = after
	}
	if literal != "" {
		t.parts = append(t.parts, part{text: literal, slot: -1})
	}
	return t, nil
}

// expand returns the text and whether every field was there. Absent fields
// become absent.
func (t *template) expand(f *fields, absent string) (string, bool) {
	if t == nil {
		return "", false
	}
	if len(t.parts) == 1 { // nearly all: no copy
		return t.parts[0].value(f, absent)
	}
	var b strings.Builder
	whole := true
	for i := range t.parts {
		v, ok := t.parts[i].value(f, absent)
		whole = whole && ok
		b.WriteString(v)
	}
	return b.String(), whole
}

func (p *part) value(f *fields, absent string) (string, bool) {
	switch {
	case p.slot < 0:
		return p.text, true
	case f.set[p.slot] && f.values[p.slot] != "":
		return f.values[p.slot], true
	case p.own:
		return p.text, true
	}
	return absent, false
}
