package anomaly

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
)

// Caps of what is kept, and travels, for one origin.
const (
	MaxCodes    = 4096 // series from the configured severity up: what goes wrong in one LPAR or host has fewer names
	MaxSpeakers = 2048 // (source, entity) pairs: the jobs of one LPAR
	MaxSources  = 256  // files and listeners of one agent
)

// Expectations are what is known of one origin, under all its WAL ids: they
// belong to Unit.Origin, and the same value goes with the claim of each of
// its units. The root accumulates them by Merge; a relay that takes the
// origin over goes on with them, so that neither a restart nor a move makes
// old things new. Values are immutable: Merge and the engine never change
// what they were given.
type Expectations struct {
	Since    int64           // root time of the origin's first event ever; 0 if there was none
	Floor    event.Severity  // codes of this severity and above were kept
	Partial  bool            // some were refused for want of room, so a new one cannot be told
	Codes    []stream.Series // sorted, unique
	Speakers []Speaker       // sorted by source and entity, unique
	Tests    []Test          // sorted by source, kind, name and series, unique
}

// Speaker is what is known of one entity that speaks through one source.
type Speaker struct {
	Source, Entity string
	Since          int64    // root time of its first event
	Last           int64    // root time of its latest event
	Events         uint64   // in all its life
	Open           *Finding // its silence, while that goes on; immutable
	rhythm         rhythm
}

// Typical is the longest pause of the speaker to reckon with, in nanoseconds,
// and whether its rhythm is steady enough to expect it.
func (s *Speaker) Typical() (gap int64, steady bool) { return s.rhythm.typical() }

func (s *Speaker) compareKey(t *Speaker) int {
	return cmp.Or(strings.Compare(s.Source, t.Source), strings.Compare(s.Entity, t.Entity))
}

// Merge joins what two relays know of an origin. Neither order nor grouping
// matters. Where both collected codes from different severities up, the lower
// bound stands with its own Since, for the knowledge above it is older only
// for some.
func (x Expectations) Merge(y Expectations) Expectations {
	out := x
	if y.betterKnown(&x) {
		out.Since, out.Floor = y.Since, y.Floor
	}
	out.Codes = mergeUnique(x.Codes, y.Codes, stream.Series.Compare, func(s, _ stream.Series) stream.Series { return s })
	out.Partial = x.Partial || y.Partial || len(out.Codes) > MaxCodes
	out.Codes = out.Codes[:min(len(out.Codes), MaxCodes)]
	out.Speakers = mergeUnique(x.Speakers, y.Speakers,
		func(s, t Speaker) int { return s.compareKey(&t) }, mergeSpeaker)
	out.Speakers = out.Speakers[:min(len(out.Speakers), MaxSpeakers)]
	out.Tests = mergeUnique(x.Tests, y.Tests, func(t, u Test) int { return t.compareKey(&u) }, mergeTest)
	out.Tests = out.Tests[:min(len(out.Tests), MaxTests)]
	return out
}

// Halve drops half of the longest of the lists, for whoever has no room for all,
// and reports whether there was any to drop: of codes so that new ones are no
// longer told, of speakers and tests so that they are learnt anew. The lists are
// cut, not changed.
func (x *Expectations) Halve() bool {
	switch codes, speakers, tests := len(x.Codes), len(x.Speakers), len(x.Tests); {
	case codes+speakers+tests == 0:
		return false
	case tests >= max(codes, speakers):
		x.Tests = x.Tests[:tests/2]
	case codes > speakers:
		x.Codes, x.Partial = x.Codes[:codes/2], true
	default:
		x.Speakers = x.Speakers[:speakers/2]
	}
	return true
}

// betterKnown orders by what was collected: something before nothing, more
// severities before fewer, longer before shorter.
func (x *Expectations) betterKnown(y *Expectations) bool {
	if (x.Since == 0) != (y.Since == 0) {
		return x.Since != 0
	}
	return cmp.Or(cmp.Compare(x.Floor, y.Floor), cmp.Compare(x.Since, y.Since)) < 0
}

// mergeUnique merges two sorted lists of unique keys into a new one.
func mergeUnique[T any](a, b []T, compare func(T, T) int, join func(T, T) T) []T {
	if len(a)+len(b) == 0 {
		return nil
	}
	out := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := compare(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, join(a[0], b[0]))
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// mergeSpeaker joins two views of one speaker. The rhythm comes from the one
// that has known it longer, and of two with the same memory, which handed it
// on, from the one that learnt later. A silence stands while nobody heard the
// speaker since.
func mergeSpeaker(s, t Speaker) Speaker {
	if c := cmp.Or(cmp.Compare(s.Since, t.Since), s.rhythm.compare(&t.rhythm)); c > 0 {
		s, t = t, s
	}
	s.Last, s.Events = max(s.Last, t.Last), max(s.Events, t.Events)
	s.Open = laterSilence(s.Open, t.Open)
	if s.Open != nil && s.Last > s.Open.Onset.Lo {
		s.Open = nil
	}
	return s
}

func laterSilence(f, g *Finding) *Finding {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	c := cmp.Or(cmp.Compare(f.Onset.Lo, g.Onset.Lo), cmp.Compare(f.Revision, g.Revision))
	if c == 0 {
		a, b := pack.NewWriter(), pack.NewWriter()
		AppendFinding(a, *f)
		AppendFinding(b, *g)
		c = bytes.Compare(a.Bytes(), b.Bytes())
	}
	if c < 0 {
		return g
	}
	return f
}

// Version 1 knew nothing of tests. What has none is still written so, for
// those who know no other.
const expectationsVersion = 2

// Append writes the expectations; equal ones have equal bytes.
func (x Expectations) Append(w *pack.Writer) {
	version := uint64(expectationsVersion)
	if len(x.Tests) == 0 {
		version = 1
	}
	w.Uint(version)
	w.Uint(uint64(x.Since))
	w.Uint(uint64(x.Floor))
	w.Bool(x.Partial)
	w.Array(len(x.Codes))
	for _, c := range x.Codes {
		appendSeries(w, c)
	}
	w.Array(len(x.Speakers))
	for i := range x.Speakers {
		appendSpeaker(w, &x.Speakers[i])
	}
	if version == 1 {
		return
	}
	w.Array(len(x.Tests))
	for i := range x.Tests {
		appendTest(w, &x.Tests[i])
	}
}

// ReadExpectations reads what [Expectations.Append] wrote, and checks order
// and caps. Errors stick in r, and give the zero value.
func ReadExpectations(r *pack.Reader) Expectations {
	version := r.Uint("expectations version", math.MaxUint64)
	if r.Err() == nil && (version < 1 || version > expectationsVersion) {
		r.Fail("expectations version", fmt.Errorf("%d is unknown, 1 to %d are understood", version, expectationsVersion))
	}
	var x Expectations
	x.Since = readTime(r, "since")
	x.Floor = event.Severity(r.Uint("floor", uint64(event.MaxSeverity)))
	x.Partial = r.Bool("partial")
	x.Codes = readSorted(r, "codes", MaxCodes, readSeries, stream.Series.Compare)
	x.Speakers = readSorted(r, "speakers", MaxSpeakers, readSpeaker,
		func(s, t Speaker) int { return s.compareKey(&t) })
	if version > 1 {
		x.Tests = readSorted(r, "tests", MaxTests, readTest, func(t, u Test) int { return t.compareKey(&u) })
		if r.Err() == nil && len(x.Tests) == 0 {
			r.Fail("tests", errors.New("none, which is version 1"))
		}
	}
	if r.Err() != nil {
		return Expectations{}
	}
	return x
}

func appendSpeaker(w *pack.Writer, s *Speaker) {
	w.String(s.Source)
	w.String(s.Entity)
	w.Uint(uint64(s.Since))
	w.Uint(uint64(s.Last))
	w.Uint(s.Events)
	appendRhythm(w, &s.rhythm)
	w.Bool(s.Open != nil)
	if s.Open != nil {
		AppendFinding(w, *s.Open)
	}
}

func readSpeaker(r *pack.Reader) Speaker {
	s := Speaker{
		Source: readText(r, "source", event.MaxName),
		Entity: readText(r, "entity", event.MaxName),
		Since:  readTime(r, "since"),
		Last:   readTime(r, "last"),
		Events: r.Uint("events", math.MaxUint64),
		rhythm: readRhythm(r),
	}
	if r.Bool("open") {
		f := ReadFinding(r)
		s.Open = &f
	}
	return s
}

// readTime reads a root time. Bounding it keeps sums with durations in range.
func readTime(r *pack.Reader, field string) int64 { return int64(r.Uint(field, math.MaxInt64/2)) }

// readSorted reads a list whose order proves that its keys are unique.
func readSorted[T any](r *pack.Reader, field string, limit int, read func(*pack.Reader) T, compare func(T, T) int) []T {
	var out []T
	for n := r.Array(field, limit); n > 0; n-- {
		v := read(r)
		if r.Err() == nil && len(out) > 0 && compare(out[len(out)-1], v) >= 0 {
			r.Fail(field, errors.New("not in order"))
		}
		if r.Err() != nil {
			return nil
		}
		out = append(out, v)
	}
	return slices.Clip(out)
}
