package anomaly

import (
	"slices"
	"testing"
	"time"

	"pando/event"
)

const (
	lpara = "east/lpara"
	swift = "east/swift-1"
	job   = "sysplex1/LPARA/CICSPAY1"
)

// steadyJob is a stage on which a job has spoken for ten seconds to relay A.
func steadyJob(t *testing.T) (*stage, *voice) {
	t.Helper()
	s := newStage(quick())
	v := s.speaks(lpara, "console", job, "DFHSI1517", event.SeverityInfo, 300*time.Millisecond)
	s.join(lpara, "A")
	s.claim(lpara)
	s.pass(10 * time.Second)
	s.hears(t)
	if z := s.relay("A").Size(); z.Expected != 1 {
		t.Fatalf("the job is not expected: %+v", z)
	}
	return s, v
}

func TestDeadSpeakerIsSilent(t *testing.T) {
	s, v := steadyJob(t)
	s.say(lpara, "console", job, "abend.S0C7", event.SeverityError, 0)
	last := s.now - milli
	v.on = false
	s.pass(5 * time.Second)
	var f *Finding
	for i := range s.told {
		if s.told[i].Detector == DetectorSilence {
			f = &s.told[i].Finding
		}
	}
	if f == nil {
		t.Fatal("no silence found")
	}
	// The longest pause was 300 ms, so the floor of one second is the deadline.
	if f.Decided != last+second || f.Onset.Lo != last || f.Onset.Hi != last+300*milli || f.Class != Silence {
		t.Errorf("decided %d after the last event, onset %d to %d after it",
			f.Decided-last, f.Onset.Lo-last, f.Onset.Hi-last)
	}
	if late := f.Detected - f.Decided; late < 0 || late > 300*milli {
		t.Errorf("said %v after its deadline", time.Duration(late))
	}
	if ref := s.hosts[lpara].unit(event.Critical); len(f.Evidence) != 1 || f.Evidence[0].Unit != ref {
		t.Errorf("evidence %v, want the abend", f.Evidence)
	}
	s.hears(t, "+first-seen "+job, "+silence "+job, "-first-seen "+job)
	s.pass(5 * time.Second)
	s.hears(t) // said once
	v.on = true
	s.pass(time.Second)
	s.hears(t, "-silence "+job)
}

func TestNoSilence(t *testing.T) {
	quiet := 20 * time.Second
	for name, act := range map[string]func(s *stage, v *voice){
		"while the source is unreadable": func(s *stage, v *voice) {
			s.host(lpara).sources["console"] = "unreadable"
			s.pass(300 * time.Millisecond)
			v.on = false
			s.pass(quiet)
		},
		"while the source is read behind": func(s *stage, v *voice) {
			s.host(lpara).sources["console"] = "behind"
			s.pass(300 * time.Millisecond)
			v.on = false
			s.pass(quiet)
		},
		"while no heartbeat comes": func(s *stage, v *voice) {
			s.host(lpara).sources["console"] = "stuck"
			v.on = false
			s.pass(quiet)
		},
		"after a pause of the whole machine": func(s *stage, v *voice) {
			s.host(lpara).sources["console"] = "stuck"
			v.on = false
			s.pass(quiet)
			s.host(lpara).sources["console"] = readable
			v.on = true
			s.pass(quiet)
		},
		"while the session is closed": func(s *stage, v *voice) {
			s.leave(lpara)
			s.pass(quiet)
		},
		"after an agent's restart": func(s *stage, v *voice) {
			for range 5 {
				s.leave(lpara)
				v.on = false
				s.pass(quiet / 4)
				s.join(lpara, "A")
				s.claim(lpara)
				v.on = true
				s.pass(quiet / 4)
			}
		},
		"when the agent moved to another relay": func(s *stage, v *voice) {
			s.leave(lpara)
			s.join(lpara, "B")
			s.pass(time.Second)
			s.claim(lpara)
			s.pass(quiet)
		},
		"before the root's expectations are known": func(s *stage, v *voice) {
			s.leave(lpara)
			s.join(lpara, "B")
			v.on = false
			s.pass(quiet)
		},
		"while a full disk drops what is said": func(s *stage, v *voice) {
			h := s.host(lpara)
			v.on = false
			for range 20 { // lines are dropped, and now and then there is room to say so
				s.pass(900 * time.Millisecond)
				loss := event.NewLoss("console", "", event.Overflow, 3, s.now-900*milli, s.now)
				s.step("A", func(e *Engine) []Finding { e.Lost(h.unit(event.Bulk), &loss); return nil })
			}
			v.on = true
			s.pass(quiet)
		},
		"while one lane lags": func(s *stage, v *voice) {
			// The bulk lane beats as of old, its events may be on their way.
			h := s.host(lpara)
			h.sources["console"] = "stuck"
			v.on = false
			for range 80 {
				s.pass(250 * time.Millisecond)
				ev := &event.Event{Kind: event.Heartbeat, Source: "console", Signal: readable}
				s.step("A", func(e *Engine) []Finding {
					return e.Heartbeat(h.unit(event.Critical), ev, s.now-milli)
				})
			}
		},
		"when a session takes over before the old one is seen to close": func(s *stage, v *voice) {
			s.host(lpara).sources["console"] = "stuck"
			v.on = false
			s.pass(1500 * time.Millisecond) // shorter than max_beat, longer than the floor
			s.join(lpara, "A")
			s.claim(lpara)
			s.host(lpara).sources["console"] = readable
			s.pass(500 * time.Millisecond)
			v.on = true
			s.pass(quiet)
		},
		"when the new unit of a lost disk takes over": func(s *stage, v *voice) {
			s.leave(lpara)
			s.host(lpara).wal = 2
			s.host(lpara).seq = [event.Lanes]uint64{}
			s.join(lpara, "A")
			s.claim(lpara)
			s.pass(quiet)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, v := steadyJob(t)
			act(s, v)
			s.hears(t)
		})
	}
}

func TestSilenceIsFoundAfterTheMove(t *testing.T) {
	s, v := steadyJob(t)
	s.leave(lpara)
	s.join(lpara, "B")
	s.claim(lpara)
	v.on = false // it never spoke to B, which expects it all the same
	s.pass(5 * time.Second)
	s.hears(t, "+silence "+job)
	s.leave(lpara)
	s.join(lpara, "A") // A hears of the open silence with its claim
	s.claim(lpara)
	s.pass(5 * time.Second)
	s.hears(t)
	v.on = true
	s.pass(time.Second)
	s.hears(t, "-silence "+job)
}

func TestBurstySpeakerIsNeverExpected(t *testing.T) {
	s := newStage(quick())
	s.cfg.Silence.LearnFor = 20 * time.Second
	v := s.speaks(lpara, "console", "sysplex1/LPARA/BATCH1", "IEF403I", event.SeverityInfo, 50*time.Millisecond)
	s.join(lpara, "A")
	s.claim(lpara)
	for range 40 { // runs of five seconds, seven seconds apart
		s.pass(5 * time.Second)
		v.on = false
		s.pass(7 * time.Second)
		v.on = true
	}
	s.hears(t)
}

func TestFlappingSpeakerIsFoundTwiceAtMost(t *testing.T) {
	s, v := steadyJob(t)
	for range 30 { // long enough each time to be expected again
		v.on = false
		s.pass(7 * time.Second)
		v.on = true
		s.pass(10 * time.Second)
	}
	s.hears(t, "+silence "+job, "-silence "+job, "+silence "+job, "-silence "+job)
}

func TestRhythm(t *testing.T) {
	var r rhythm
	var last []int64
	at := int64(0)
	pause := func(gap time.Duration) {
		at += int64(gap)
		r.add(int64(gap), at)
		last = append(last, int64(gap))
		if got, _ := r.typical(); got < slices.Max(last[max(0, len(last)-rhythmGaps):]) {
			t.Errorf("typical %v is less than one of the last pauses", time.Duration(got))
		}
	}
	expect := func(what string, want time.Duration, steady bool) {
		t.Helper()
		if gap, ok := r.typical(); gap != int64(want) || ok != steady {
			t.Errorf("%s: typical %v, steady %v; want %v, %v", what, time.Duration(gap), ok, want, steady)
		}
	}
	for range rhythmGaps - 1 {
		pause(time.Second)
	}
	expect("too few", time.Second, false)
	pause(1900 * time.Millisecond)
	expect("sixteen", 1900*time.Millisecond, true)
	pause(5 * time.Second)
	expect("one long pause", 5*time.Second, false)
	for range 70 {
		pause(time.Second)
	}
	expect("remembered long after it left the ring", 5*time.Second, false)
	for range 12 {
		pause(1900 * time.Millisecond)
		pause(time.Second)
	}
	expect("halved, sixteen times its length later", 2500*time.Millisecond, true)
	for range 30 {
		pause(1900 * time.Millisecond)
		pause(time.Second)
	}
	expect("halved again, but for the last pauses", 1900*time.Millisecond, true)
}
