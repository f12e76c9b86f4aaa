package pattern

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"pando/event"
	"pando/event/clock"
	"pando/stream/cep"
)

// Bounds of a trace. It is read whole, as its events need not be in order.
const (
	maxTraceLine  = 1 << 20
	maxTraceLines = 1 << 20
)

// traceLine is one line of a trace. Only time is mandatory.
type traceLine struct {
	Time     time.Time         `json:"time"`     // RFC 3339
	Kind     string            `json:"kind"`     // log (the default), metric, span, loss or finding
	Severity json.RawMessage   `json:"severity"` // a word or a number
	Entity   string            `json:"entity"`
	Signal   string            `json:"signal"`
	Value    *float64          `json:"value"` // default 1, as of a log line
	Peer     string            `json:"peer"`
	Source   string            `json:"source"`
	Origin   string            `json:"origin"`   // the agent; with seq, the order of events of one time
	Sequence uint64            `json:"sequence"` // default: the line's number
	Trace    string            `json:"trace"`    // hexadecimal
	Attrs    map[string]string `json:"attrs"`
}

// ReadTrace reads events from JSON lines: objects with the fields time,
// kind, severity, entity, signal, value, peer, source, origin, sequence, trace
// and attrs. Empty lines are left out.
func ReadTrace(r io.Reader) ([]cep.Event, error) {
	var out []cep.Event
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxTraceLine)
	for n := 1; lines.Scan(); n++ {
		if n > maxTraceLines {
			return nil, fmt.Errorf("line %d: a trace has at most %d lines", n, maxTraceLines)
		}
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		ev, err := readTraceLine(text, uint64(n))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, ev)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", len(out)+1, err)
	}
	return out, nil
}

func readTraceLine(text []byte, number uint64) (cep.Event, error) {
	if !utf8.Valid(text) {
		return cep.Event{}, errors.New("not valid UTF-8")
	}
	line := traceLine{Kind: cep.KindLog, Sequence: number}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&line); err != nil {
		return cep.Event{}, err
	}
	if d.More() {
		return cep.Event{}, errors.New("more than one value in the line")
	}
	ev, err := line.event()
	if err != nil {
		return cep.Event{}, err
	}
	return ev, line.readable(&ev)
}

// firstYear and lastYear are those that nanoseconds since 1970 can count.
const (
	firstYear = 1970
	lastYear  = 2261
)

func (l *traceLine) event() (cep.Event, error) {
	if year := l.Time.UTC().Year(); year < firstYear || year > lastYear {
		return cep.Event{}, fmt.Errorf("time: want one from %d to %d, such as 2026-11-29T12:00:00.5Z", firstYear, lastYear)
	}
	ev := cep.Event{
		Time: l.Time.UnixNano(), Unit: event.Unit{Origin: l.Origin}, Seq: l.Sequence, Kind: l.Kind,
		Entity: l.Entity, Signal: l.Signal, Peer: l.Peer, Source: l.Source, Value: cep.Scale,
	}
	ev.Onset = clock.Interval{Lo: ev.Time, Hi: ev.Time}
	if l.Value != nil {
		ev.Value = cep.Fixed(*l.Value)
	}
	severity, err := level(l.Severity)
	if err != nil {
		return cep.Event{}, err
	}
	ev.Severity = severity
	if l.Trace != "" {
		id, err := hex.DecodeString(l.Trace)
		if err != nil || len(id) != len(ev.Trace) {
			return cep.Event{}, fmt.Errorf("trace %q: want %d hexadecimal digits", l.Trace, 2*len(ev.Trace))
		}
		copy(ev.Trace[:], id)
	}
	for key, value := range l.Attrs {
		ev.Attrs = append(ev.Attrs, event.Attr{Key: key, Value: value})
	}
	slices.SortFunc(ev.Attrs, func(a, b event.Attr) int { return strings.Compare(a.Key, b.Key) })
	return ev, nil
}

// readable checks what an event of Pando's could not be.
func (l *traceLine) readable(ev *cep.Event) error {
	kinds := []string{cep.KindLog, cep.KindMetric, cep.KindSpan, cep.KindLoss, cep.KindFinding}
	if !slices.Contains(kinds, ev.Kind) {
		return fmt.Errorf("kind %q: want %s", ev.Kind, strings.Join(kinds, ", "))
	}
	for _, name := range []string{ev.Entity, ev.Signal, ev.Peer, ev.Source, ev.Unit.Origin} {
		if len(name) > event.MaxName {
			return fmt.Errorf("a name of %d bytes: want at most %d", len(name), event.MaxName)
		}
	}
	if len(ev.Attrs) > event.MaxAttrs {
		return fmt.Errorf("%d attributes: want at most %d", len(ev.Attrs), event.MaxAttrs)
	}
	return nil
}

// level reads a severity: nothing, a word or a number.
func level(raw json.RawMessage) (event.Severity, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return event.SeverityUnknown, nil
	}
	var word string
	if json.Unmarshal(raw, &word) == nil {
		if v, ok := constants[word]; ok {
			return event.Severity(v), nil
		}
	}
	var number float64
	if err := json.Unmarshal(raw, &number); err == nil && number == math.Trunc(number) && number >= 0 && number <= float64(event.MaxSeverity) {
		return event.Severity(number), nil
	}
	return 0, fmt.Errorf("severity %s: want debug, info, warn, error, fatal or a number from 0 to %d", raw, event.MaxSeverity)
}
