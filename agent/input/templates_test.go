package input

import (
	"net"
	"slices"
	"strings"
	"testing"

	"pando/event"
)

func TestHasCode(t *testing.T) {
	for text, want := range map[string]bool{
		"IEF450I PAYJOB STEP1 - ABEND=S0C7":                                      true,
		"N 4000000 SYS1     26327 12:34:56.78 JOB12345 00000090  IEF450I PAYJOB": true,
		"+DFHAC2236 CICSPAY1 Transaction PAY1 abend ASRA":                        true,
		"12.34.56 JOB00042  $HASP373 PAYJOB   STARTED":                           true,
		"/HASP395 PAYJOB ENDED":                                                  true,
		"-DSNT376I  -DB2P PLAN=PAYPLAN":                                          true,
		"*12 IEE094D SPECIFY OPERAND(S)":                                         true,
		`10.0.0.1 - - [23/Nov/2026:04:40:00 +0000] "GET /pay HTTP/1.1" 503 12`:   true,
		"upstream answered HTTP 502":                                             true,
		`{"msg":"done","status":503}`:                                            true,
		"status_code=200 took 3 ms":                                              true,

		"JOB12345 waits":                       false,
		"order ORD10023 accepted by CUST00042": false,
		"status=down since 503 s":              false,
		"HTTP server listens on 8080":          false,
		"listening for HTTP/2 on 8443":         false,
		"deadline of 503 ms exceeded":          false,
		"status=5031":                          false,
		"Ief450i is no id, nor is IEF45I, $$HASP373, ABCDEFG123I or IEF450123I": false,
		"": false,
	} {
		if hasCode(text) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

// Lines of one template share a signal, whatever their values; lines that have
// a name of their own keep it; beyond the bound there is one for all.
func TestTailNamesLinesByTemplate(t *testing.T) {
	h := newTailing(t)
	s := h.spec()
	s.Template = &TemplateSpec{MaxTemplates: 2}
	s.Match = []Rule{{Pattern: `^code (?P<c>\w+)`, Signal: "{c}"}}
	h.writes(h.path, strings.Join([]string{
		"session of alice closed after 3 s",
		"session of bob closed after 41 s",
		"code PAY7 session of bob closed",
		"IEF450I PAYJOB STEP1 - ABEND=S0C7",
		"cannot reach 10.1.2.3:8080: i/o timeout",
		"cannot reach 10.1.2.4:8080: i/o timeout",
		"a third kind of line",
		"session of carol closed after 5 s",
	}, "\n")+"\n")
	h.starts(s, [event.Lanes][]event.Position{})
	h.polls()
	var got, texts []string
	for _, it := range h.sink.taken() {
		got, texts = append(got, it.Event.Signal), append(texts, attr(&it.Event, AttrTemplate))
	}
	session, reach := got[0], got[4]
	want := []string{session, session, "PAY7", "log", reach, reach, "tmpl.other", session}
	if !slices.Equal(got, want) || session == reach || !strings.HasPrefix(session, "tmpl.") || len(session) != len("tmpl.")+12 {
		t.Errorf("signals %q", got)
	}
	if texts[1] != "session of <*> closed after <num> s" || texts[4] != "cannot reach <ip>: i/o timeout" || texts[2]+texts[3]+texts[6] != "" {
		t.Errorf("templates %q", texts)
	}
	if n := h.tail.Status().Faults["templates"]; n != 1 {
		t.Errorf("%d lines without room are counted, want 1", n)
	}
	h.sink.check(t)
}

func TestTemplateOfAField(t *testing.T) {
	s := Spec{Format: FormatJSON, Signal: "{code}", Template: &TemplateSpec{Field: "msg"}}
	a := extracts(t, s, `{"msg":"user alice is gone","n":1}`)
	b := extracts(t, s, `{"n":2,"msg":"user alice is gone"}`)
	if a.Signal != b.Signal || !strings.HasPrefix(a.Signal, "tmpl.") {
		t.Errorf("signals %s and %s", a.Signal, b.Signal)
	}
	for line, want := range map[string]string{
		`{"msg":"user alice is gone","code":"U17"}`: "U17",
		`{"n":3}`: defaultSignal,
		`{"msg"`:  "json.malformed",
	} {
		if e := extracts(t, s, line); e.Signal != want {
			t.Errorf("%s: signal %s, want %s", line, e.Signal, want)
		}
	}
	syslog := Spec{Type: TypeSyslog, Listen: ":0", Template: &TemplateSpec{}}
	if e := extracts(t, syslog, "<13>1 2026-01-02T03:00:00Z host app 12 TMO9 - timed out"); e.Signal != "TMO9" {
		t.Errorf("a message with an MSGID has signal %s", e.Signal)
	}
	if e := extracts(t, syslog, "<13>1 2026-01-02T03:00:00Z host app 12 - - timed out"); !strings.HasPrefix(e.Signal, "tmpl.") {
		t.Errorf("a message without an MSGID has signal %s", e.Signal)
	}
}

// Connections of one source share its templates.
func TestSyslogConnectionsShareTemplates(t *testing.T) {
	sink := &memory{}
	src := running(t, Options{Spec: Spec{Name: "net", Type: TypeSyslog, Listen: "127.0.0.1:0", Template: &TemplateSpec{}}, Sink: sink})
	until(t, "a listener", func() bool { return src.Status().Address != "" })
	for _, user := range []string{"alice", "bob", "carol"} {
		conn, err := net.Dial("tcp", src.Status().Address)
		if err != nil {
			t.Fatal(err)
		}
		before := len(sink.taken())
		if _, err := conn.Write([]byte("<13>1 - host app - - - session of " + user + " closed\n")); err != nil {
			t.Fatal(err)
		}
		until(t, "the message", func() bool { return len(sink.taken()) > before })
		conn.Close()
	}
	items := sink.taken()
	for i := range items {
		if items[i].Event.Signal != items[0].Event.Signal || !strings.HasPrefix(items[i].Event.Signal, "tmpl.") {
			t.Errorf("message %d has signal %s", i, items[i].Event.Signal)
		}
	}
	sink.check(t)
}
