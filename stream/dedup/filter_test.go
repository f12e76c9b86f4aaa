package dedup

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream/anomaly"
)

const (
	second = time.Second
	job    = "sysplex1/LPARA/PAYJOB"
)

func TestOneAlarmByTwoPaths(t *testing.T) {
	s := newStage(t, DefaultConfig())
	s.detects(by(finding(1, job, "abend.S0C7", 0, 0), "eu/lpara", "syslog"))
	s.detects(by(finding(2, job, "abend.S0C7", second, 0), "eu/lpara", "operlog"))
	s.detects(by(finding(3, job, "abend.S0C7", 2*second, 0), "eu/lparb", "operlog"))
	s.detects(by(finding(4, job, "abend.S0C4", second, 0), "eu/lpara", "syslog"))
	s.detects(by(finding(5, "sysplex1/LPARA/OTHER", "abend.S0C7", second, 0), "eu/lpara", "syslog"))
	s.hears("1/1", "4/1", "5/1")

	s.ends(2)
	s.ends(3)
	s.ends(1)
	if got, want := s.said[0].Summary, "one event of abend.S0C7 (2 more, also by eu/lpara operlog, eu/lparb operlog)"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	s.hears("-1/2")
	if c := s.f.Counts(); c != (Counts{Folded: 2}) {
		t.Errorf("counts %+v", c)
	}
}

// Windows are not chained: each finding is compared with what was said.
func TestWhatComesAgainIsSaidAgain(t *testing.T) {
	s := newStage(t, DefaultConfig())
	for n := range 7 {
		s.detects(finding(n, job, "abend.S0C7", time.Duration(n)*4*second, 0), nil)
	}
	s.hears("0/1", "3/1", "6/1")
}

func TestOnsetsWithin(t *testing.T) {
	for _, c := range []struct {
		a, b   clock.Interval
		window int64
		want   bool
	}{
		{clock.Interval{Lo: 0, Hi: 0}, clock.Interval{Lo: 10, Hi: 10}, 10, true},
		{clock.Interval{Lo: 0, Hi: 0}, clock.Interval{Lo: 11, Hi: 11}, 10, false},
		{clock.Interval{Lo: 0, Hi: 5}, clock.Interval{Lo: 15, Hi: 20}, 10, true},
		{clock.Interval{Lo: 0, Hi: 5}, clock.Interval{Lo: 3, Hi: 20}, 0, true},
		{clock.Interval{Lo: 0, Hi: 5}, clock.Interval{Lo: 6, Hi: 20}, 0, false},
		{clock.Interval{Lo: math.MinInt64, Hi: math.MaxInt64}, clock.Interval{Lo: 6, Hi: 6}, 0, true},
		{clock.Interval{Lo: math.MinInt64, Hi: math.MinInt64}, clock.Interval{Lo: math.MaxInt64, Hi: math.MaxInt64}, math.MaxInt64, false},
	} {
		if within(c.a, c.b, c.window) != c.want || within(c.b, c.a, c.window) != c.want {
			t.Errorf("%v and %v within %d: want %v", c.a, c.b, c.window, c.want)
		}
	}
}

// Two alarms with one fingerprint are still two.
func TestCollisionMergesNothing(t *testing.T) {
	s := newStage(t, DefaultConfig())
	s.f.hash = func([]byte) Fingerprint { return Fingerprint{} }
	s.detects(finding(1, job, "abend.S0C7", 0, 0), nil)
	s.detects(finding(2, job, "abend.S0C4", 0, 0), nil)
	s.detects(finding(3, job, "abend.S0C4", 0, 0), nil)
	s.hears("1/1", "2/1")
	s.ends(1)
	s.waits(11 * time.Minute)
	s.ends(2)
	if !strings.HasSuffix(s.said[1].Summary, "(1 more)") {
		t.Errorf("summary %q of the alarm that has a duplicate", s.said[1].Summary)
	}
}

// A finding that lasts longer than the alarm it was folded into is said, once
// the alarm is over; one that is over with it is not.
func TestNothingThatGoesOnIsHidden(t *testing.T) {
	s := newStage(t, DefaultConfig())
	s.detects(finding(1, job, "abend.S0C7", 0, 0), nil)
	for n := 2; n < 6; n++ {
		s.detects(finding(n, job, "abend.S0C7", 0, 0), nil)
	}
	s.waits(5 * second)
	s.ends(4)
	s.ends(1)
	s.waits(second)
	s.ends(5)
	s.hears("1/1", "-1/2")
	s.waits(3 * second)
	s.hears("2/1") // and 3 is one with it
	s.ends(3)
	s.ends(2)
	s.hears("-2/2")
	s.again(4) // its alarm is over
	s.again(5)
	s.hears("4/3")
	if c := s.f.Counts(); c != (Counts{Folded: 4, Released: 2}) {
		t.Errorf("counts %+v", c)
	}
}

// A novelty is over at once, so nothing of it can outlast the alarm; and its
// end is not said when it was not.
func TestNoveltyIsSaidOnce(t *testing.T) {
	s := newStage(t, DefaultConfig())
	for n := range 3 {
		x := finding(n, job, "DFHAC2236", 0, 0)
		x.Detector, x.Class = anomaly.DetectorFirstSeen, anomaly.Novelty
		s.detects(x, nil)
	}
	s.ends(0)
	s.hears("0/1", "-0/2")
	s.ends(1)
	s.waits(30 * time.Minute)
	s.ends(2)
	s.hears()
	s.waits(second)
	if n := len(s.f.alarms); n != 0 {
		t.Errorf("%d alarms are remembered after all was over for long", n)
	}
}

// A late path: the alarm is over when its duplicate comes.
func TestLateDuplicate(t *testing.T) {
	s := newStage(t, DefaultConfig())
	s.detects(finding(1, job, "abend.S0C7", 0, 0), nil)
	s.waits(30 * second)
	s.ends(1)
	s.waits(5 * time.Minute)
	s.detects(finding(2, job, "abend.S0C7", second, 0), nil)
	s.waits(second)
	s.ends(2)
	s.waits(time.Minute)
	s.hears("1/1", "-1/2")
	s.detects(finding(3, job, "abend.S0C7", second, 0), nil)
	s.waits(5 * second)
	s.hears("3/1") // it goes on
	s.waits(10 * time.Minute)
	s.ends(3)
	s.waits(10 * time.Minute)
	s.detects(finding(4, job, "abend.S0C7", second, 0), nil)
	s.hears("-3/2", "4/1") // too late
}

func TestWhatIsNeverFolded(t *testing.T) {
	s := newStage(t, DefaultConfig())
	silent := func(n int) anomaly.Finding {
		x := finding(n, job, "", 0, 0)
		x.Detector, x.Class = anomaly.DetectorSilence, anomaly.Silence
		return x
	}
	s.detects(silent(1), nil)
	s.detects(silent(2), nil)
	s.hears("1/1", "2/1")

	unclaimed := finding(3, job, "abend.S0C7", 0, 0)
	unclaimed.Provisional = true
	s.detects(unclaimed, nil)
	s.detects(finding(4, job, "abend.S0C7", 0, 0), nil)
	s.hears("3/1", "4/1")

	unknown := finding(5, job, "abend.S0C7", 0, 0)
	unknown.Revision = 7 // its alarm was forgotten, or another relay's
	s.detects(unknown, nil)
	s.hears("5/7")
}

func TestFields(t *testing.T) {
	text := func(n int, body, job string) (anomaly.Finding, *event.Event) {
		x, e := by(finding(n, fmt.Sprint("host", n), fmt.Sprint("log", n), 0, 0), "eu/a", "syslog")
		e.Attrs = []event.Attr{{Key: "body", Value: body}, {Key: "zos.job", Value: job}}
		return x, e
	}
	cfg := DefaultConfig()
	cfg.Fields = []string{FieldText, FieldAttr + "zos.job"}
	s := newStage(t, cfg)
	s.detects(text(1, "step 3 ended at 12:00:01.5", "PAY1"))
	s.detects(text(2, "step 4  ended at 12:00:01.7", "PAY1"))
	s.detects(text(3, "step 4 ended at 12:00:01.7", "PAY2"))
	s.detects(text(4, "step 4 began at 12:00:01.7", "PAY1"))
	s.hears("1/1", "3/1", "4/1")
	s.detects(finding(5, "x", "y", 0, 0), nil)
	s.detects(text(6, strings.Repeat("x", maxIdentity+1), "PAY1"))
	s.hears("5/1", "6/1")
	if c := s.f.Counts(); c.Incomparable != 2 {
		t.Errorf("counts %+v", c)
	}
}

func TestBoundsAndEviction(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxAlarms = 3
	s := newStage(t, cfg)
	for n := range 3 {
		s.detects(finding(n, fmt.Sprint("app", n), "abend.S0C7", 0, 0), nil)
	}
	s.detects(finding(10, "app0", "abend.S0C7", 0, 0), nil)
	s.detects(finding(11, "app1", "abend.S0C7", 0, 0), nil)
	s.ends(1)
	s.hears("0/1", "1/1", "2/1", "-1/2")

	// 1 is over, and goes first; what was folded into it is said.
	s.detects(finding(3, "app3", "abend.S0C7", 0, 0), nil)
	s.hears("11/1", "3/1")
	s.detects(finding(4, "app4", "abend.S0C7", 0, 0), nil) // then the oldest
	s.hears("10/1", "4/1")
	s.ends(0)
	s.ends(10)
	s.hears("-0/2", "-10/2")
	if c := s.f.Counts(); len(s.f.alarms) != 3 || c.Evicted != 2 || c.Released != 2 {
		t.Errorf("%d alarms, counts %+v", len(s.f.alarms), c)
	}
	for n := range 2 * perAlarm * cfg.MaxAlarms {
		s.detects(finding(100+n, "app4", "abend.S0C7", 0, 0), nil)
	}
	if len(s.f.folded) > perAlarm*cfg.MaxAlarms || s.f.Counts().Full == 0 {
		t.Errorf("%d findings are folded, counts %+v", len(s.f.folded), s.f.Counts())
	}
}

// What is told of duplicates fits the summary, whatever the names' lengths.
func TestNoteFitsTheSummary(t *testing.T) {
	s := newStage(t, DefaultConfig())
	for n := range 20 {
		x := finding(n, job, "abend.S0C7", 0, 0)
		x.Summary = strings.Repeat("é", anomaly.MaxText/2)
		s.detects(by(x, strings.Repeat("ö", event.MaxName/2), fmt.Sprint(strings.Repeat("s", event.MaxName-2), n)))
	}
	s.ends(0)
	last := s.said[len(s.said)-1]
	w := pack.NewWriter()
	anomaly.AppendFinding(w, last)
	r := pack.NewReader(w.Bytes())
	if anomaly.ReadFinding(r); r.Done() != nil || !strings.Contains(last.Summary, "é (19 more, also by ö") {
		t.Errorf("summary %q: %v", last.Summary, r.Err())
	}
	s.restores()
}

// What outlasts its alarm takes the place of it in a full table, and what is
// said to make room is said once.
func TestReleaseEvictsItsOwnAlarm(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxAlarms = 1
	s := newStage(t, cfg)
	s.detects(finding(1, "app", "abend.S0C7", 10*second, 0), nil)
	s.detects(finding(2, "app", "abend.S0C7", 2*second, 0), nil)
	s.detects(finding(3, "app", "abend.S0C7", 18*second, 0), nil)
	s.ends(1)
	s.waits(5 * second)
	s.hears("1/1", "-1/2", "3/1", "2/1")
}

// A reload with other fields or fewer alarms loses track of nothing.
func TestReconfiguration(t *testing.T) {
	s := newStage(t, DefaultConfig())
	for n := range 4 {
		s.detects(finding(n, "app", "abend.S0C7", 0, 0), nil)
	}
	s.detects(finding(9, "app9", "abend.S0C7", 0, 0), nil)
	s.f.cfg.Fields, s.f.cfg.MaxAlarms = []string{FieldSignal}, 1
	s.restores()
	s.hears("0/1", "9/1")
	s.ends(3)
	s.hears()
	s.detects(finding(10, "app10", "abend.S0C7", 0, 0), nil) // room is made, and what was folded is said
	s.hears("1/1", "2/1", "10/1")
	s.f.cfg.Enabled = false
	s.restores()
	s.detects(finding(11, "app11", "abend.S0C7", 0, 0), nil)
	s.ends(10)
	s.hears("11/1", "-10/2")
}

func TestConfigNamesEveryFault(t *testing.T) {
	cfg := Config{Enabled: true, Fields: []string{"entity", "colour", "attr.", "entity"}, Window: -1, Late: 25 * time.Hour}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, fault := range []string{"fields[1]", "fields[2]", "fields[3]", "window", "late", "max_alarms"} {
		if !strings.Contains(err.Error(), "dedup."+fault) {
			t.Errorf("nothing about %s in:\n%v", fault, err)
		}
	}
	if err := (&Config{Enabled: true, MaxAlarms: 1}).Validate(); err == nil || !strings.Contains(err.Error(), "dedup.fields: 0") {
		t.Errorf("no fields: %v", err)
	}
}
