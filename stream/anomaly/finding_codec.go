package anomaly

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
)

// Caps of an encoded finding; a full one is about 20 KiB.
const (
	MaxText     = 512 // bytes in Baseline and in Summary: two lines on a terminal
	MaxRuleName = 64  // bytes in a rule's or detector's name
	MaxEvidence = 16  // ranges: more prove nothing more
	MaxLinks    = 8   // spans
)

const findingVersion = 1

// AppendFinding writes a finding that is within the caps, as an [Engine]
// makes them.
func AppendFinding(w *pack.Writer, f Finding) {
	w.Uint(findingVersion)
	w.Bin(f.ID[:])
	w.Uint(uint64(f.Revision))
	w.String(f.Detector)
	w.String(f.Rule)
	w.Uint(uint64(f.Version))
	w.Uint(uint64(f.Class))
	appendSeries(w, f.Series)
	w.Int(f.Onset.Lo)
	w.Int(f.Onset.Hi)
	w.Int(f.Point)
	w.Int(f.Decided)
	w.Int(f.Detected)
	w.Int(f.Score)
	w.Uint(uint64(f.Severity))
	w.String(f.Baseline)
	w.String(f.Summary)
	w.Array(len(f.Evidence))
	for _, ref := range f.Evidence {
		appendRef(w, ref)
	}
	w.Array(len(f.Links))
	for _, l := range f.Links {
		w.Bin(l.Trace[:])
		w.Bin(l.Span[:])
		w.Bin(l.Parent[:])
	}
	w.String(f.Peer)
	w.Bool(f.Provisional)
	w.Bool(f.Ended)
}

// ReadFinding reads what [AppendFinding] wrote. Errors stick in r, and give
// the zero finding.
func ReadFinding(r *pack.Reader) Finding {
	readVersion(r, "finding version", findingVersion)
	var f Finding
	readFixed(r, "id", f.ID[:])
	f.Revision = uint32(r.Uint("revision", math.MaxUint32))
	f.Detector = readText(r, "detector", MaxRuleName)
	f.Rule = readText(r, "rule", MaxRuleName)
	f.Version = uint32(r.Uint("version", math.MaxUint32))
	f.Class = Class(r.Uint("class", uint64(classEnd)-1))
	f.Series = readSeries(r)
	f.Onset = clock.Interval{Lo: r.Int("onset"), Hi: r.Int("onset")}
	f.Point = r.Int("point")
	f.Decided = r.Int("decided")
	f.Detected = r.Int("detected")
	f.Score = r.Int("score")
	f.Severity = event.Severity(r.Uint("severity", uint64(event.MaxSeverity)))
	f.Baseline = readText(r, "baseline", MaxText)
	f.Summary = readText(r, "summary", MaxText)
	for n := r.Array("evidence", MaxEvidence); n > 0; n-- {
		f.Evidence = append(f.Evidence, readRef(r))
	}
	for n := r.Array("links", MaxLinks); n > 0; n-- {
		var l Link
		readFixed(r, "trace", l.Trace[:])
		readFixed(r, "span", l.Span[:])
		readFixed(r, "parent", l.Parent[:])
		f.Links = append(f.Links, l)
	}
	f.Peer = readText(r, "peer", event.MaxName)
	f.Provisional = r.Bool("provisional")
	f.Ended = r.Bool("ended")
	if r.Err() == nil && f.Revision == 0 {
		r.Fail("revision", errors.New("0 where revisions count from 1"))
	}
	if r.Err() == nil && f.Onset.Lo > f.Onset.Hi {
		r.Fail("onset", fmt.Errorf("%v ends before it starts", f.Onset))
	}
	if r.Err() != nil {
		return Finding{}
	}
	return f
}

func appendSeries(w *pack.Writer, s stream.Series) {
	w.String(s.Entity)
	w.String(s.Signal)
}

func readSeries(r *pack.Reader) stream.Series {
	return stream.Series{Entity: readText(r, "entity", event.MaxName), Signal: readText(r, "signal", event.MaxName)}
}

func appendRef(w *pack.Writer, ref Ref) {
	stream.AppendUnit(w, ref.Unit)
	w.Uint(ref.From)
	w.Uint(ref.To)
}

func readRef(r *pack.Reader) Ref {
	ref := Ref{Unit: stream.ReadUnit(r), From: r.Uint("from", math.MaxUint64), To: r.Uint("to", math.MaxUint64)}
	if r.Err() == nil && ref.From > ref.To {
		r.Fail("evidence", fmt.Errorf("range from %d to %d", ref.From, ref.To))
	}
	return ref
}

func readVersion(r *pack.Reader, field string, known uint64) {
	if v := r.Uint(field, math.MaxUint64); v != known && r.Err() == nil {
		r.Fail(field, fmt.Errorf("%d is unknown, %d is understood", v, known))
	}
}

// readText reads a string that may go to a terminal, so it must be UTF-8.
func readText(r *pack.Reader, field string, limit int) string {
	s := r.String(field, limit)
	if r.Err() == nil && !utf8.ValidString(s) {
		r.Fail(field, errors.New("not valid UTF-8"))
	}
	return s
}

// readFixed reads a byte string of exactly the length of into.
func readFixed(r *pack.Reader, field string, into []byte) {
	b := r.Bin(field, len(into))
	if r.Err() == nil && len(b) != len(into) {
		r.Fail(field, fmt.Errorf("%d bytes, want %d", len(b), len(into)))
	}
	copy(into, b)
}

// clip shortens s to at most limit bytes at a character's boundary, so that
// what it makes can always be read back.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
