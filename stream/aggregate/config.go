package aggregate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pando/event"
	"pando/stream"
)

// Bounds of a configuration.
const (
	MaxWindows    = 64  // each new series is matched with every window once
	MaxWindowName = 64  // bytes
	MaxSpan       = 512 // slides of one window: so many merges make a result
	MaxQuantiles  = 16
	MaxFields     = 4 // of distinct, and of top, in one window
	MaxGroups     = 1 << 20

	// defaultGroups of a window that names no other number.
	defaultGroups = 10_000
	// maxHeld bounds the slices that a window keeps by its length and lateness.
	maxHeld = MaxSlices / 2
	// paneLength is the grain of all lengths.
	paneLength = time.Duration(stream.PaneNanos)
	maxLength  = 366 * 24 * time.Hour
)

// By says what a window has a result for each of.
type By string

const (
	BySeries By = "series" // entity and signal; what an empty By means
	ByEntity By = "entity"
	BySignal By = "signal"
	ByNone   By = "none" // one for all events
)

// Lanes says which lanes a window reads. Its watermark is the least of theirs.
type Lanes string

const (
	BothLanes    Lanes = "both" // what empty Lanes mean
	CriticalLane Lanes = "critical"
	BulkLane     Lanes = "bulk"
)

// Field names what of an event is told apart: entity, signal, peer, trace, or
// attr: and the name of an attribute. Events in which it is empty do not count.
type Field string

const attrPrefix = "attr:"

// TopOf asks for the most frequent values of a field.
type TopOf struct {
	Of Field `yaml:"of"` // any but trace
	K  int   `yaml:"k"`  // entries, 1 to [MaxTop]
}

// Window defines what is aggregated, over which spans of event time. Count,
// sum, least and greatest value are always part of the result. Patterns match
// whole names as [stream.Match] says; an empty one matches every name.
type Window struct {
	Name   string `yaml:"name"`
	Entity string `yaml:"entity"` // pattern
	Signal string `yaml:"signal"` // pattern
	Lanes  Lanes  `yaml:"lanes"`
	By     By     `yaml:"by"`

	// Length and Slide are whole panes of 100 ms. A window ends at each
	// multiple of Slide, since 1970, and is Length long, a multiple of Slide.
	// Without Slide it is tumbling: Slide is Length.
	Length time.Duration `yaml:"window"`
	Slide  time.Duration `yaml:"slide"`

	// Lateness is how long after its end, by the watermark, a result may still
	// change.
	Lateness time.Duration `yaml:"lateness"`

	// MaxGroups is for how many series, entities or signals results are kept
	// apart at a time; the rest goes to that of [stream.Other]. 0 means 10,000.
	MaxGroups int `yaml:"max_groups"`

	Quantiles []float64 `yaml:"quantiles"` // 0 to 1
	Distinct  []Field   `yaml:"distinct"`
	Top       []TopOf   `yaml:"top"`
}

// Config lists the windows.
type Config struct {
	Windows []Window `yaml:"windows"`
}

// Validate reports every fault at once.
func (c *Config) Validate() error {
	var faults []error
	if len(c.Windows) > MaxWindows {
		faults = append(faults, fmt.Errorf("windows: %d of them: want at most %d", len(c.Windows), MaxWindows))
	}
	names := make(map[string]bool, len(c.Windows))
	for i := range c.Windows {
		w := c.Windows[i].filled()
		at := fmt.Sprintf("windows[%d] %q", i, w.Name)
		if names[w.Name] {
			faults = append(faults, fmt.Errorf("%s: name: another window has it", at))
		}
		names[w.Name] = true
		for _, err := range w.faults() {
			faults = append(faults, fmt.Errorf("%s: %w", at, err))
		}
	}
	return errors.Join(faults...)
}

// filled is the window with what its empty fields mean.
func (w Window) filled() Window {
	if w.By == "" {
		w.By = BySeries
	}
	if w.Lanes == "" {
		w.Lanes = BothLanes
	}
	if w.Slide == 0 {
		w.Slide = w.Length
	}
	if w.MaxGroups == 0 {
		w.MaxGroups = defaultGroups
	}
	return w
}

func (w *Window) faults() (faults []error) {
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(w.Name != "" && len(w.Name) <= MaxWindowName, "name: want 1 to %d bytes", MaxWindowName)
	fault(len(w.Entity) <= event.MaxName && len(w.Signal) <= event.MaxName, "entity, signal: want at most %d bytes", event.MaxName)
	fault(slices.Contains([]By{BySeries, ByEntity, BySignal, ByNone}, w.By), "by is %q: want series, entity, signal or none", w.By)
	fault(slices.Contains([]Lanes{BothLanes, CriticalLane, BulkLane}, w.Lanes), "lanes is %q: want both, critical or bulk", w.Lanes)
	lengths := true
	for _, l := range []struct {
		name string
		d    time.Duration
	}{{"window", w.Length}, {"slide", w.Slide}} {
		ok := l.d >= paneLength && l.d <= maxLength && l.d%paneLength == 0
		fault(ok, "%s is %v: want %v to %v, in steps of %v", l.name, l.d, paneLength, maxLength, paneLength)
		lengths = lengths && ok
	}
	ok := w.Lateness >= 0 && w.Lateness <= maxLength
	fault(ok, "lateness is %v: want 0 to %v", w.Lateness, maxLength)
	if lengths && ok {
		span, late := w.Length/w.Slide, w.Lateness/w.Slide
		fault(w.Length%w.Slide == 0 && span <= MaxSpan, "window is %v: want 1 to %d times the slide of %v", w.Length, MaxSpan, w.Slide)
		fault(span+late <= maxHeld, "window and lateness are %d slides: want at most %d; make the slide longer", span+late, maxHeld)
	}
	fault(w.MaxGroups >= 1 && w.MaxGroups <= MaxGroups, "max_groups is %d: want 1 to %d", w.MaxGroups, MaxGroups)
	fault(len(w.Quantiles) <= MaxQuantiles, "quantiles: %d of them: want at most %d", len(w.Quantiles), MaxQuantiles)
	for _, q := range w.Quantiles {
		fault(q >= 0 && q <= 1, "quantiles: %v: want 0 to 1", q)
	}
	fault(len(w.Distinct) <= MaxFields, "distinct: %d fields: want at most %d", len(w.Distinct), MaxFields)
	for _, f := range w.Distinct {
		fault(f.known(), "distinct: %q: want entity, signal, peer, trace, or %sNAME", f, attrPrefix)
	}
	fault(len(w.Top) <= MaxFields, "top: %d of them: want at most %d", len(w.Top), MaxFields)
	for _, t := range w.Top {
		fault(t.Of.known() && t.Of != "trace", "top: of is %q: want entity, signal, peer, or %sNAME", t.Of, attrPrefix)
		fault(t.K >= 1 && t.K <= MaxTop, "top: k is %d: want 1 to %d", t.K, MaxTop)
	}
	return faults
}

func (f Field) known() bool {
	switch f {
	case "entity", "signal", "peer", "trace":
		return true
	}
	return len(f) > len(attrPrefix) && len(f) <= len(attrPrefix)+event.MaxName && strings.HasPrefix(string(f), attrPrefix)
}

// value is what event i of a batch has in the field; empty is nothing. That of
// trace is its 16 bytes.
func (f Field) value(b *event.Columns, i int) string {
	switch f {
	case "entity":
		return b.Entity.At(i)
	case "signal":
		return b.Signal.At(i)
	case "peer":
		return b.Peer.At(i)
	case "trace":
		if len(b.TraceID) == 0 || b.TraceID[i] == ([16]byte{}) {
			return ""
		}
		return string(b.TraceID[i][:])
	}
	attrs := b.Attrs(i)
	for j := range attrs {
		if attrs[j].Key == string(f[len(attrPrefix):]) {
			return attrs[j].Value
		}
	}
	return ""
}

// shape is all of a definition that its state depends on: a window that is
// configured anew with the same shape goes on. How many groups there may be,
// how late data may come, and which quantiles are told may change on the way.
func (w *Window) shape() string {
	return fmt.Sprintf("%q %q %s %s %d %d %t %q %v", w.Entity, w.Signal, w.Lanes, w.By,
		w.Length, w.Slide, len(w.Quantiles) > 0, w.Distinct, w.Top)
}

// key is the group of a series.
func (w *Window) key(s stream.Series) stream.Series {
	switch w.By {
	case ByEntity:
		return stream.Series{Entity: s.Entity}
	case BySignal:
		return stream.Series{Signal: s.Signal}
	case ByNone:
		return stream.Series{}
	}
	return s
}
