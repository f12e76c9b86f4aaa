package incident

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
)

// Times in tests are seconds after a fixed instant.
const start = int64(1_700_000_000_000_000_000)

func at(seconds float64) int64 { return start + int64(seconds*1e9) }

// stage holds a graph and a set, and checks the set's invariants after every
// step.
type stage struct {
	t     testing.TB
	graph *Graph
	set   *Set
}

func newStage(t testing.TB, opts Options, calls ...string) *stage {
	t.Helper()
	set, err := NewSet(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, graph: NewGraph(), set: set}
	s.calls(calls...)
	return s
}

// calls teaches the graph "a>b>c" chains.
func (s *stage) calls(chains ...string) {
	for _, chain := range chains {
		nodes := strings.Split(chain, ">")
		for i := range len(nodes) - 1 {
			s.graph.AddEdge(nodes[i], nodes[i+1], start)
		}
	}
}

func (s *stage) add(fs ...anomaly.Finding) []Change {
	s.t.Helper()
	var out []Change
	for _, f := range fs {
		out = append(out, s.set.Add(f, s.graph)...)
		s.check()
	}
	return out
}

func (s *stage) tick(seconds float64) []Change {
	s.t.Helper()
	out := s.set.Tick(at(seconds), s.graph)
	s.check()
	return out
}

// check verifies what must hold after every step.
func (s *stage) check() {
	s.t.Helper()
	in := map[anomaly.ID]string{}
	for n, i := range s.set.incidents {
		if n > 0 && s.set.incidents[n-1].Number >= i.Number {
			s.t.Fatalf("incidents are out of order at %s", i.ID)
		}
		for _, f := range i.Findings {
			if other := in[f.ID]; other != "" {
				s.t.Fatalf("finding %s is in %s and in %s", f.Summary, other, i.ID)
			}
			in[f.ID] = i.ID
			if !slices.Contains(s.set.open, f) {
				s.t.Fatalf("finding %s of %s takes no part in correlation", f.Summary, i.ID)
			}
		}
		if s.set.Get(i.ID) != i {
			s.t.Fatalf("%s is not found by its id", i.ID)
		}
	}
	if !slices.IsSortedFunc(s.set.open, earlier) {
		s.t.Fatal("open findings are not sorted")
	}
	if s.set.seen == s.graph.version {
		if again := s.set.regroup(s.graph); len(again) != 0 {
			s.t.Fatalf("dividing again changed %s", describeChanges(again))
		}
	}
	raw := bytesOf(s.set)
	r := pack.NewReader(raw)
	back := ReadSet(r, s.set.opts)
	defer func() {
		if back != nil && back.Sum() != s.set.Sum() {
			s.t.Error("what was read back has another sum")
		}
	}()
	if err := r.Done(); err != nil {
		s.t.Fatalf("snapshot does not read back: %v", err)
	}
	if string(bytesOf(back)) != string(raw) {
		s.t.Fatal("snapshot changes when it is read back")
	}
}

func bytesOf(s *Set) []byte {
	w := pack.NewWriter()
	s.AppendTo(w)
	return w.Copy()
}

// option changes a finding.
type option func(*anomaly.Finding)

// finding is one of class at entity that began at second sec, known to 50 ms,
// and was detected 100 ms later.
func finding(entity string, class anomaly.Class, sec float64, opts ...option) anomaly.Finding {
	f := anomaly.Finding{
		Revision: 1, Detector: "rule", Version: 1, Class: class,
		Series:   stream.Series{Entity: entity, Signal: "s"},
		Onset:    clock.Interval{Lo: at(sec) - 50e6, Hi: at(sec) + 50e6},
		Point:    at(sec),
		Decided:  at(sec),
		Detected: at(sec) + 100e6,
		Severity: event.SeverityError,
		Summary:  fmt.Sprintf("%s %s %g", entity, class, sec),
	}
	for _, o := range opts {
		o(&f)
	}
	sum := sha256.Sum256([]byte(f.Summary))
	f.ID = anomaly.ID(sum[:16])
	return f
}

func warn(f *anomaly.Finding) { f.Severity = event.SeverityWarn }

func known(lo, hi float64) option {
	return func(f *anomaly.Finding) { f.Onset = clock.Interval{Lo: at(lo), Hi: at(hi)} }
}

func calling(peer string) option { return func(f *anomaly.Finding) { f.Peer = peer } }

func evidence(unit string, from, to uint64) option {
	return func(f *anomaly.Finding) {
		f.Evidence = append(f.Evidence, anomaly.Ref{Unit: event.Unit{Origin: unit, WAL: 1}, From: from, To: to})
	}
}

func trace(id, span, parent byte) option {
	return func(f *anomaly.Finding) {
		f.Links = append(f.Links, anomaly.Link{Trace: [16]byte{id}, Span: [8]byte{span}, Parent: [8]byte{parent}})
	}
}

func ended(f anomaly.Finding, sec float64) anomaly.Finding {
	f.Revision++
	f.Ended = true
	f.Detected = at(sec)
	return f
}

// describe says what depends on the findings and the graph alone.
func (s *stage) describe() string {
	var lines []string
	for _, i := range s.set.incidents {
		lines = append(lines, describe(i))
	}
	slices.Sort(lines)
	for _, f := range s.set.Unattached() {
		lines = append(lines, "unattached "+f.Summary+"\n")
	}
	return strings.Join(lines, "")
}

func describe(i *Incident) string {
	var b strings.Builder
	fmt.Fprintf(&b, "incident from %s, severity %d, %s\n", i.First, i.Severity, strings.Join(i.Entities(), ", "))
	for _, e := range i.Timeline() {
		how := ""
		if e.Direct {
			how = " (direct)"
		}
		fmt.Fprintf(&b, "  %-10s %s%s\n", e.Relation, e.Finding.Summary, how)
	}
	return b.String()
}

func describeChanges(changes []Change) string {
	var out []string
	for _, c := range changes {
		line := fmt.Sprintf("%s %s", c.Kind, c.ID)
		if c.Into != "" {
			line += " / " + c.Into
		}
		if c.Incident != nil {
			line += fmt.Sprintf(" first=%s findings=%d", c.Incident.First, len(c.Incident.Findings))
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func kinds(changes []Change) string {
	var out []string
	for _, c := range changes {
		out = append(out, c.Kind.String())
	}
	return strings.Join(out, " ")
}

// only returns the single incident there is.
func (s *stage) only() *Incident {
	s.t.Helper()
	if n := len(s.set.incidents); n != 1 {
		s.t.Fatalf("%d incidents, want 1:\n%s", n, s.describe())
	}
	return s.set.incidents[0]
}
