package incident

import (
	"fmt"
	"slices"
	"testing"

	"pando/event"
	"pando/stream/anomaly"
)

func TestLateCauseTakesOverAndMerges(t *testing.T) {
	s := newStage(t, DefaultOptions(), "left>root", "right>root")
	one := s.add(finding("left", anomaly.Error, 5))[0].ID
	two := s.add(finding("right", anomaly.Error, 4))[0].ID
	if s.set.Get(two) == s.set.Get(one) {
		t.Fatal("two callers were joined without a cause")
	}
	changes := s.add(finding("root", anomaly.Error, 3))
	i := s.only()
	if i.ID != one || i.First != "root" || len(i.Findings) != 3 {
		t.Errorf("the first incident should go on with the late onset:\n%s", describeChanges(changes))
	}
	if s.set.Get(two) != i || !slices.Equal(s.set.Aliases(one), []string{two}) {
		t.Error("the merged id is no alias")
	}
	if !slices.ContainsFunc(changes, func(c Change) bool { return c.Kind == Merged && c.ID == two && c.Into == one }) {
		t.Errorf("no merge announced:\n%s", describeChanges(changes))
	}
}

func TestPeerTeachesTheEdgeBeforeAnyPaneDoes(t *testing.T) {
	s := newStage(t, DefaultOptions())
	s.add(finding("gateway", anomaly.Error, 1), finding("job", anomaly.Error, 2, calling("gateway")))
	if s.only().First != "gateway" {
		t.Error(s.describe())
	}
}

func TestLoneWarningIsNoIncident(t *testing.T) {
	s := newStage(t, DefaultOptions(), "b>a")
	if c := s.add(finding("a", anomaly.Novelty, 1, warn), finding("a", anomaly.Novelty, 2, warn)); len(c) != 0 {
		t.Fatalf("warnings of one component became an incident:\n%s", describeChanges(c))
	}
	if len(s.set.Unattached()) != 2 {
		t.Error("unattached findings are not listed")
	}
	if got := kinds(s.add(finding("b", anomaly.Novelty, 3, warn))); got != "opened" {
		t.Errorf("a second component: %q, want an incident", got)
	}
}

func TestResolveReopenSettle(t *testing.T) {
	s := newStage(t, DefaultOptions(), "b>a")
	fa, fb := finding("a", anomaly.Error, 0), finding("b", anomaly.Error, 1)
	id := s.add(fa, fb)[0].ID
	if got := kinds(s.tick(300)); got != "" {
		t.Errorf("an incident that goes on was changed by time: %s", got)
	}
	s.add(ended(fa, 310), ended(fb, 311))
	if got := kinds(s.tick(320)); got != "" {
		t.Errorf("resolved before it was quiet: %s", got)
	}
	if got := kinds(s.tick(345)); got != "resolved" {
		t.Errorf("all ended and quiet: %q", got)
	}
	if got := kinds(s.add(finding("b", anomaly.Latency, 350))); got != "reopened" {
		t.Errorf("a new effect: %q", got)
	}
	if got := kinds(s.tick(351 + 1800)); got != "resolved" {
		t.Errorf("nothing new for half an hour: %q", got)
	}
	if got := kinds(s.tick(351 + 1800 + 600)); got != "" {
		t.Errorf("settling is no news: %q", got)
	}
	if i := s.set.Get(id); i == nil || i.Status != StatusSettled {
		t.Errorf("the incident did not settle: %+v", i)
	}
	if got := kinds(s.add(ended(ended(fa, 0), 3000))); got != "" || s.set.Counts().Late != 1 {
		t.Errorf("a revision after settling: %q", got)
	}
	if got := kinds(s.add(finding("a", anomaly.Error, 3000))); got != "opened" {
		t.Errorf("a new failure: %q", got)
	}
}

func TestTooManyFindingsLetTheOldestGo(t *testing.T) {
	o := DefaultOptions()
	o.MaxOpen, o.MaxKept = 20, 5
	s := newStage(t, o)
	for i := range 200 {
		s.add(finding(fmt.Sprintf("svc-%d", i%40), anomaly.Class(i%5), float64(i), func(f *anomaly.Finding) {
			if i%3 == 0 {
				warn(f)
			}
		}))
	}
	c := s.set.Counts()
	if c.Findings > 20 || c.Settled > 5 || c.Dropped == 0 {
		t.Errorf("bounds are not kept, or what left is not counted: %+v", c)
	}
	if s.set.incidents[len(s.set.incidents)-1].Changed < at(190) {
		t.Error("the newest finding had no room")
	}
}

// An id that a relay gave while it was cut off leads to the incident of the
// finding that it was made of, and is that incident's own if the finding turns
// out to begin one.
func TestAliasFollowsItsAnchor(t *testing.T) {
	s := newStage(t, DefaultOptions(), "caller>callee")
	cause, effect := finding("callee", anomaly.Error, 100), finding("caller", anomaly.Error, 102)
	id := makeID(effect.ID, idChars)
	s.add(cause, effect)
	s.set.Alias(id, effect.ID)
	s.set.Alias("INC-NOWHERE", anomaly.ID{9})
	s.check()
	if got := s.set.Get(id); got != s.only() || got.ID != makeID(cause.ID, idChars) {
		t.Fatalf("the alias leads to %+v", got)
	}
	if s.set.Get("INC-NOWHERE") != nil {
		t.Error("an alias of no finding leads somewhere")
	}
	effect.Revision++ // it began before its supposed cause
	effect.Onset.Lo, effect.Onset.Hi, effect.Point = at(49), at(51), at(50)
	changes := s.add(effect)
	if got := s.set.Get(id); got == nil || got.ID != id || got.First != "caller" {
		t.Errorf("the alias leads to %+v after\n%s", got, describeChanges(changes))
	}
}

// An id that a relay gave may come while its finding is in no incident yet, or
// when that incident has settled: it leads to the incident all the same.
func TestAliasWaitsForAnIncident(t *testing.T) {
	s := newStage(t, DefaultOptions(), "caller>callee")
	lone, cause := finding("caller", anomaly.Error, 102), finding("callee", anomaly.Error, 100)
	lone.Severity = event.SeverityWarn
	s.add(lone)
	s.set.Alias("INC-GIVEN", lone.ID)
	if got := s.set.Get("INC-GIVEN"); got != nil {
		t.Fatalf("a finding in no incident leads to %+v", got)
	}
	s.check()
	s.add(cause)
	if got := s.set.Get("INC-GIVEN"); got == nil || got != s.only() {
		t.Fatalf("the id leads to %+v", got)
	}
	own := s.only().ID
	s.set.Tick(at(7200), s.graph)
	s.set.Tick(at(14400), s.graph)
	s.set.Alias("INC-LATE", cause.ID)
	for _, id := range []string{"INC-GIVEN", "INC-LATE"} {
		if got := s.set.Get(id); got == nil || got.ID != own || got.Status != StatusSettled {
			t.Errorf("%s leads to %+v, want the settled incident", id, got)
		}
	}
}

// Relays fold what is one alarm, each for itself. Where two relays say the
// same, it is announced once and one incident, whoever is first; both findings
// stay in it, for each is evidence by its own path.
func TestSameAlarmOfTwoRelaysIsAnnouncedOnce(t *testing.T) {
	here := finding("sysplex1/LPARA/PAYJOB", anomaly.Error, 10, evidence("eu/lpara", 1, 1))
	there := finding("sysplex1/LPARA/PAYJOB", anomaly.Error, 11, evidence("eu/lparb", 7, 7))
	for _, order := range [][]anomaly.Finding{{here, there}, {there, here}} {
		s := newStage(t, DefaultOptions())
		if got := kinds(s.add(order...)); got != "opened updated" {
			t.Errorf("changes %q", got)
		}
		if i := s.only(); len(i.Findings) != 2 || i.Onset().ID != here.ID {
			t.Errorf("incident %s", describe(i))
		}
		if got := kinds(s.add(ended(here, 50), ended(there, 51))) + " " + kinds(s.tick(100)); got != "updated updated resolved" {
			t.Errorf("in the end %q", got)
		}
	}
}
