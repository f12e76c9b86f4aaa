package input

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pando/ebcdic"
)

// Types of sources, formats of lines, and other words of a [Spec].
const (
	TypeTail   = "tail"
	TypeSyslog = "syslog"

	FormatText   = "text"
	FormatJSON   = "json"
	FormatSyslog = "syslog"

	ProtocolTCP = "tcp"
	ProtocolUDP = "udp"

	StartBeginning = "beginning"
	StartEnd       = "end"

	NewLineNEL  = "nel"
	NewLineLF   = "lf"
	NewLineBoth = "both"
)

const (
	// MaxLine is the longest line, and the default: an attribute's value may
	// be no longer, and the line is one.
	MaxLine = 64 << 10
	minLine = 64

	// maxFiles bounds the files of a pattern: each holds a descriptor, a
	// position in every batch, and costs one stat at every poll.
	maxFiles     = 1024
	defaultFiles = 256

	// maxConnections bounds the senders of a syslog source: each holds a
	// descriptor, a goroutine and up to two messages.
	maxConnections     = 4096
	defaultConnections = 256

	// defaultIdle is how long a sender may take to complete a message: longer
	// than any that means it.
	defaultIdle = 5 * time.Minute
	minIdle     = time.Second
	maxIdle     = 24 * time.Hour

	// defaultPoll keeps the time from write to read small against the 47 ms
	// that detection may take.
	defaultPoll = 10 * time.Millisecond
	minPoll     = time.Millisecond
	maxPoll     = time.Minute

	// defaultGrace is how long writers that were not told of a rotation may
	// go on writing to the old file.
	defaultGrace = 5 * time.Second
	maxGrace     = time.Hour

	// maxRules bounds the regular expressions that one line may have to pass,
	// and maxAttributes leaves room beside an event's own attributes.
	maxRules      = 256
	maxAttributes = 32
)

// Spec is one source as the configuration describes it. The caller's decoder
// refuses unknown keys. Fields marked as templates are text with fields in
// braces, "payments/{app}"; "{app|none}" gives a value for where the field is
// absent, "{{" is a brace. A template that uses an absent field without such a
// value gives nothing, and the default of its target applies; in an entity
// the absent field becomes "unknown".
//
// Fields are: body (the text, for syslog its message), source (Name), file
// (path); the groups named by Pattern and by the Match rule that applies; for
// JSON every dotted path (a.b, list.0.c); for syslog hostname, appname,
// procid, msgid, facility, severity, remote and sd.<id>.<parameter>.
type Spec struct {
	Name     string `yaml:"name"`
	Type     string `yaml:"type"`     // tail or syslog
	Path     string `yaml:"path"`     // tail: absolute; may be a glob pattern
	Listen   string `yaml:"listen"`   // syslog: host:port
	Protocol string `yaml:"protocol"` // syslog: tcp (default) or udp
	Format   string `yaml:"format"`   // text (default), json, syslog
	CodePage string `yaml:"code_page"`
	NewLine  string `yaml:"nl"`    // EBCDIC: nel, lf or both (default)
	Start    string `yaml:"start"` // beginning (default) or end, where no position is known

	Pattern    string            `yaml:"pattern"` // RE2 over the body whose named groups become fields
	Entity     string            `yaml:"entity"`  // template; default: Name, for syslog {hostname}/{appname}
	Signal     string            `yaml:"signal"`  // template; default: log, for syslog the MSGID or syslog.<severity>
	Value      string            `yaml:"value"`   // template; default: 1
	Peer       string            `yaml:"peer"`    // template; default: none
	Severity   string            `yaml:"severity"`
	SourceTime *TimeSpec         `yaml:"source_time"` // syslog has its own unless this is set
	Trace      string            `yaml:"trace"`       // template of 32 hexadecimal digits
	Span       string            `yaml:"span"`        // template of 16
	Parent     string            `yaml:"parent"`      // template of 16
	Attributes map[string]string `yaml:"attributes"`  // templates

	Template    *TemplateSpec `yaml:"template"`    // names the lines that nothing else names; absent: they are log, or syslog.<severity>
	Match       []Rule        `yaml:"match"`       // the first that matches applies
	Criticality []CritRule    `yaml:"criticality"` // the first that matches applies; default 2
	KeepRaw     *bool         `yaml:"keep_raw"`    // keep the original bytes; default: for EBCDIC
	MaxLine     int           `yaml:"max_line"`    // bytes; default and limit 64 KiB

	MaxFiles       int           `yaml:"max_files"`       // tail; default 256
	MaxConnections int           `yaml:"max_connections"` // syslog over TCP; default 256
	IdleLimit      time.Duration `yaml:"idle_limit"`      // syslog over TCP: for a message from its first byte to its last; default 5m
	Poll           time.Duration `yaml:"poll"`            // tail; default 10ms
	Grace          time.Duration `yaml:"grace"`           // tail: quiet after which a rotated file is closed; default 5s
}

// TimeSpec says where the producer's own time stands.
type TimeSpec struct {
	Field  string `yaml:"field"`
	Layout string `yaml:"layout"` // rfc3339 (default), epoch_s, epoch_ms, epoch_us, epoch_ns, julian, or a layout of Go's time package
	Zone   string `yaml:"zone"`   // of times that name none: an IANA name, UTC or Local (default)
}

// Rule sets what it names where its expression matches; it goes before the
// spec's own templates.
type Rule struct {
	Field       string            `yaml:"field"`   // default body
	Pattern     string            `yaml:"pattern"` // RE2; named groups become fields
	Entity      string            `yaml:"entity"`
	Signal      string            `yaml:"signal"`
	Value       string            `yaml:"value"`
	Peer        string            `yaml:"peer"`
	Severity    string            `yaml:"severity"`
	Criticality *int              `yaml:"criticality"` // 0 to 3; goes before the criticality rules
	Attributes  map[string]string `yaml:"attributes"`
}

// CritRule gives a criticality, 0 (critical) to 3 (bulk), where its
// expressions match: on the signal, on the text (the body), or on both.
type CritRule struct {
	Signal string `yaml:"signal"`
	Text   string `yaml:"text"`
	Level  int    `yaml:"level"`
}

// withDefaults fills in what was left out.
func (s Spec) withDefaults() Spec {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&s.Start, StartBeginning)
	if s.Type == TypeSyslog {
		set(&s.Protocol, ProtocolTCP)
		set(&s.Format, FormatSyslog)
	}
	set(&s.Format, FormatText)
	if s.CodePage != "" {
		set(&s.NewLine, NewLineBoth)
	}
	if s.Format == FormatSyslog {
		set(&s.Entity, "{hostname}/{appname}")
		set(&s.Signal, "{msgid}")
	}
	set(&s.Entity, strings.ReplaceAll(s.Name, "{", "{{"))
	if s.KeepRaw == nil {
		keep := s.CodePage != ""
		s.KeepRaw = &keep
	}
	count := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	count(&s.MaxLine, MaxLine)
	count(&s.MaxFiles, defaultFiles)
	count(&s.MaxConnections, defaultConnections)
	span := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	span(&s.IdleLimit, defaultIdle)
	span(&s.Poll, defaultPoll)
	span(&s.Grace, defaultGrace)
	return s
}

// Validate joins all faults; each names the field and what to do.
func (s Spec) Validate() error {
	v := &faults{}
	v.check(s.Name != "", "name: is missing; give the source a name")
	v.check(len(s.Name) <= 128 && !strings.ContainsAny(s.Name, positionMark+"\n"), "name: %.40q: at most 128 bytes without %q", s.Name, positionMark)
	v.oneOf("type", s.Type, TypeTail, TypeSyslog)
	switch s.Type {
	case TypeTail:
		s.validateTail(v)
	case TypeSyslog:
		s.validateSyslog(v)
	}
	v.check(s.MaxLine == 0 || s.MaxLine >= minLine && s.MaxLine <= MaxLine, "max_line: %d: give %d to %d bytes", s.MaxLine, minLine, MaxLine)
	v.check(len(s.Match) <= maxRules, "match: %d rules: at most %d", len(s.Match), maxRules)
	v.check(len(s.Criticality) <= maxRules, "criticality: %d rules: at most %d", len(s.Criticality), maxRules)
	v.check(len(s.Attributes) <= maxAttributes, "attributes: %d: at most %d", len(s.Attributes), maxAttributes)
	filled := s.withDefaults()
	if _, err := compile(&filled); err != nil {
		v.list = append(v.list, err)
	}
	return errors.Join(v.list...)
}

func (s *Spec) validateTail(v *faults) {
	v.check(s.Path != "", "path: is missing; say which file to read")
	v.check(s.Path == "" || filepath.IsAbs(s.Path), "path: %q: give an absolute path", s.Path)
	_, err := filepath.Match(s.Path, "")
	v.check(err == nil, "path: %q: not a glob pattern; see filepath.Match", s.Path)
	v.check(s.Listen == "" && s.Protocol == "", "listen, protocol: only for type syslog; remove them")
	v.check(s.MaxConnections == 0 && s.IdleLimit == 0, "max_connections, idle_limit: only for type syslog; remove them")
	v.oneOf("format", s.Format, "", FormatText, FormatJSON, FormatSyslog)
	v.oneOf("start", s.Start, "", StartBeginning, StartEnd)
	if s.CodePage == "" {
		v.check(s.NewLine == "" || s.NewLine == NewLineLF, "nl: %q: only with a code_page; UTF-8 lines end with lf", s.NewLine)
	} else {
		v.oneOf("nl", s.NewLine, "", NewLineNEL, NewLineLF, NewLineBoth)
		_, err := ebcdic.Lookup(s.CodePage)
		v.check(err == nil, "code_page: %v", err)
	}
	v.check(s.MaxFiles >= 0 && s.MaxFiles <= maxFiles, "max_files: %d: give 1 to %d", s.MaxFiles, maxFiles)
	v.check(s.Poll == 0 || s.Poll >= minPoll && s.Poll <= maxPoll, "poll: %v: give %v to %v", s.Poll, minPoll, maxPoll)
	v.check(s.Grace >= 0 && s.Grace <= maxGrace, "grace: %v: give at most %v", s.Grace, maxGrace)
}

func (s *Spec) validateSyslog(v *faults) {
	v.check(s.Listen != "", "listen: is missing; give host:port")
	if s.Listen != "" {
		_, _, err := net.SplitHostPort(s.Listen)
		v.check(err == nil, "listen: %v; give host:port", err)
	}
	v.oneOf("protocol", s.Protocol, "", ProtocolTCP, ProtocolUDP)
	v.oneOf("format", s.Format, "", FormatSyslog)
	v.check(s.Path == "" && s.Start == "" && s.CodePage == "" && s.NewLine == "", "path, start, code_page, nl: only for type tail; remove them")
	v.check(s.MaxFiles == 0 && s.Poll == 0 && s.Grace == 0, "max_files, poll, grace: only for type tail; remove them")
	v.check(s.MaxConnections >= 0 && s.MaxConnections <= maxConnections, "max_connections: %d: give 1 to %d", s.MaxConnections, maxConnections)
	v.check(s.IdleLimit == 0 || s.IdleLimit >= minIdle && s.IdleLimit <= maxIdle, "idle_limit: %v: give %v to %v", s.IdleLimit, minIdle, maxIdle)
}

// faults collects what is wrong.
type faults struct{ list []error }

func (f *faults) check(ok bool, format string, args ...any) {
	if !ok {
		f.list = append(f.list, fmt.Errorf(format, args...))
	}
}

func (f *faults) oneOf(field, value string, words ...string) {
	if slices.Contains(words, value) {
		return
	}
	known := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
	f.check(false, "%s: %q: give %s", field, value, strings.Join(known, ", "))
}

// expression compiles an optional RE2; the fault names its field.
func (f *faults) expression(field, pattern string) *regexp.Regexp {
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	f.check(err == nil, "%s: %v", field, err)
	return re
}
