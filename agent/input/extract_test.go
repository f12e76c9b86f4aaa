package input

import (
	"testing"
	"time"

	"pando/event"
)

// extracts makes one event of a line.
func extracts(t *testing.T, s Spec, text string) event.Event {
	t.Helper()
	if s.Name == "" {
		s.Name = "src"
	}
	if s.Type == "" {
		s.Type, s.Path = TypeTail, "/x"
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	s = s.withDefaults()
	m, err := compile(&s)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := newMetrics(nil, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	wall := func() time.Time { return time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC) }
	var e event.Event
	newExtractor(m, counts, wall).event(&e, &line{bytes: []byte(text), remote: "192.0.2.1"})
	if err := e.Validate(); err != nil {
		t.Fatalf("event of %q: %v", text, err)
	}
	return e
}

func TestJSONBecomesAnEvent(t *testing.T) {
	critical := 0
	s := Spec{
		Format: FormatJSON, Entity: "shop/{k8s.pod|none}", Signal: "http.{status}", Value: "{took}", Peer: "{calls.0.to}",
		Severity: "{level}", Trace: "{trace}", Span: "{span}", SourceTime: &TimeSpec{Field: "ts", Layout: "epoch_ms"},
		Attributes:  map[string]string{"user.id": "{user}", "absent": "{nothing}", "calls": "{calls}"},
		Criticality: []CritRule{{Signal: `^http\.5`, Level: 1}},
		Match:       []Rule{{Field: "msg", Pattern: `lost (?P<what>\w+)`, Signal: "lost.{what}", Criticality: &critical}},
	}
	e := extracts(t, s, `{"ts":1767322800123,"k8s":{"pod":"check\u006fut"},"status":503,"took":0.25,"level":"ERROR","user":12345678901234567890,
		"calls":[{"to":"ledger"}],"trace":"0af7651916cd43dd8448eb211c80319c","span":"b7ad6b7169203331"}`)
	if e.Entity != "shop/checkout" || e.Signal != "http.503" || e.Value != 0.25 || e.Peer != "ledger" || e.Severity != event.SeverityError ||
		e.Criticality != 1 || e.SourceTime != 1767322800123e6 || e.TraceID[0] != 0x0a || e.SpanID[7] != 0x31 {
		t.Errorf("event %+v", e)
	}
	if attr(&e, "user.id") != "12345678901234567890" || attr(&e, "calls") != `[{"to":"ledger"}]` || attr(&e, "absent") != "" {
		t.Errorf("attributes %v", e.Attrs)
	}
	e = extracts(t, s, `{"msg":"lost heartbeat","status":200}`)
	if e.Signal != "lost.heartbeat" || e.Criticality != 0 || e.Entity != "shop/none" || e.Value != 1 {
		t.Errorf("by rule: %+v", e)
	}
	e = extracts(t, s, `{"status":200`)
	if e.Signal != "json.malformed" || e.Severity != event.SeverityWarn || body(&e) != `{"status":200` {
		t.Errorf("malformed: %+v", e)
	}
}

func TestEBCDICKeepsTheOriginal(t *testing.T) {
	s := Spec{
		CodePage: "cp1047", Pattern: `^(?P<t>\S+ \S+) (?P<code>\w+)`, Signal: "abend.{code}",
		SourceTime: &TimeSpec{Field: "t", Layout: "julian", Zone: "UTC"},
	}
	original := encode(t, "26002 03:00:00.12 S0C7 [x]")
	e := extracts(t, s, string(original))
	if string(e.Raw) != string(original) || attr(&e, AttrEncoding) != "cp1047" || attr(&e, AttrBody) != "" {
		t.Errorf("raw % x attributes %v", e.Raw, e.Attrs)
	}
	if want := time.Date(2026, 1, 2, 3, 0, 0, 120e6, time.UTC).UnixNano(); e.Signal != "abend.S0C7" || e.SourceTime != want {
		t.Errorf("signal %s time %d, want %d", e.Signal, e.SourceTime, want)
	}
	keep := false
	s.KeepRaw = &keep
	if e := extracts(t, s, string(original)); e.Raw != nil || body(&e) != "26002 03:00:00.12 S0C7 [x]" {
		t.Errorf("without raw: %+v", e)
	}
}

func TestTextThatIsNoUTF8(t *testing.T) {
	if e := extracts(t, Spec{}, "a\xffb"); body(&e) != "a\uFFFDb" || e.Signal != defaultSignal || e.Entity != "src" {
		t.Errorf("event %+v", e)
	}
}

func TestSyslogMessages(t *testing.T) {
	s := Spec{Type: TypeSyslog, Listen: ":0", SourceTime: &TimeSpec{Zone: "UTC"}}
	at := func(year int, month time.Month, day, hour int) int64 {
		return time.Date(year, month, day, hour, 0, 0, 0, time.UTC).UnixNano()
	}
	for _, c := range []struct {
		name, text, entity, signal, body string
		severity                         event.Severity
		time                             int64
	}{
		{"5424", "<131>1 2026-01-02T03:00:00Z host app 12 TMO9 [a@1 k=\"v\\\"w\"] \ufefftimed out\nagain",
			"host/app", "TMO9", "timed out\nagain", event.SeverityError, at(2026, 1, 2, 3)},
		{"5424 with nothing", "<14>1 - - - - - -", "unknown/unknown", "syslog.info", "", event.SeverityInfo, 0},
		{"3164 of last year", "<34>Dec 31 23:00:00 host su[7]: 'su root' failed",
			"host/su", "syslog.crit", "'su root' failed", severityCritical, at(2025, 12, 31, 23)},
		{"3164 with a zero", "<13>Jan 02 01:00:00 host tag: x", "host/tag", "syslog.notice", "x", severityNotice, at(2026, 1, 2, 1)},
		{"no priority", "just text", "unknown/unknown", "syslog.malformed", "just text", event.SeverityWarn, 0},
		{"bad priority", "<999>1 - - - - - - x", "unknown/unknown", "syslog.malformed", "<999>1 - - - - - - x", event.SeverityWarn, 0},
		{"broken data", "<14>1 - host app - - [a x", "host/app", "syslog.malformed", "<14>1 - host app - - [a x", event.SeverityWarn, 0},
	} {
		e := extracts(t, s, c.text)
		if e.Entity != c.entity || e.Signal != c.signal || body(&e) != c.body || e.Severity != c.severity || e.SourceTime != c.time {
			t.Errorf("%s: entity %s signal %s body %q severity %d time %v", c.name, e.Entity, e.Signal, body(&e), e.Severity, time.Unix(0, e.SourceTime).UTC())
		}
	}
	e := extracts(t, s, "<131>1 2026-01-02T03:00:00Z host app 12 TMO9 [a@1 k=\"v\\\"w\"] x")
	if attr(&e, "syslog.sd.a@1.k") != `v"w` || attr(&e, AttrHost) != "host" || attr(&e, AttrFacility) != "16" {
		t.Errorf("attributes %v", e.Attrs)
	}
}

func TestSourceTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	for _, c := range []struct {
		layout, text string
		want         time.Time // zero: refused
	}{
		{"", "2026-07-01T12:00:00.5+02:00", time.Date(2026, 7, 1, 10, 0, 0, 5e8, time.UTC)},
		{"epoch_s", "1767322800.25", time.Unix(1767322800, 25e7)},
		{"epoch_ms", "1767322800123", time.UnixMilli(1767322800123)},
		{"epoch_ns", "12x", time.Time{}},
		{"epoch_s", "99999999999999", time.Time{}},
		{"epoch_s", "1.-5", time.Time{}},
		{"julian", "26182 12:00:00.07", time.Date(2026, 7, 1, 12, 0, 0, 7e7, berlin)},
		{"julian", "2024366 00:00:00", time.Date(2024, 12, 31, 0, 0, 0, 0, berlin)},
		{"julian", "26366 00:00:00.00", time.Time{}},
		{"julian", "26000 00:00:00.00", time.Time{}},
		{"2006-01-02 15:04:05", "2026-07-01 12:00:00", time.Date(2026, 7, 1, 12, 0, 0, 0, berlin)},
		{"", "0001-01-01T00:00:00Z", time.Time{}},
	} {
		p, err := newTimeParser(c.layout, "Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.read(c.text)
		if c.want.IsZero() != (err != nil) || err == nil && got != c.want.UnixNano() {
			t.Errorf("%s %q: %d, %v; want %v", c.layout, c.text, got, err, c.want)
		}
	}
}
