package anomaly

import (
	"math/rand/v2"
	"testing"
	"time"

	"pando/event"
	"pando/stream"
)

func TestRule(t *testing.T) {
	s := newStage(quick())
	s.join(swift, "A")
	s.claim(swift)
	v := s.speaks(swift, "access", "checkout", "http.503", event.SeverityError, time.Second)
	s.pass(10 * time.Second)
	s.hears(t) // two in two seconds are fine
	before := s.now
	v.every, v.next = 50*milli, s.now
	s.pass(3 * time.Second)
	if len(s.told) != 1 {
		t.Fatalf("%d findings, want one", len(s.told))
	}
	f := s.told[0].Finding
	if f.Onset.Lo < before-3*second || f.Decided < f.Point || f.Detected < f.Decided ||
		f.Detected > before+second || f.Score < 1000 || f.Evidence[0].From >= f.Evidence[0].To {
		t.Errorf("finding %+v", f)
	}
	s.hears(t, "+errors checkout")
	s.pass(5 * time.Second)
	s.hears(t)       // said once
	v.every = second // few, but some
	s.pass(4 * time.Second)
	s.hears(t) // holding
	s.pass(2 * time.Second)
	s.hears(t, "-errors checkout")
	v.every = 50 * milli
	s.pass(2 * time.Second)
	s.hears(t, "*errors checkout") // flapping: the same finding is back
	v.on = false
	s.pass(30 * time.Second)
	s.hears(t, "-errors checkout")
	v.on = true
	s.pass(2 * time.Second)
	s.hears(t, "+errors checkout") // re-armed: another one
}

// TestRuleCountsItsSpan compares a window with the plain count of events that
// come out of order.
func TestRuleCountsItsSpan(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	rule := &quick().Rules[0]
	plain := arrivalOf(event.Unit{Origin: swift}, event.Event{Seq: 1})
	for range 50 {
		step, jitter := 1+r.Int64N(300*milli), r.Int64N(second)+1
		at := dawn
		w := newWindow(rule, stream.Series{}, at)
		var points []int64
		latest := int64(0)
		for range 300 {
			at += r.Int64N(2 * step)
			s := &sighting{arrival: plain, point: at - r.Int64N(jitter)}
			if !w.add(s) {
				t.Fatal("an event within the span was refused")
			}
			points = append(points, s.point)
			latest = max(latest, s.point)
			var least, most int64
			for _, p := range points {
				if p > latest-int64(rule.Within) {
					least++
				}
				if p > latest-int64(rule.Within)-w.width {
					most++
				}
			}
			if w.total < least || w.total > most {
				t.Fatalf("counted %d, want %d to %d", w.total, least, most)
			}
		}
	}
}

// A disk that hung holds lines up, and the agent reads them at once: they were
// said over the whole time since it looked last, and that is no burst.
func TestRuleTakesNoPauseInReadingForABurst(t *testing.T) {
	s := newStage(quick())
	s.join(swift, "A")
	s.claim(swift)
	errors := func(n int) {
		for range n {
			s.say(swift, "access", "checkout", "http.503", event.SeverityError, 0)
		}
	}
	for range 5 { // three a second, of which ten in two seconds are too many
		s.pass(1800 * time.Millisecond)
		s.unread = 1800 * milli
		errors(6)
		s.unread = 10 * milli
		for range 4 {
			s.pass(300 * time.Millisecond)
			errors(1)
		}
	}
	s.hears(t)
	errors(10)
	s.hears(t, "+errors checkout")
}

func TestRuleCountsNoBacklogAndSaysProvisional(t *testing.T) {
	s := newStage(quick())
	s.join(swift, "A")
	for range 50 {
		s.say(swift, "access", "checkout", "http.503", event.SeverityError, event.Backlog)
	}
	s.hears(t)
	for range 10 {
		s.say(swift, "access", "checkout", "http.503", event.SeverityError, 0)
	}
	if len(s.told) != 1 || !s.told[0].Provisional {
		t.Fatalf("want one provisional finding, got %v", s.told)
	}
	s.hears(t, "+errors checkout")
	s.claim(swift)
	s.pass(10 * time.Millisecond)
	if len(s.told) != 1 || s.told[0].Provisional || s.told[0].Revision != 2 {
		t.Errorf("want the finding confirmed, got %v", s.told)
	}
}
