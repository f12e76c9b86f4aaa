package dedup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
)

// dawn is root time 0 of every stage.
const dawn = int64(1_000_000e9)

// stage plays findings to a filter and notes what it says. It is the relay
// and its detectors: it knows which findings go on.
type stage struct {
	testing.TB
	f    *Filter
	now  int64
	all  map[anomaly.ID]anomaly.Finding // latest revisions as the detectors said them
	said []anomaly.Finding
}

func newStage(t testing.TB, cfg Config) *stage {
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Tick(dawn)
	return &stage{TB: t, f: f, now: dawn, all: map[anomaly.ID]anomaly.Finding{}}
}

// finding is number n, of a rule on a series, that began within ± of a time.
func finding(n int, entity, signal string, at, bound time.Duration) anomaly.Finding {
	onset := dawn + int64(at)
	x := anomaly.Finding{
		Revision: 1, Detector: anomaly.DetectorRule, Rule: "abend", Class: anomaly.Error, Severity: event.SeverityError,
		Series: stream.Series{Entity: entity, Signal: signal},
		Onset:  clock.Interval{Lo: onset - int64(bound), Hi: onset + int64(bound)}, Point: onset, Detected: onset,
		Summary: "one event of " + signal,
	}
	binary.BigEndian.PutUint32(x.ID[:], uint32(n))
	return x
}

// by gives a finding its evidence in an origin, and the event that decided.
func by(x anomaly.Finding, origin, source string) (anomaly.Finding, *event.Event) {
	x.Evidence = []anomaly.Ref{{Unit: event.Unit{Origin: origin, WAL: 1}, From: 1, To: 1}}
	return x, &event.Event{Source: source}
}

func (s *stage) detects(x anomaly.Finding, e *event.Event) {
	s.all[x.ID] = x
	s.said = append(s.said, s.f.Pass([]anomaly.Finding{x}, e)...)
}

// revises says the next revision of a finding.
func (s *stage) revises(n int, change func(x *anomaly.Finding)) {
	var id anomaly.ID
	binary.BigEndian.PutUint32(id[:], uint32(n))
	x := s.all[id]
	x.Revision++
	change(&x)
	s.detects(x, nil)
}

func (s *stage) ends(n int)  { s.revises(n, func(x *anomaly.Finding) { x.Ended = true }) }
func (s *stage) again(n int) { s.revises(n, func(x *anomaly.Finding) { x.Ended = false }) }

func (s *stage) waits(d time.Duration) {
	for end := s.now + int64(d); s.now < end; {
		s.now += int64(100 * time.Millisecond)
		s.said = append(s.said, s.f.Tick(s.now)...)
	}
}

// words are what was said: number/revision, with a sign that it is over.
func (s *stage) words() string {
	var out []string
	for i := range s.said {
		out = append(out, short(&s.said[i]))
	}
	return strings.Join(out, " ")
}

// hears fails unless exactly these were said since.
func (s *stage) hears(want ...string) {
	s.Helper()
	if got := s.words(); got != strings.Join(want, " ") {
		s.Errorf("said %s, want %s", got, strings.Join(want, " "))
	}
	s.said = nil
}

func short(x *anomaly.Finding) string {
	sign := ""
	if x.Ended {
		sign = "-"
	}
	return fmt.Sprintf("%s%d/%d", sign, binary.BigEndian.Uint32(x.ID[:]), x.Revision)
}

func snapshotOf(f *Filter) []byte {
	w := pack.NewWriter()
	f.Snapshot(w)
	return w.Copy()
}

// restores exchanges the filter for one that was made from its snapshot.
func (s *stage) restores() {
	s.Helper()
	f, err := New(s.f.cfg)
	if err != nil {
		s.Fatal(err)
	}
	before := snapshotOf(s.f)
	r := pack.NewReader(before)
	if err := errors.Join(f.Restore(r), r.Done()); err != nil {
		s.Fatal(err)
	}
	if !bytes.Equal(snapshotOf(f), before) {
		s.Fatal("a restored filter has another state")
	}
	s.f = f
}
