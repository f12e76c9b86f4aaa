package event

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrInvalid is wrapped by every error that says an event or batch breaks a
// rule of the model or exceeds a limit, and that bytes are no batch.
var ErrInvalid = errors.New("invalid")

// Validate checks everything about one event but its place in a batch. The
// error names the first field at fault and its limit, and wraps [ErrInvalid].
func (e *Event) Validate() error {
	if err := e.check(); err != nil {
		return err
	}
	for _, n := range []struct{ field, text string }{
		{"source", e.Source}, {"entity", e.Entity}, {"signal", e.Signal}, {"peer", e.Peer},
	} {
		if err := checkText(n.field, n.text, MaxName); err != nil {
			return err
		}
	}
	total := len(e.Source) + len(e.Entity) + len(e.Signal) + len(e.Peer) + len(e.Raw)
	for _, a := range e.Attrs {
		if err := checkText("attribute key", a.Key, MaxName); err != nil {
			return err
		}
		if err := checkText("attribute "+a.Key, a.Value, MaxString); err != nil {
			return err
		}
		total += len(a.Key) + len(a.Value)
	}
	if total > MaxEventBytes {
		return invalid("event of %d bytes of text and raw: limit %d", total, MaxEventBytes)
	}
	return nil
}

// check is the part of Validate that does not look into strings: a batch
// checks each distinct string once.
func (e *Event) check() error {
	switch {
	case e.Stamp.Point > e.Stamp.Hi || e.Stamp.Point < e.Stamp.Lo:
		return invalid("stamp: point %d outside [%d, %d]", e.Stamp.Point, e.Stamp.Lo, e.Stamp.Hi)
	case e.Flags&^allFlags != 0:
		return invalid("flags %#x: only %#x are known", uint8(e.Flags), uint8(allFlags))
	case e.Criticality > 3:
		return invalid("criticality %d: limit 3", e.Criticality)
	case e.Kind > Loss:
		return invalid("kind %d: limit %d", e.Kind, Loss)
	case e.Severity > MaxSeverity:
		return invalid("severity %d: limit %d", e.Severity, MaxSeverity)
	case len(e.Attrs) > MaxAttrs:
		return invalid("%d attributes: limit %d", len(e.Attrs), MaxAttrs)
	case len(e.Raw) > MaxRaw:
		return invalid("raw of %d bytes: limit %d", len(e.Raw), MaxRaw)
	}
	for i := 1; i < len(e.Attrs); i++ {
		if e.Attrs[i-1].Key >= e.Attrs[i].Key {
			return invalid("attributes: %q after %q, must be sorted by key without repetition",
				e.Attrs[i].Key, e.Attrs[i-1].Key)
		}
	}
	return nil
}

// checkText checks length and encoding of one string.
func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return invalid("%s of %d bytes: limit %d", field, len(s), limit)
	}
	if !utf8.ValidString(s) {
		return invalid("%s %.40q: not UTF-8", field, s)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), ErrInvalid)
}

// check checks the header.
func (h *Header) check() error {
	if h.Unit.Origin == "" {
		return invalid("origin is empty")
	}
	if err := checkText("origin", h.Unit.Origin, MaxName); err != nil {
		return err
	}
	switch {
	case h.Unit.Lane >= Lanes:
		return invalid("lane %d: limit %d", h.Unit.Lane, Lanes-1)
	case h.First == 0:
		return invalid("first sequence is 0: sequences begin at 1")
	case h.Count < 1 || h.Count > MaxBatchEvents:
		return invalid("%d events: must be 1 to %d", h.Count, MaxBatchEvents)
	case h.Last() < h.First:
		return invalid("%d events after sequence %d: no sequences left", h.Count, h.First)
	case len(h.Positions) > MaxPositions:
		return invalid("%d positions: limit %d", len(h.Positions), MaxPositions)
	}
	size := 0
	for i, p := range h.Positions {
		size += len(p.Source) + len(p.File)
		if err := checkText("position source", p.Source, MaxName); err != nil {
			return err
		}
		if err := checkText("position file", p.File, MaxName); err != nil {
			return err
		}
		if p.Offset < 0 {
			return invalid("position of %q: offset %d is negative", p.Source, p.Offset)
		}
		if i > 0 && h.Positions[i-1].Source >= p.Source {
			return invalid("positions: %q after %q, must be sorted by source without repetition",
				p.Source, h.Positions[i-1].Source)
		}
	}
	if size > MaxPositionBytes {
		return invalid("positions of %d bytes of names: limit %d", size, MaxPositionBytes)
	}
	return nil
}
