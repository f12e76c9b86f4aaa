package dedup

import (
	"crypto/sha256"
	"strings"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream/anomaly"
	"pando/stream/drain"
)

// Fingerprint is the beginning of the SHA-256 of an alarm's identity. It finds
// candidates; what makes two alarms one is that their identities are equal,
// byte for byte.
type Fingerprint [16]byte

func fingerprint(identity []byte) Fingerprint {
	sum := sha256.Sum256(identity)
	return Fingerprint(sum[:16])
}

// maxIdentity bounds the bytes of an identity: room for the longest names,
// and for a text of several lines.
const maxIdentity = 8 << 10

// identity encodes what an alarm is about. It reports false for a finding that
// cannot be compared: a field is of the deciding event, and that is not at
// hand or does not have it; or its values are too long. The names of the
// fields belong to it, so that alarms from before a change of configuration
// are never equal to later ones.
func (c *Config) identity(f *anomaly.Finding, e *event.Event) ([]byte, bool) {
	w := pack.NewWriter()
	w.String(f.Detector)
	w.String(f.Rule)
	w.Uint(uint64(f.Class))
	for _, field := range c.Fields {
		w.String(field)
		switch field {
		case FieldEntity:
			w.String(f.Series.Entity)
		case FieldSignal:
			w.String(f.Series.Signal)
		case FieldSeverity:
			w.Uint(uint64(f.Severity))
		case FieldPeer:
			w.String(f.Peer)
		case FieldText:
			text, ok := attribute(e, textKey)
			if !ok || len(text) > maxIdentity {
				return nil, false
			}
			w.Bin(drain.AppendMasked(nil, text))
		default:
			value, ok := attribute(e, strings.TrimPrefix(field, FieldAttr))
			if !ok || len(value) > maxIdentity {
				return nil, false
			}
			w.String(value)
		}
	}
	return w.Copy(), w.Len() <= maxIdentity
}

// textKey is the attribute that holds a log line's text; see agent/input.
const textKey = "body"

func attribute(e *event.Event, key string) (string, bool) {
	if e == nil {
		return "", false
	}
	for i := range e.Attrs {
		if e.Attrs[i].Key == key {
			return e.Attrs[i].Value, true
		}
	}
	return "", false
}

// within reports whether two onsets may be no more than window apart.
func within(a, b clock.Interval, window int64) bool {
	return !later(a.Lo, b.Hi, window) && !later(b.Lo, a.Hi, window)
}

// later reports whether a is more than window after b; their difference may
// exceed 63 bits.
func later(a, b, window int64) bool { return a > b && uint64(a)-uint64(b) > uint64(window) }
