package input

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a JSON line, and so the recursion.
const maxDepth = 32

// jsonScanner checks one line against RFC 8259 and puts the fields in use
// into their slots: strings without quotes and escapes, numbers exactly as
// they stand (no precision is lost), objects and arrays as they stand, null as
// absent. Nothing is allocated for what nothing refers to. Where a name comes
// twice the last one holds.
type jsonScanner struct {
	wanted []want
	fields *fields

	s    string
	at   int
	path []byte
}

// want is what is wanted of a path.
type want struct {
	path   string
	slot   int  // of its value, or -1
	inside bool // values below it are wanted
}

// wants are the paths that lead to the fields in use. They are few, and mostly
// of different lengths: going through them finds one sooner than hashing does.
func wants(s slots) []want {
	paths := map[string]want{}
	for name := range s {
		paths[name] = want{path: name, slot: s.find(name)}
	}
	for name := range s {
		for i := range len(name) {
			if name[i] == '.' {
				paths[name[:i]] = want{path: name[:i], slot: s.find(name[:i]), inside: true}
			}
		}
	}
	return slices.SortedFunc(maps.Values(paths), func(a, b want) int { return strings.Compare(a.path, b.path) })
}

// want looks up what is wanted of the path at hand.
func (j *jsonScanner) want() (slot int, inside bool) {
	for i := range j.wanted {
		if w := &j.wanted[i]; w.path == string(j.path) {
			return w.slot, w.inside
		}
	}
	return -1, false
}

// scan reports whether the line is one JSON object.
func (j *jsonScanner) scan(text string) bool {
	j.s, j.at, j.path = text, 0, j.path[:0]
	j.space()
	if j.peek() != '{' || !j.value(0, true) {
		return false
	}
	j.space()
	return j.at == len(j.s)
}

func (j *jsonScanner) peek() byte {
	if j.at < len(j.s) {
		return j.s[j.at]
	}
	return 0
}

func (j *jsonScanner) space() {
	for j.at < len(j.s) && (j.s[j.at] == ' ' || j.s[j.at] == '\t' || j.s[j.at] == '\n' || j.s[j.at] == '\r') {
		j.at++
	}
}

// value reads one value; wanted says that the path may lead to a field.
func (j *jsonScanner) value(depth int, wanted bool) bool {
	slot := -1
	if wanted && len(j.path) > 0 {
		slot, wanted = j.want()
	}
	start := j.at
	switch c := j.peek(); {
	case c == '{':
		if !j.members(depth+1, wanted, '}') {
			return false
		}
	case c == '[':
		if !j.members(depth+1, wanted, ']') {
			return false
		}
	case c == '"':
		raw, escaped, ok := j.text()
		if ok && slot >= 0 {
			if escaped {
				raw = unescape(raw)
			}
			j.fields.put(slot, raw)
		}
		return ok
	case c == '-' || c >= '0' && c <= '9':
		if !j.number() {
			return false
		}
	case c == 'n':
		return j.word("null")
	default:
		if !j.word("true") && !j.word("false") {
			return false
		}
	}
	j.fields.put(slot, j.s[start:j.at])
	return true
}

func (j *jsonScanner) word(w string) bool {
	if strings.HasPrefix(j.s[j.at:], w) {
		j.at += len(w)
		return true
	}
	return false
}

// members reads the members of an object or the elements of an array, whose
// names are their indexes.
func (j *jsonScanner) members(depth int, wanted bool, end byte) bool {
	if depth > maxDepth {
		return false
	}
	j.at++
	j.space()
	if j.peek() == end {
		j.at++
		return true
	}
	outer := len(j.path)
	for index := 0; ; index++ {
		var name string
		if end == '}' {
			raw, escaped, ok := j.text()
			j.space()
			if !ok || j.peek() != ':' {
				return false
			}
			j.at++
			if name = raw; escaped && wanted {
				name = unescape(raw)
			}
		} else if wanted {
			name = strconv.Itoa(index)
		}
		if wanted {
			if outer > 0 {
				j.path = append(j.path, '.')
			}
			j.path = append(j.path, name...)
		}
		j.space()
		ok := j.value(depth, wanted && len(j.path) > 0)
		j.path = j.path[:outer]
		j.space()
		if !ok {
			return false
		}
		switch j.peek() {
		case ',':
			j.at++
			j.space()
		case end:
			j.at++
			return true
		default:
			return false
		}
	}
}

// text reads a string and returns what stands between its quotes.
func (j *jsonScanner) text() (raw string, escaped, ok bool) {
	if j.peek() != '"' {
		return "", false, false
	}
	s := j.s[j.at+1:]
	for i := 0; i < len(s); i++ {
		c := s[i]
		if literal[c] {
			continue
		}
		if c == '"' {
			j.at += i + 2
			return s[:i], escaped, true
		}
		n := escape(s[i:])
		if n == 0 {
			break // or a control character, which must be escaped
		}
		escaped = true
		i += n - 1
	}
	return "", false, false
}

// literal are the bytes that stand for themselves in a string.
var literal = func() (of [256]bool) {
	for c := range of {
		of[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return of
}()

// escape is the length of the escape sequence that s begins with, or 0 if it
// begins with none.
func escape(s string) int {
	switch {
	case len(s) < 2 || s[0] != '\\':
		return 0
	case s[1] != 'u':
		if strings.IndexByte(`"\/bfnrt`, s[1]) < 0 {
			return 0
		}
		return 2
	case len(s) < 6:
		return 0
	}
	if _, err := strconv.ParseUint(s[2:6], 16, 16); err != nil {
		return 0
	}
	return 6
}

// number passes over a number of RFC 8259, section 6.
func (j *jsonScanner) number() bool {
	if j.peek() == '-' {
		j.at++
	}
	switch {
	case j.peek() == '0':
		j.at++
	case !j.digits():
		return false
	}
	if j.peek() == '.' {
		j.at++
		if !j.digits() {
			return false
		}
	}
	if c := j.peek(); c == 'e' || c == 'E' {
		j.at++
		if c := j.peek(); c == '+' || c == '-' {
			j.at++
		}
		return j.digits()
	}
	return true
}

func (j *jsonScanner) digits() bool {
	s, n := j.s[j.at:], 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	j.at += n
	return n > 0
}

// unescape resolves the escapes of a string that text accepted. Half a
// surrogate pair becomes U+FFFD.
func unescape(raw string) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		if raw[i+1] != 'u' {
			out = append(out, unescaped(raw[i+1]))
			i += 2
			continue
		}
		r := codeUnit(raw[i:])
		i += 6
		if utf16.IsSurrogate(r) {
			second := rune(-1)
			if len(raw)-i >= 6 && raw[i] == '\\' && raw[i+1] == 'u' {
				second = codeUnit(raw[i:])
			}
			if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
				i += 6
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// codeUnit reads the four digits of \uXXXX.
func codeUnit(s string) rune {
	n, _ := strconv.ParseUint(s[2:6], 16, 16) // checked by escape
	return rune(n)
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}
