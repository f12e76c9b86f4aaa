package input

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"pando/event"
)

// bom is what RFC 5424 wants in front of a message that is UTF-8; many
// senders leave it out, so it decides nothing and is taken away.
const bom = "\ufeff"

// stampYear is the year under which RFC 3164's times are parsed: a leap year
// that no message means.
const stampYear = 4

// syslogParser reads one message of RFC 5424 or RFC 3164; a "1 " behind the
// priority tells the former. Not safe for concurrent use.
//
// RFC 3164's times have neither year nor zone. The zone is the one configured,
// else the agent's own; the year is the one that puts the time nearest to the
// agent's wall clock. A wrong zone or clock does no harm to event times: the
// distance is learnt as part of the producer's offset.
type syslogParser struct {
	modern syslog.Machine
	old    syslog.Machine
	wall   func() time.Time
	zone   *time.Location
}

func newSyslogParser(zone *time.Location, wall func() time.Time) *syslogParser {
	return &syslogParser{
		modern: rfc5424.NewMachine(rfc5424.WithBestEffort()),
		old: rfc3164.NewMachine(
			rfc3164.WithBestEffort(), rfc3164.WithYear(rfc3164.Year{YYYY: stampYear}),
			rfc3164.WithRFC3339(), rfc3164.WithSecondFractions(), rfc3164.WithLenientDay(), rfc3164.WithEmbeddedNewlines(),
		),
		wall: wall, zone: zone,
	}
}

// parse reads the message's fields. What could be read of a malformed one is
// kept.
func (s *syslogParser) parse(text, remote string, x *extractor) parsed {
	p := parsed{body: text, producer: remote}
	put := func(name, value string) { x.fields.put(x.slots.find(name), value) }
	put("remote", remote)
	m, structured, err := s.message(text)
	p.ok = err == nil
	if m == nil {
		return p
	}
	if m.Severity != nil {
		word, severity := syslogSeverity(*m.Severity)
		p.severity, p.signal = severity, "syslog."+word
		put("severity", word)
	}
	if m.Facility != nil {
		facility := strconv.Itoa(int(*m.Facility))
		put("facility", facility)
		p.attrs = append(p.attrs, event.Attr{Key: AttrFacility, Value: facility})
	}
	if m.Hostname != nil {
		p.producer = strings.Clone(*m.Hostname)
	}
	for _, f := range []struct {
		name, key string
		value     *string
	}{
		{"hostname", AttrHost, m.Hostname}, {"appname", AttrService, m.Appname},
		{"procid", AttrProcess, m.ProcID}, {"msgid", AttrMessageID, m.MsgID},
	} {
		if f.value != nil {
			put(f.name, *f.value)
			p.attrs = append(p.attrs, event.Attr{Key: f.key, Value: clip(*f.value, event.MaxString)})
		}
	}
	if p.ok {
		p.body = ""
		if m.Message != nil {
			p.body = strings.TrimPrefix(*m.Message, bom)
		}
	}
	if m.Timestamp != nil {
		if at, err := unixNano(s.dated(*m.Timestamp)); err == nil {
			p.time = at
		}
	}
	p.parameters(structured, put)
	return p
}

// message parses by the RFC that the text follows; a message without a
// readable priority gives nil.
func (s *syslogParser) message(text string) (*syslog.Base, map[string]map[string]string, error) {
	if end := strings.IndexByte(text, '>'); end > 0 && strings.HasPrefix(text[end+1:], "1 ") {
		m, err := s.modern.Parse([]byte(text))
		if m, ok := m.(*rfc5424.SyslogMessage); ok && m != nil {
			if m.StructuredData != nil {
				return &m.Base, *m.StructuredData, err
			}
			return &m.Base, nil, err
		}
		return nil, nil, cmp.Or(err, errNotSyslog)
	}
	m, err := s.old.Parse([]byte(text))
	if m, ok := m.(*rfc3164.SyslogMessage); ok && m != nil {
		return &m.Base, nil, err
	}
	return nil, nil, cmp.Or(err, errNotSyslog)
}

// dated gives a time of RFC 3164 its year.
func (s *syslogParser) dated(t time.Time) time.Time {
	if t.Year() != stampYear {
		return t // it named one
	}
	now := s.wall().In(s.zone)
	best := t
	for i, year := range []int{now.Year(), now.Year() - 1, now.Year() + 1} {
		at := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), s.zone)
		if i == 0 || at.Sub(now).Abs() < best.Sub(now).Abs() {
			best = at
		}
	}
	return best
}

// parameters makes attributes and fields of RFC 5424's structured data, as
// many as fit an event.
func (p *parsed) parameters(structured map[string]map[string]string, put func(name, value string)) {
	for _, id := range slices.Sorted(maps.Keys(structured)) {
		for _, name := range slices.Sorted(maps.Keys(structured[id])) {
			value := structured[id][name]
			put("sd."+id+"."+name, value)
			if len(p.attrs) == event.MaxAttrs {
				p.truncated++
				continue
			}
			p.attrs = append(p.attrs, event.Attr{Key: attrParameter + id + "." + name, Value: clip(value, event.MaxString)})
		}
	}
}
