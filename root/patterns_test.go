//go:build !zos

package root

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pando/incident"
	"pando/internal/pack"
	"pando/root/consensus"
	"pando/stream/anomaly"
	"pando/stream/cep"
	"pando/stream/cep/pattern"
	"pando/tree/wire"
)

// twice is a pattern: two findings of one component within a time.
func twice(name string, within time.Duration, summary string) pattern.Pattern {
	return pattern.Pattern{Name: name, Scope: pattern.Scope(cep.Root), Key: []string{"entity"}, Within: within,
		Steps:   []pattern.Step{{Name: "first", When: `signal == "http.503"`}, {Name: "second", When: `signal == "http.503"`}},
		Finding: pattern.Finding{Summary: summary}}
}

// unanswered is a pattern: a finding of a rule, and none of another rule for a
// while. It reads what no other pattern here reads.
func unanswered(name string, wait time.Duration) pattern.Pattern {
	return pattern.Pattern{Name: name, Scope: pattern.Scope(cep.Root), Key: []string{"entity"}, Within: 10 * time.Minute,
		Steps: []pattern.Step{{Name: "began", When: `kind == "finding" and attr["rule"] == "r"`},
			{Name: "over", Absent: `attr["rule"] == "recovered"`, For: wait}}}
}

// encodedSet is patterns as a command carries them.
func encodedSet(t testing.TB, patterns ...pattern.Pattern) []byte {
	t.Helper()
	set, err := pattern.Compile(&pattern.File{Patterns: patterns})
	if err != nil {
		t.Fatal(err)
	}
	w := pack.NewWriter()
	set.Append(w)
	return w.Bytes()
}

// matching is a stage whose logic has patterns, with a set in force.
func matching(t testing.TB, patterns ...pattern.Pattern) *stage {
	t.Helper()
	s := newStage(t)
	s.apply(logicCommand(s.now, patternLogic))
	s.exchange(patterns...)
	return s
}

// exchange puts a set in force.
func (s *stage) exchange(patterns ...pattern.Pattern) {
	s.t.Helper()
	if res := s.apply(patternsCommand(s.now, s.f.view().patterns.version, encodedSet(s.t, patterns...))); res.fault != "" {
		s.t.Fatal(res.fault)
	}
}

// find reports a finding of a component that began so many seconds ago.
func (s *stage) find(relay, summary, entity string, ago float64) {
	s.t.Helper()
	s.report(relay, wire.Findings{ID: 1, Findings: []anomaly.Finding{finding(summary, entity, s.now-int64(ago*1e9))}})
}

// wait lets time pass for the state.
func (s *stage) wait(seconds float64) {
	s.t.Helper()
	s.pass(seconds)
	s.apply(tickCommand(s.now))
}

// matched are the findings of patterns, by the pattern's name and the summary.
func (s *stage) matched() []string {
	var out []string
	v := s.f.view()
	take := func(fs []*anomaly.Finding) {
		for _, f := range fs {
			if f.Detector == cep.DetectorPattern {
				out = append(out, fmt.Sprintf("%s %s at %d: %s", f.Rule, f.Series.Entity, f.Point-epoch, f.Summary))
			}
		}
	}
	for _, i := range v.set.Incidents() {
		take(i.Findings)
	}
	take(v.set.Unattached())
	slices.Sort(out)
	return out
}

func TestMatchJoinsAnIncident(t *testing.T) {
	s := matching(t, twice("twice", time.Minute, "again"))
	s.find("eu/r1", "one", "shop/db", 0)
	s.pass(10)
	s.find("us/r2", "two", "shop/db", 0)
	s.wait(4)
	if got := s.matched(); len(got) > 0 {
		t.Fatalf("%s before an earlier finding can still come", got)
	}
	s.wait(2)
	if got := s.matched(); len(got) != 1 || !strings.HasPrefix(got[0], "twice shop/db at 0: again") {
		t.Fatalf("matched %q", got)
	}
	v := s.f.view()
	if list := v.set.Incidents(); len(list) != 1 || len(list[0].Findings) != 3 || list[0].Status != incident.StatusOpen {
		t.Fatalf("incidents %+v: want one with all three findings", v.set.Summaries())
	}
	for _, f := range v.set.Incidents()[0].Findings {
		if c, ok := v.commits.Get(f.ID); !ok || c.index == 0 {
			t.Errorf("%s: it is not known when it was committed", f.Summary)
		}
	}
	l := s.f.Patterns()
	if p := l.Patterns[0]; !p.Here || p.Matched != 1 || p.Scope != "root" || l.Version != 2 {
		t.Errorf("listed as %+v", l)
	}
}

// A pattern of scope relay is kept for the relays and does not run here; what a
// pattern found is not seen by any pattern, whoever found it.
func TestPatternsSeeNoMatchesAndNoOtherScope(t *testing.T) {
	regional := twice("regional", time.Minute, "")
	regional.Scope = pattern.Scope(cep.Relay)
	anything := twice("anything", time.Minute, "")
	for i := range anything.Steps {
		anything.Steps[i].When = `kind == "finding"`
	}
	s := matching(t, twice("twice", time.Minute, ""), regional, anything)
	s.find("eu/r1", "one", "shop/db", 0)
	s.find("eu/r1", "two", "shop/db", 0)
	f := finding("of a relay's pattern", "shop/db", s.now)
	f.Detector = cep.DetectorPattern
	s.report("eu/r1", wire.Findings{ID: 1, Findings: []anomaly.Finding{f}})
	for range 20 {
		s.wait(6)
	}
	l := s.f.Patterns()
	if l.Patterns[0].Matched != 1 || l.Patterns[1].Here || l.Patterns[2].Matched != 1 {
		t.Errorf("%+v: want one match of twice and of anything each", l.Patterns)
	}
}

// The findings of an incident come over several relays, each in its order. As
// long as none is later than the lateness, the order in which they are committed
// changes nothing about what matches.
func TestArrivalWithinTheLatenessDoesNotMatter(t *testing.T) {
	want := []string(nil)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		type arriving struct {
			began, at float64
			relay     int
		}
		var list []arriving
		for i := range 60 {
			began := float64(i) * 1.5
			list = append(list, arriving{began, began + rng.Float64()*4.9, i % 3})
		}
		slices.SortStableFunc(list, func(a, b arriving) int { return int((a.at - b.at) * 1e9) })
		s := matching(t, twice("twice", 20*time.Second, ""), unanswered("unanswered", 4*time.Second))
		start := s.now
		for _, a := range list {
			s.now = start + int64(a.at*1e9)
			s.find(fmt.Sprintf("eu/r%d", a.relay), fmt.Sprintf("at %v", a.began), fmt.Sprintf("shop/%d", int(a.began)%4), a.at-a.began)
		}
		s.now = start + 100e9
		s.wait(60)
		got := s.matched()
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) || len(got) == 0 {
			t.Fatalf("seed %d: matched %d\n%s\nwant %d\n%s", seed, len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
		}
		if l := s.f.Patterns(); l.Moved != 0 {
			t.Fatalf("seed %d: %d findings were late", seed, l.Moved)
		}
	}
}

// What comes after its time is not lost: a silence is dated back by as long as
// it took to be sure of it.
func TestLateFindingStillMatches(t *testing.T) {
	s := matching(t, twice("twice", time.Minute, ""))
	s.find("eu/r1", "one", "shop/db", 0)
	s.wait(50)
	s.find("eu/r2", "long ago", "shop/db", 40)
	s.wait(6)
	if l := s.f.Patterns(); len(s.matched()) != 1 || l.Moved != 1 {
		t.Errorf("matched %q, %d moved", s.matched(), l.Moved)
	}
}

func TestReloadKeepsRuns(t *testing.T) {
	s := matching(t, twice("stays", time.Minute, "said so"), twice("changes", time.Minute, ""), twice("goes", time.Minute, ""))
	s.find("eu/r1", "one", "shop/db", 0)
	s.wait(6)
	s.exchange(twice("new", time.Minute, ""), twice("changes", time.Hour, ""), twice("stays", time.Minute, "says otherwise"))
	s.find("eu/r1", "two", "shop/db", 0)
	s.wait(6)
	if got := s.matched(); len(got) != 1 || !strings.HasPrefix(got[0], "stays shop/db at 0: says otherwise") {
		t.Errorf("matched %q: want what stays, in its new words", got)
	}
	if l := s.f.Patterns(); l.Reloaded != 2 {
		t.Errorf("%d runs were given up, want those of two patterns", l.Reloaded)
	}
}

func TestRefusedSetChangesNothing(t *testing.T) {
	s := matching(t, twice("twice", time.Minute, ""))
	s.find("eu/r1", "one", "shop/db", 0)
	s.wait(6)
	before, version := s.f.state.patterns.sum(), s.f.view().patterns.version
	good := encodedSet(t, twice("other", time.Minute, ""))
	for what, cmd := range map[string][]byte{
		"a set that follows another":   patternsCommand(s.now, version-1, good),
		"a set that is cut off":        patternsCommand(s.now, version, good[:len(good)-1]),
		"a set with something behind":  patternsCommand(s.now, version, append(bytes.Clone(good), 0)),
		"no set":                       command(cmdPatterns, s.now).Bytes(),
		"a set of an unknown encoding": patternsCommand(s.now, version, append([]byte{9}, good[1:]...)),
	} {
		if res := s.apply(cmd); res.fault == "" {
			t.Errorf("%s was taken", what)
		}
		if s.f.state.patterns.sum() != before {
			t.Errorf("%s changed something", what)
		}
	}
	if res := s.apply(patternsCommand(s.now, 0, encodedSet(t, twice("twice", time.Minute, "")))); res.fault != "" || s.f.view().patterns.version != version {
		t.Errorf("the set that is in force, once more: %q, version %d", res.fault, s.f.view().patterns.version)
	}
}

// Before all members know it, the group has no patterns, and its bytes are as
// they ever were.
func TestNoPatternsUnderTheFirstLogic(t *testing.T) {
	s := newStage(t)
	if res := s.apply(patternsCommand(s.now, 0, encodedSet(t))); res.fault == "" {
		t.Error("taken under a logic that has none")
	}
	if b := snapshot(t, s.f); b[0] != formatPatternless {
		t.Errorf("format %d", b[0])
	}
	s.apply(logicCommand(s.now, patternLogic))
	b := snapshot(t, s.f)
	if b[0] != formatPatterns {
		t.Errorf("format %d", b[0])
	}
	b[0] = formatPatternless
	if f, err := NewFSM(); err != nil || f.Restore(bytes.NewReader(b)) == nil {
		t.Errorf("read in the format of another logic, or %v", err)
	}
}

// A restored state goes on, and whoever has a set of what was given up is told
// of this one under a later version.
func TestRestoredRootTellsItsPatternsAgain(t *testing.T) {
	s := matching(t, twice("twice", time.Minute, ""))
	s.find("eu/r1", "one", "shop/db", 0)
	s.wait(6)
	told := 0
	f := restored(t, snapshot(t, s.f))
	f.hooks.Exchanged = func() { told++ }
	at := consensus.At{Index: 50, Term: 1, Items: 1}
	if _, err := f.Apply(at, restoredCommand(s.now)); err != nil {
		t.Fatal(err)
	}
	if m, ok := f.view().patternsMessage(); !ok || m.Version != 50 || told != 1 {
		t.Errorf("version %d, told %d times", m.Version, told)
	}
	if l := f.Patterns(); l.Patterns[0].Runs != 1 {
		t.Errorf("%+v: the run is lost", l.Patterns)
	}
}

// Three roots: a set that is applied through any of them is in force in all, a
// relay hears of it, findings match, and the states agree.
func TestPatternsInAGroup(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	g.eventually("the logic with patterns is in force", func() bool { return g.roots[leader].fsm.view().logic >= patternLogic })
	set := encodedSet(t, twice("twice", time.Minute, ""))
	tried, err := g.roots[leader].ApplyPatterns(within(t), set, true)
	if err != nil || tried.Applied || len(tried.Added) != 1 || tried.Version != 0 {
		t.Fatalf("tried %+v, %v", tried, err)
	}
	done, err := g.roots[leader].ApplyPatterns(within(t), set, false)
	if err != nil || !done.Applied || len(done.Added) != 1 || done.Version == 0 || done.RootBytes == 0 {
		t.Fatalf("applied %+v, %v", done, err)
	}
	again, err := g.roots[leader].ApplyPatterns(within(t), set, false)
	if err != nil || len(again.Unchanged) != 1 || again.Version != done.Version {
		t.Fatalf("again %+v, %v", again, err)
	}
	greedy := twice("greedy", time.Minute, "")
	greedy.Limits = pattern.Limits{MaxKeys: 1 << 20, MaxRuns: 1 << 12}
	if _, err := g.roots[leader].ApplyPatterns(within(t), encodedSet(t, greedy), false); err == nil || !strings.Contains(err.Error(), "max_keys") {
		t.Errorf("a set that may take more memory than there is: %v", err)
	}

	r := g.relay("r1", leader)
	var told wire.Patterns
	now := g.roots[leader].time.Now()
	for i, summary := range []string{"one", "two"} {
		f := finding(summary, "shop/db", now)
		m := wire.Findings{ID: uint64(i + 1), Findings: []anomaly.Finding{f}}
		if i == 0 {
			r.ask(0, &m, wire.KindPatterns, &told)
			continue
		}
		r.ask(0, &m, wire.KindDone, &wire.Done{})
	}
	if told.Version != done.Version || !bytes.Equal(told.Set, set) {
		t.Fatalf("the relay was told version %d, want %d", told.Version, done.Version)
	}
	g.eventually("all roots have the match", func() bool {
		for _, r := range g.roots {
			if l := r.fsm.Patterns(); len(l.Patterns) != 1 || l.Patterns[0].Matched != 1 {
				return false
			}
		}
		return true
	})
	g.eventually("the states agree", func() bool {
		if !g.roots[leader].mark(within(t)) {
			return false
		}
		pause(t.Context(), 50*time.Millisecond)
		v := g.roots[leader].fsm.view()
		return len(v.mark.votes) == 3 && !v.mark.disputed()
	})
}
