package cep

import (
	"encoding/hex"
	"fmt"
)

// Type is the type of a value in a condition.
type Type uint8

const (
	Bool Type = iota
	Number
	Text
)

func (t Type) String() string {
	switch t {
	case Bool:
		return "truth value"
	case Number:
		return "number"
	}
	return "text"
}

// Field is what a condition may read of an event. Numbers are part of the
// code's format: they never change their meaning.
type Field uint8

const (
	FieldKind Field = iota
	FieldEntity
	FieldSignal
	FieldPeer
	FieldSource
	FieldTrace    // hexadecimal, or empty
	FieldAttr     // of the name that stands beside it
	FieldValue    // number
	FieldSeverity // number, OpenTelemetry's
	FieldTime     // number, seconds since 1970 to the microsecond
	fieldEnd
)

var fieldNames = [fieldEnd]string{"kind", "entity", "signal", "peer", "source", "trace", "attr", "value", "severity", "time"}

func (f Field) String() string {
	if f < fieldEnd {
		return fieldNames[f]
	}
	return fmt.Sprintf("field(%d)", uint8(f))
}

// Type is the type of the field's values.
func (f Field) Type() Type {
	if f >= FieldValue {
		return Number
	}
	return Text
}

// FieldNamed returns the field of a name in the language.
func FieldNamed(name string) (Field, bool) {
	for f, n := range fieldNames {
		if n == name {
			return Field(f), true
		}
	}
	return 0, false
}

// Operand is a field, with the attribute's name if it is [FieldAttr].
type Operand struct {
	Field Field
	Attr  string
}

func (o Operand) String() string {
	if o.Field == FieldAttr {
		return fmt.Sprintf("attr[%q]", o.Attr)
	}
	return o.Field.String()
}

// text reads a field of type Text.
func (e *Event) text(o Operand) string {
	switch o.Field {
	case FieldKind:
		return e.Kind
	case FieldEntity:
		return e.Entity
	case FieldSignal:
		return e.Signal
	case FieldPeer:
		return e.Peer
	case FieldSource:
		return e.Source
	case FieldTrace:
		if e.Trace == ([16]byte{}) {
			return ""
		}
		return hex.EncodeToString(e.Trace[:])
	}
	return e.attr(o.Attr)
}

// nanosPerUnit turns root times into seconds in millionths.
const nanosPerUnit = 1_000_000_000 / Scale

// number reads a field of type Number.
func (e *Event) number(f Field) int64 {
	switch f {
	case FieldSeverity:
		return int64(e.Severity) * Scale
	case FieldTime:
		return e.Time / nanosPerUnit
	}
	return e.Value
}
