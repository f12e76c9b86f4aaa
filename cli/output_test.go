package cli

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// What others wrote must not steer the operator's terminal, and the three
// formats must tell the same facts.
func TestRender(t *testing.T) {
	type part struct {
		Name string `json:"name"`
		Seq  uint64 `json:"seq"`
	}
	value := struct {
		Entity string   `json:"entity"`
		Parts  []part   `json:"parts"`
		None   []string `json:"none"`
		Flag   string   `json:"flag"`
		Share  float64  `json:"share"`
	}{"pay\x1b[2J\u009b<gw>", []part{{"a", 1<<64 - 1}, {"-b", 2}}, []string{}, "yes", 1.5}
	var tab table
	tab.columns = []string{"entity", "seq", "flag"}
	tab.add(value.Entity, value.Parts[0].Seq, "")
	for format, want := range map[outputFormat]string{
		outputTable: "ENTITY              SEQ                   FLAG\n" +
			"pay\\x1b[2J\\x9b<gw>  18446744073709551615  -\n",
		outputJSON: `{"entity":"pay\u001b[2J\u009b<gw>","parts":[{"name":"a","seq":18446744073709551615},` +
			`{"name":"-b","seq":2}],"none":[],"flag":"yes","share":1.5}`,
		outputYAML: `entity: "pay\u001b[2J\u009b<gw>"
parts:
  - name: a
    seq: 18446744073709551615
  - name: "-b"
    seq: 2
none: []
flag: "yes"
share: 1.5
`,
	} {
		var out bytes.Buffer
		e := &env{stdout: &out, output: format}
		if err := e.render(value, tab); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if format == outputJSON {
			var flat bytes.Buffer
			if err := json.Compact(&flat, out.Bytes()); err != nil {
				t.Fatal(err)
			}
			got = flat.String()
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
		}
		if i := strings.IndexFunc(strings.ReplaceAll(got, "\n", ""), isControl); i >= 0 {
			t.Errorf("%s: a control character got through", format)
		}
	}
}

// YAML output reads back as the JSON it was made from, whatever the strings.
func FuzzYAMLOutput(f *testing.F) {
	for _, s := range []string{"", " ", "plain", "a: b", "- x", "0x10", "1e3", "1_000", "null", "Yes", "~", "#", "é\u2028", "a\nb\n", "\"'\\", "2026-11-23", "%", "@", "`", "<<", "=", ".inf", "\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		text, err := marshalJSON(map[string]any{"k": []any{s, map[string]any{"v": s}}, "empty": map[string]any{}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := jsonToYAML(text)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %#v, want %#v, from\n%s", got, want, out)
		}
	})
}
