package input

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestValidateNamesEveryFault(t *testing.T) {
	s := Spec{
		Name: "a#b", Type: TypeTail, Path: "relative/[", Format: "xml", CodePage: "cp500", NewLine: "cr", Start: "middle",
		Pattern: "(", Entity: "{", MaxLine: 1, MaxFiles: -1, Listen: "x",
		SourceTime:  &TimeSpec{Layout: "never", Zone: "Mars/Olympus"},
		Match:       []Rule{{Pattern: ""}, {Pattern: "[", Criticality: new(int)}},
		Criticality: []CritRule{{Level: 7}, {Signal: "*", Level: 1}},
		Template:    &TemplateSpec{Similarity: 101, MaxTemplates: -1},
	}
	*s.Match[1].Criticality = 9
	err := s.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, field := range []string{
		"name:", "path:", "format:", "code_page:", "nl:", "start:", "pattern:", "entity:", "max_line:", "max_files:", "listen, protocol:",
		"source_time.zone", "source_time.field:", "match[0].pattern:", "match[1].pattern:", "match[1].criticality:",
		"criticality[0]:", "criticality[0].level:", "criticality[1].signal:",
		"template: similarity: 101", "max_templates: -1",
	} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("nothing about %s in:\n%v", field, err)
		}
	}
	for _, bad := range []Spec{
		{Name: "s", Type: "pigeon"},
		{Name: "s", Type: TypeSyslog, Listen: "nowhere"},
		{Name: "s", Type: TypeSyslog, Listen: ":514", CodePage: "cp037"},
		{Name: "s", Type: TypeSyslog, Listen: ":514", Format: FormatJSON},
		{Name: "s", Type: TypeTail, Path: "/x", NewLine: NewLineNEL},
		{Name: "s", Type: TypeTail, Path: "/x", SourceTime: &TimeSpec{Field: "t", Layout: "15:04"}},
	} {
		if bad.Validate() == nil {
			t.Errorf("accepted: %+v", bad)
		}
	}
}

func TestSpecFromYAML(t *testing.T) {
	const text = `
name: checkout
type: tail
path: /var/log/checkout/*.log
format: json
entity: "shop/{service|checkout}"
signal: http.{http.status}
value: "{took_ms}"
peer: "{upstream}"
source_time: {field: ts, layout: epoch_ms}
trace: "{trace}"
attributes: {http.route: "{route}"}
match:
  - {pattern: 'panic: (?P<why>\w+)', signal: "panic.{why}", severity: fatal, criticality: 0}
criticality:
  - {signal: '^http\.5', level: 0}
template: {field: msg, similarity: 50}
keep_raw: true
max_line: 8192
poll: 20ms
`
	var s Spec
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	if s.Poll.String() != "20ms" || *s.Match[0].Criticality != 0 || *s.Template != (TemplateSpec{Field: "msg", Similarity: 50}) || s.Criticality[0].Signal != `^http\.5` {
		t.Fatalf("decoded %+v", s)
	}
	if err := yaml.NewDecoder(strings.NewReader("nmae: x"), yaml.Strict()).Decode(&s); err == nil {
		t.Fatal("a typing error was accepted")
	}
}
