package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"

	"pando/ebcdic"
	"pando/event"
)

func encode(t testing.TB, text string) []byte {
	t.Helper()
	b, err := charmap.CodePage1047.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// split cuts a stream that comes in pieces of the given size.
func split(s splitter, stream []byte, piece int) (lines []string, taken int64) {
	for chunk := range slices.Chunk(stream, piece) {
		for {
			text, cut, size, left, ok := s.next(chunk)
			if !ok {
				break
			}
			lines = append(lines, fmt.Sprintf("%s+%d", text, cut))
			taken += size
			chunk = left
		}
	}
	text, cut, size := s.take()
	return append(lines, fmt.Sprintf("%s+%d", text, cut)), taken + size
}

func TestRecordsAreSplitBeforeDecoding(t *testing.T) {
	// 0x25 and 0x15 mean other things once decoded; 0x0a is no line end here.
	stream := slices.Concat([]byte{0xc1, 0x0a, ebcdic.NEL, 0xc2, ebcdic.LF, 0xc3})
	for end, want := range map[[2]byte]int{
		{ebcdic.NEL, ebcdic.NEL}: 2, {ebcdic.LF, ebcdic.LF}: 2, {ebcdic.NEL, ebcdic.LF}: 3,
	} {
		if lines, _ := split(splitter{end: end[0], other: end[1], limit: 10}, stream, 100); len(lines) != want {
			t.Errorf("% x: %q", end, lines)
		}
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a\nbb\r\n\n\rccccccccccccccccccccc\nd"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		s := splitter{end: '\n', other: 0x15, limit: 8}
		whole, taken := split(s, stream, len(stream)+1)
		pieces, takenToo := split(s, stream, max(1, piece%16))
		if !slices.Equal(whole, pieces) {
			t.Fatalf("%q in pieces of %d: %q, at once %q", stream, piece, pieces, whole)
		}
		if taken != int64(len(stream)) || takenToo != taken {
			t.Fatalf("took %d and %d of %d bytes", taken, takenToo, len(stream))
		}
	})
}

func scanner(paths ...string) *jsonScanner {
	s := slots{}
	for _, p := range paths {
		s.use(p)
	}
	return &jsonScanner{wanted: wants(s), fields: newFields(len(s))}
}

func TestJSONDepthIsBounded(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + "}" }
	if j := scanner("a"); !j.scan(deep(maxDepth)) || j.scan(deep(maxDepth+1)) {
		t.Errorf("limit of %d not kept", maxDepth)
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range []string{
		`{"a":{"b":"x\u00e9\ud83d\ude00\ud800"},"n":-1.5e+3,"l":[1,{"c":true}],"z":null}`, `{"a":01}`, `{"a":"\x"}`, `{"":{"":1}}`, `[1]`, `{"a" : 1 , }`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		j := scanner("a.b", "n", "l.1.c")
		ok := j.scan(text)
		var want map[string]any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		valid := json.Valid([]byte(text)) && d.Decode(&want) == nil && want != nil
		if ok && !valid || !ok && valid && strings.Count(text, "[")+strings.Count(text, "{") <= maxDepth {
			t.Fatalf("%q: accepted %v, valid %v", text, ok, valid)
		}
		// encoding/json joins fields whose names differ in case only for structs, not for maps.
		n, isNumber := want["n"].(json.Number)
		if ok && isNumber && (!j.fields.set[1] || j.fields.values[1] != n.String()) {
			t.Fatalf("%q: n is %q, want %s", text, j.fields.values[1], n)
		}
		if s, isText := want["n"].(string); ok && isText && j.fields.values[1] != s {
			t.Fatalf("%q: n is %q, want %q", text, j.fields.values[1], s)
		}
	})
}

// frames cuts a stream that comes in pieces.
func frames(stream []byte, piece, limit int) (out []string, err error) {
	f := framer{limit: limit}
	for chunk := range slices.Chunk(stream, piece) {
		err := f.feed(chunk, func(msg []byte, cut int64) error {
			out = append(out, fmt.Sprintf("%s+%d", msg, cut))
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	err = f.end(func(msg []byte, cut int64, short bool) error {
		out = append(out, fmt.Sprintf("%s+%d %v", msg, cut, short))
		return nil
	})
	return out, err
}

func TestFramingIsFoundMessageByMessage(t *testing.T) {
	const limit = 12
	for _, c := range []struct {
		name, stream string
		want         []string
	}{
		{"counted", "5 <1>ab4 <2>c", []string{"<1>ab+0", "<2>c+0"}},
		{"counted with line feeds inside and behind", "7 <1>a\nb\n\n4 <2>c\x00", []string{"<1>a\nb+0", "<2>c+0"}},
		{"lines", "<1>ab\r\n<2>c\n\n<3>d", []string{"<1>ab+0", "<2>c+0", "<3>d+0 false"}},
		{"mixed", "<1>ab\n4 <2>c<3>d\n", []string{"<1>ab+0", "<2>c+0", "<3>d+0"}},
		{"text that begins with digits", "2026 was\n12-01 <x\n1234567890123 <\n7\n", []string{"2026 was+0", "12-01 <x+0", "123456789012+3", "7+0"}},
		{"too long", "20 <1>45678901234567890<1>4567890123456\n4 <2>c", []string{"<1>456789012+8", "<1>456789012+4", "<2>c+0"}},
		{"cut off", "9 <1>ab", []string{"<1>ab+4 true"}},
	} {
		for piece := 1; piece <= len(c.stream); piece++ {
			got, err := frames([]byte(c.stream), piece, limit)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s in pieces of %d: %q %v, want %q", c.name, piece, got, err, c.want)
			}
		}
	}
	if _, err := frames([]byte("4294967296 <1>x"), 100, limit); !errors.Is(err, errFrame) {
		t.Errorf("a count of 4 GiB: %v", err)
	}
}

func FuzzFraming(f *testing.F) {
	f.Add([]byte("5 <1>ab<2>c\n9 <x\n\x00 7"), 2)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		const limit = 16
		whole, err1 := frames(stream, len(stream)+1, limit)
		pieces, err2 := frames(stream, max(1, piece%16), limit)
		if !slices.Equal(whole, pieces) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("%q: at once %q %v, in pieces %q %v", stream, whole, err1, pieces, err2)
		}
	})
}

func FuzzSyslogMessage(f *testing.F) {
	f.Add([]byte("<131>1 2026-01-02T03:00:00Z host app 12 TMO9 [a@1 k=\"v\"] x"))
	f.Add([]byte("<34>Dec 31 23:00:00 host su[7]: failed"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) <= MaxLine {
			extracts(t, Spec{Type: TypeSyslog, Listen: ":0"}, string(text))
		}
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add("fe01:1a2b.3/0/14:6520d3c09ce994b4")
	f.Add("0:0.0/00/+1:0123456789abcdef")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseIdentity(text)
		if err != nil {
			return
		}
		if again, err := parseIdentity(d.String()); err != nil || again != d {
			t.Fatalf("%q: %+v, then %+v %v", text, d, again, err)
		}
	})
}

func TestIdentityStaysWhileTheFileGrows(t *testing.T) {
	head := bytes.Repeat([]byte("line\n"), 100)[:headBytes]
	d := identify(fileKey{1, 2}, 3, 4, head[:10])
	again, err := parseIdentity(d.String())
	if err != nil || again != d {
		t.Fatalf("%v: %+v %v", d, again, err)
	}
	if !again.isOf(head[:10]) || !again.isOf(head) || again.isOf(head[:9]) || again.isOf([]byte("other text that is long")) {
		t.Error("does not tell its file from others")
	}
}

func TestPositionsOfOtherSourcesAreIgnored(t *testing.T) {
	at := event.Position{Source: "app#1:2.3", File: "1:2.3/0/14:6520d3c09ce994b4", Offset: 7}
	marks, err := parseMarks("app", []event.Position{{Source: "app2#1:2.3", File: "nonsense"}, {Source: "app"}, at})
	if err != nil || len(marks) != 1 || marks[0].offset != 7 || marks[0].ino != 2 {
		t.Fatalf("marks %+v %v", marks, err)
	}
	at.File = "nonsense"
	if _, err := parseMarks("app", []event.Position{at}); !errors.Is(err, errIdentity) {
		t.Fatalf("an unreadable position of its own: %v", err)
	}
}
