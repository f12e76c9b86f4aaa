package input

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"pando/ebcdic"
	"pando/event"
)

// mapper is a spec made ready: how a line's fields become an event.
// Immutable but for the templates, shared by all readers of a source.
type mapper struct {
	name    string
	format  string
	keepRaw bool
	maxLine int
	page    *ebcdic.Page // nil for UTF-8
	slots   slots

	pattern   *expression
	own       target // the spec's own templates
	trace     *template
	span      *template
	parent    *template
	timeField int         // slot, or -1
	times     *timeParser // nil without source_time
	stamps    *timeParser // zone of RFC 3164's times
	rules     []rule
	crits     []critRule

	templates *Templates // nil without template; the only thing here that changes
	mined     int        // slot of the text whose template is looked for

	paths        []want // of JSON that lead to a field in use
	body         int    // slots of the fields that every format has, or -1
	source, file int
}

// target is the part of an event that rules may set.
type target struct {
	entity, signal, value, peer, severity *template
	attributes                            []attribute // sorted by key
}

type attribute struct {
	key  string
	text *template
}

type rule struct {
	slot        int
	match       *expression
	set         target
	criticality *int
}

type critRule struct {
	signal, text *regexp.Regexp
	level        uint8
}

// expression is an RE2 whose named groups go into slots.
type expression struct {
	re    *regexp.Regexp
	slots []int // by group; -1 for none
}

// match puts the named groups into f and reports whether the text matched.
func (e *expression) match(text string, f *fields) bool {
	at := e.re.FindStringSubmatchIndex(text)
	if at == nil {
		return false
	}
	for g, slot := range e.slots {
		if slot >= 0 && at[2*g] >= 0 {
			f.put(slot, text[at[2*g]:at[2*g+1]])
		}
	}
	return true
}

// compile makes a spec with its defaults ready; it joins all faults.
func compile(s *Spec) (*mapper, error) {
	m := &mapper{
		name: s.Name, format: s.Format, keepRaw: s.KeepRaw != nil && *s.KeepRaw, maxLine: s.MaxLine,
		slots: slots{}, timeField: -1,
	}
	c := &compiler{slots: m.slots}
	if s.CodePage != "" {
		m.page, _ = ebcdic.Lookup(s.CodePage) // Validate names a fault
	}
	m.own = c.target("", s.Entity, s.Signal, s.Value, s.Peer, s.Severity, s.Attributes)
	m.trace, m.span, m.parent = c.template("trace", s.Trace), c.template("span", s.Span), c.template("parent", s.Parent)
	m.stamps, _ = newTimeParser("", "Local")
	if t := s.SourceTime; t != nil {
		c.check(t.Field != "" || s.Format == FormatSyslog, "source_time.field: is missing; say which field holds the time")
		var err error
		m.times, err = newTimeParser(t.Layout, t.Zone)
		c.check(err == nil, "source_time.%v", err)
		if t.Field != "" {
			m.timeField = m.slots.use(t.Field)
		}
		if err == nil {
			m.stamps = m.times
		}
	}
	if t := s.Template; t != nil {
		m.mined = m.slots.use(cmp.Or(t.Field, "body"))
		var err error
		m.templates, err = NewTemplates(*t)
		c.check(err == nil, "template: %v", err)
	}
	for i := range s.Match {
		m.rules = append(m.rules, c.rule(fmt.Sprintf("match[%d]", i), &s.Match[i]))
	}
	for i, r := range s.Criticality {
		field := fmt.Sprintf("criticality[%d]", i)
		c.check(r.Signal != "" || r.Text != "", "%s: give signal or text, an expression", field)
		c.check(r.Level >= 0 && r.Level <= 3, "%s.level: %d: give 0 (critical) to 3 (bulk)", field, r.Level)
		m.crits = append(m.crits, critRule{
			signal: c.faults.expression(field+".signal", r.Signal),
			text:   c.faults.expression(field+".text", r.Text),
			level:  uint8(r.Level & 3),
		})
	}
	// Groups last: only those that something refers to get a slot.
	m.pattern = c.groups("pattern", s.Pattern)
	for i := range s.Match {
		m.rules[i].match = c.groups(fmt.Sprintf("match[%d].pattern", i), s.Match[i].Pattern)
	}
	m.body, m.source, m.file = m.slots.find("body"), m.slots.find("source"), m.slots.find("file")
	m.paths = wants(m.slots)
	if len(c.list) > 0 {
		return nil, errors.Join(c.list...)
	}
	return m, nil
}

// compiler collects slots and faults.
type compiler struct {
	faults
	slots slots
}

func (c *compiler) template(field, text string) *template {
	t, err := parseTemplate(text, c.slots)
	c.check(err == nil, "%s: %v", field, err)
	return t
}

func (c *compiler) target(at, entity, signal, value, peer, severity string, attributes map[string]string) target {
	t := target{
		entity: c.template(at+"entity", entity), signal: c.template(at+"signal", signal), value: c.template(at+"value", value),
		peer: c.template(at+"peer", peer), severity: c.template(at+"severity", severity),
	}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		c.check(key != "" && len(key) <= event.MaxName, "%sattributes: %.40q: a key has 1 to %d bytes", at, key, event.MaxName)
		t.attributes = append(t.attributes, attribute{key, c.template(at+"attributes."+key, attributes[key])})
	}
	return t
}

func (c *compiler) rule(at string, r *Rule) rule {
	c.check(r.Pattern != "", "%s.pattern: is missing; give an expression", at)
	c.check(len(r.Attributes) <= maxAttributes, "%s.attributes: %d: at most %d", at, len(r.Attributes), maxAttributes)
	if r.Criticality != nil {
		c.check(*r.Criticality >= 0 && *r.Criticality <= 3, "%s.criticality: %d: give 0 (critical) to 3 (bulk)", at, *r.Criticality)
	}
	field := r.Field
	if field == "" {
		field = "body"
	}
	return rule{
		slot:        c.slots.use(field),
		set:         c.target(at+".", r.Entity, r.Signal, r.Value, r.Peer, r.Severity, r.Attributes),
		criticality: r.Criticality,
	}
}

// groups compiles an expression and finds the slots of its named groups.
func (c *compiler) groups(field, pattern string) *expression {
	re := c.faults.expression(field, pattern)
	if re == nil {
		return nil
	}
	e := &expression{re: re}
	for _, name := range re.SubexpNames() {
		slot := -1
		if name != "" {
			slot = c.slots.find(name)
		}
		e.slots = append(e.slots, slot)
	}
	return e
}
