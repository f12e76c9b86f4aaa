package input

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pando/event"
)

// Attributes that an input adds. Names follow OpenTelemetry: its log data
// model maps syslog's fields to the syslog.* names (appendix A), and the body
// of its log records has no attribute name, so it is called what it is there.
const (
	AttrBody      = "body"             // the text, unless Raw holds the original
	AttrEncoding  = "log.raw.encoding" // code page of Raw
	AttrCut       = "log.cut.bytes"    // how many bytes of the line are missing
	AttrFilePath  = "log.file.path"    // where a pattern names several files
	AttrTemplate  = "log.record.template"
	AttrHost      = "host.name"
	AttrService   = "service.name"
	AttrProcess   = "syslog.procid"
	AttrMessageID = "syslog.msgid"
	AttrFacility  = "syslog.facility"
	attrParameter = "syslog.sd." // then <id>.<parameter>
)

const (
	defaultSignal      = "log"
	defaultCriticality = 2
	absentEntity       = "unknown"
)

// line is one line or message as it was read.
type line struct {
	bytes  []byte // without its end; valid only during the call
	cut    int64  // bytes beyond the limit that were left out
	file   string // path, or empty
	attr   bool   // the path is worth an attribute
	remote string // sender's address, or empty
	broken bool   // the framing already says that it is malformed
}

// extractor makes events of lines. Not safe for concurrent use: each reader
// has its own, over the shared mapper.
type extractor struct {
	*mapper
	counts *metrics
	fields *fields
	json   jsonScanner
	syslog *syslogParser
	text   []byte       // decoding buffer
	attrs  []event.Attr // of the line at hand

	texts texts // memory of what events refer to
	lists attrs

	word  string // the last one that was to be a severity, and what it means
	meant event.Severity
	means bool

	template string // of the line at hand, or empty
}

func newExtractor(m *mapper, counts *metrics, wall func() time.Time) *extractor {
	x := &extractor{mapper: m, counts: counts, fields: newFields(len(m.slots))}
	x.json = jsonScanner{wanted: m.paths, fields: x.fields}
	if m.format == FormatSyslog {
		x.syslog = newSyslogParser(m.stamps.zone, wall)
	}
	return x
}

// parsed is what a format found in a line beside its fields.
type parsed struct {
	body      string
	ok        bool
	time      int64          // Unix nanoseconds, or 0
	severity  event.Severity // or 0
	signal    string         // where the templates give none
	producer  string         // whose clock the time is of, or empty
	attrs     []event.Attr
	truncated int // attributes left out
}

// event makes the line's event, without its stamp, and names the producer
// whose clock its SourceTime is of.
func (x *extractor) event(e *event.Event, l *line) (producer string) {
	x.fields.reset()
	x.template = ""
	text := x.decode(l.bytes)
	p := x.parse(text, l)
	if l.broken {
		p.ok = false
	}
	x.fields.put(x.body, p.body)
	x.fields.put(x.source, x.name)
	x.fields.put(x.file, l.file)

	*e = event.Event{
		Kind: event.Log, Source: x.name, Value: 1, Criticality: defaultCriticality,
		Severity: p.severity, SourceTime: p.time,
	}
	set, criticality := x.apply(&p)
	x.identify(e, &p, set)
	x.qualify(e, set)
	e.Criticality = x.criticality(e, p.body, criticality)
	x.attributes(e, &p, l, set)
	return p.producer
}

// decode makes text of the bytes; what is no text becomes U+FFFD and is
// counted.
func (x *extractor) decode(b []byte) string {
	if x.page != nil {
		var unmapped int
		x.text, unmapped = x.page.AppendUTF8(x.text[:0], b)
		x.counts.count(faultEncoding, int64(unmapped))
		return x.texts.of(x.text)
	}
	text := x.texts.of(b)
	if utf8.ValidString(text) {
		return text
	}
	x.counts.count(faultEncoding, 1)
	return strings.ToValidUTF8(text, "\uFFFD")
}

func (x *extractor) parse(text string, l *line) parsed {
	switch x.format {
	case FormatJSON:
		return parsed{body: text, ok: x.json.scan(text)}
	case FormatSyslog:
		return x.syslog.parse(text, l.remote, x)
	}
	return parsed{body: text, ok: true}
}

// apply runs the pattern and the rules, and returns the first rule's target
// and criticality.
func (x *extractor) apply(p *parsed) (*target, *int) {
	if !p.ok {
		return nil, nil
	}
	if x.pattern != nil {
		x.pattern.match(p.body, x.fields)
	}
	for i := range x.rules {
		r := &x.rules[i]
		if x.fields.set[r.slot] && r.match.match(x.fields.values[r.slot], x.fields) {
			return &r.set, r.criticality
		}
	}
	return nil, nil
}

// first expands the rule's template, or else the spec's own.
func (x *extractor) first(set *target, pick func(*target) *template) (string, bool) {
	if set != nil {
		if v, ok := pick(set).expand(x.fields, ""); ok {
			return v, true
		}
	}
	return pick(&x.own).expand(x.fields, "")
}

// identify sets entity, signal and peer.
func (x *extractor) identify(e *event.Event, p *parsed, set *target) {
	entity := x.own.entity
	if set != nil && set.entity != nil {
		entity = set.entity
	}
	e.Entity, _ = entity.expand(x.fields, absentEntity)
	if e.Entity = clip(e.Entity, event.MaxName); e.Entity == "" {
		e.Entity = absentEntity
	}
	if !p.ok {
		x.counts.count(faultMalformed, 1)
		e.Signal, e.Severity = x.format+".malformed", event.SeverityWarn
		return
	}
	signal, ok := x.first(set, func(t *target) *template { return t.signal })
	switch {
	case ok && signal != "":
		e.Signal = clip(signal, event.MaxName)
	case x.mine(e):
	case p.signal != "":
		e.Signal = p.signal
	default:
		e.Signal = defaultSignal
	}
	if peer, ok := x.first(set, func(t *target) *template { return t.peer }); ok {
		e.Peer = clip(peer, event.MaxName)
	}
}

// mine names an event by its line's template, if templates are asked for and
// the line has no name of its own.
func (x *extractor) mine(e *event.Event) bool {
	if x.templates == nil || !x.fields.set[x.mined] || hasCode(x.fields.values[x.mined]) {
		return false
	}
	id, text, known := x.templates.name(x.fields.values[x.mined])
	if !known {
		x.counts.count(faultTemplates, 1)
		e.Signal = otherTemplate
		return true
	}
	e.Signal, x.template = templateSignal+id, text
	return true
}

// qualify sets value, severity, time and trace; what cannot be read is
// counted and left out.
func (x *extractor) qualify(e *event.Event, set *target) {
	fault := func(ok bool) {
		if !ok {
			x.counts.count(faultValue, 1)
		}
	}
	if text, ok := x.first(set, func(t *target) *template { return t.value }); ok {
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		ok = err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
		if fault(ok); ok {
			e.Value = v
		}
	}
	if text, ok := x.first(set, func(t *target) *template { return t.severity }); ok {
		s, ok := x.severity(text)
		if fault(ok); ok {
			e.Severity = s
		}
	}
	if x.timeField >= 0 && x.fields.set[x.timeField] {
		at, err := x.times.read(x.fields.values[x.timeField])
		if fault(err == nil); err == nil {
			e.SourceTime = at
		}
	}
	if text, ok := x.trace.expand(x.fields, ""); ok {
		fault(identifier(e.TraceID[:], text))
	}
	if text, ok := x.span.expand(x.fields, ""); ok {
		fault(identifier(e.SpanID[:], text))
	}
	if text, ok := x.parent.expand(x.fields, ""); ok {
		fault(identifier(e.ParentID[:], text))
	}
}

// severity is [parseSeverity], whose word is mostly the one of the line before.
func (x *extractor) severity(text string) (event.Severity, bool) {
	if text != x.word {
		x.word = text
		x.meant, x.means = parseSeverity(text)
	}
	return x.meant, x.means
}

// identifier reads a trace or span id of exactly the length of dst.
func identifier(dst []byte, text string) bool {
	var b [16]byte
	if len(text) != 2*len(dst) {
		return false
	}
	if _, err := hex.Decode(b[:], []byte(text)); err != nil {
		return false
	}
	copy(dst, b[:])
	return true
}

func (x *extractor) criticality(e *event.Event, body string, fixed *int) uint8 {
	if fixed != nil {
		return uint8(*fixed)
	}
	for i := range x.crits {
		r := &x.crits[i]
		if (r.signal == nil || r.signal.MatchString(e.Signal)) && (r.text == nil || r.text.MatchString(body)) {
			return r.level
		}
	}
	return defaultCriticality
}

// attributes adds what was asked for, the text or the original bytes, and
// what must be known about them; sorted, unique and within the limits.
func (x *extractor) attributes(e *event.Event, p *parsed, l *line, set *target) {
	x.attrs = x.attrs[:0]
	add := func(key, value string) { x.attrs = append(x.attrs, event.Attr{Key: key, Value: value}) }
	// Where a key comes twice the first stays: rule, spec, own, format.
	for _, t := range []*target{set, &x.own} {
		if t == nil {
			continue
		}
		for i := range t.attributes {
			if v, ok := t.attributes[i].text.expand(x.fields, ""); ok {
				add(t.attributes[i].key, clip(v, event.MaxString))
			}
		}
	}
	cut := l.cut
	if x.keepRaw {
		e.Raw = slices.Clone(l.bytes)
		if x.page != nil {
			add(AttrEncoding, x.page.Name())
		}
	} else {
		body := clip(p.body, event.MaxString)
		cut += int64(len(p.body) - len(body))
		add(AttrBody, body)
	}
	if cut > 0 {
		x.counts.count(lostCut, cut)
		add(AttrCut, strconv.FormatInt(cut, 10))
	}
	if x.template != "" {
		add(AttrTemplate, x.template)
	}
	if l.attr {
		add(AttrFilePath, clip(l.file, event.MaxString))
	}
	// The format's own attributes come last, so they are what the limit cuts.
	room := min(len(p.attrs), event.MaxAttrs-len(x.attrs))
	x.counts.count(faultAttributes, int64(p.truncated+len(p.attrs)-room))
	x.attrs = append(x.attrs, p.attrs[:room]...)
	slices.SortStableFunc(x.attrs, func(a, b event.Attr) int { return strings.Compare(a.Key, b.Key) })
	e.Attrs = x.lists.of(slices.CompactFunc(x.attrs, func(a, b event.Attr) bool { return a.Key == b.Key }))
	x.fit(e)
}

// fit takes the longest attributes away from an event that is too large as a
// whole: many long fields of one line repeated by templates.
func (x *extractor) fit(e *event.Event) {
	size := func() int {
		n := len(e.Source) + len(e.Entity) + len(e.Signal) + len(e.Peer) + len(e.Raw)
		for _, a := range e.Attrs {
			n += len(a.Key) + len(a.Value)
		}
		return n
	}
	for size() > event.MaxEventBytes {
		longest := 0
		for i := range e.Attrs {
			if len(e.Attrs[i].Value) > len(e.Attrs[longest].Value) {
				longest = i
			}
		}
		e.Attrs = slices.Delete(e.Attrs, longest, longest+1)
		x.counts.count(faultAttributes, 1)
	}
}

// clip cuts text to at most n bytes between two runes.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
