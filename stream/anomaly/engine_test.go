package anomaly

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pando/event"
	"pando/stream"
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

func TestFirstSeen(t *testing.T) {
	s := newStage(quick())
	s.speaks(lpara, "console", job, "DFHSI1517", event.SeverityInfo, 300*time.Millisecond)
	s.join(lpara, "A")
	s.claim(lpara)
	s.say(lpara, "console", job, "abend.S222", event.SeverityError, 0)
	s.pass(6 * time.Second)
	s.hears(t) // learning
	s.say(lpara, "console", job, "abend.S222", event.SeverityError, 0)
	s.say(lpara, "console", job, "IEF404I", event.SeverityInfo, 0)
	s.say(lpara, "console", job, "abend.S013", event.SeverityError, event.Backlog)
	s.hears(t) // known; below the severity; read from a backlog
	s.say(lpara, "console", job, "abend.S0C7", event.SeverityError, 0)
	s.hears(t, "+first-seen "+job)
	s.say(lpara, "console", job, "abend.S0C7", event.SeverityError, 0)
	s.hears(t)

	s.leave(lpara)
	s.join(lpara, "A")
	s.say(lpara, "console", job, "abend.S878", event.SeverityError, 0)
	s.hears(t) // no claim yet: another relay may have seen it
	s.leave(lpara)
	s.host(lpara).wal = 2 // and its disk is lost on the way
	s.join(lpara, "B")
	s.say(lpara, "console", job, "abend.U4038", event.SeverityError, 0)
	s.claim(lpara)
	for _, code := range []string{"abend.S222", "abend.S0C7", "abend.S013", "abend.U4038"} {
		s.say(lpara, "console", job, code, event.SeverityError, 0)
	}
	s.hears(t) // known from A, or learnt before the claim
	s.say(lpara, "console", job, "DFHAC2236", event.SeverityWarn, 0)
	s.hears(t, "+first-seen "+job)
}

func TestFullMemoryMakesNothingNew(t *testing.T) {
	cfg := quick()
	cfg.MaxSeries = 3
	s := newStage(cfg)
	s.join(lpara, "A")
	s.claim(lpara)
	s.say(lpara, "console", job, "abend.S000", event.SeverityError, 0)
	s.pass(6 * time.Second)
	for i := range 10 {
		s.say(lpara, "console", job, fmt.Sprintf("abend.S00%d", i), event.SeverityError, 0)
	}
	s.hears(t, "+first-seen "+job, "+first-seen "+job)
	if z := s.relay("A").Size(); z.Codes != 3 || z.Refused.Codes != 7 {
		t.Errorf("size %+v, want 3 codes and 7 refused", z)
	}

	s = newStage(quick())
	s.root[lpara] = Expectations{Since: dawn - 60*second, Floor: event.SeverityWarn, Partial: true}
	s.join(lpara, "A")
	s.claim(lpara)
	s.say(lpara, "console", job, "abend.S0C7", event.SeverityError, 0)
	s.hears(t) // another relay's memory was full
}

// TestFindingsComeInOrder has many things happen at once.
func TestFindingsComeInOrder(t *testing.T) {
	s := newStage(quick())
	for i := range 8 {
		s.speaks(lpara, "console", fmt.Sprintf("%s/%d", job, i), "hello", event.SeverityInfo, 300*time.Millisecond)
	}
	s.join(lpara, "A")
	s.claim(lpara)
	s.pass(10 * time.Second)
	for i, v := range s.voices {
		s.say(lpara, "console", v.entity, fmt.Sprintf("abend.%d", i), event.SeverityError, 0)
		v.on = false
	}
	s.pass(5 * time.Second)
	if len(s.told) != 24 {
		t.Fatalf("%d findings, want 8 new codes, 8 silences and 8 ends", len(s.told))
	}
	// The codes came in the order of their events; the rest at one moment each.
	for _, moment := range [][]told{s.told[8:16], s.told[16:]} {
		if !slices.IsSortedFunc(moment, func(a, b told) int { return bytes.Compare(a.ID[:], b.ID[:]) }) {
			t.Errorf("findings of one moment are not in the order of their IDs: %v", moment)
		}
	}
}

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
	s.hears(t) // said once
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
	for range 50 {
		step, jitter := 1+r.Int64N(300*milli), r.Int64N(second)+1
		at := dawn
		w := newWindow(rule, stream.Series{}, at)
		var points []int64
		latest := int64(0)
		for range 300 {
			at += r.Int64N(2 * step)
			s := &sighting{event: &event.Event{}, point: at - r.Int64N(jitter)}
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

func TestRhythm(t *testing.T) {
	var r rhythm
	at := int64(0)
	pause := func(gap time.Duration) {
		at += int64(gap)
		r.add(int64(gap), at)
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

// TestReplayFindsTheSame runs a random history on one engine straight on, and
// on another that is stored and restored after every single step.
func TestReplayFindsTheSame(t *testing.T) {
	steps := 0
	for seed := range uint64(4) {
		s := newStage(quick())
		s.cfg.MaxSpeakers = 5 // one too few
		s.tick = 50 * milli
		mirror := map[string]*Engine{}
		s.observe = func(relay string, call func(*Engine) []Finding) []Finding {
			steps++
			straight := s.relays[relay]
			other := mirror[relay]
			if other == nil {
				snap := snapshotOf(straight)
				other, _ = restored(s.cfg, snap)
			}
			want, got := call(straight), call(other)
			if !bytes.Equal(encoded(want), encoded(got)) {
				t.Fatalf("seed %d, step %d: straight %v, restored %v", seed, steps, want, got)
			}
			snap := snapshotOf(straight)
			if !bytes.Equal(snap, snapshotOf(other)) {
				t.Fatalf("seed %d, step %d: the states differ", seed, steps)
			}
			next, err := restored(s.cfg, snap)
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, steps, err)
			}
			mirror[relay] = next
			return want
		}
		wander(s, rand.New(rand.NewPCG(seed, 7)))
		if len(s.told) < 10 {
			t.Errorf("seed %d: only %d findings; the history is too dull to prove anything", seed, len(s.told))
		}
	}
}

// wander plays a random history: agents restart, move and fall silent, codes
// and bursts come and go.
func wander(s *stage, r *rand.Rand) {
	hosts := []string{"east/a", "east/b"}
	relays := []string{"A", "B"}
	for _, h := range hosts {
		for i := range 3 {
			every := time.Duration(150+r.IntN(400)) * time.Millisecond
			s.speaks(h, fmt.Sprintf("src%d", i%2), fmt.Sprintf("job%d", i), "hello", event.SeverityInfo, every)
		}
		s.join(h, relays[r.IntN(2)])
		s.claim(h)
	}
	for range 60 {
		h := hosts[r.IntN(len(hosts))]
		away := s.host(h).relay == ""
		switch k := r.IntN(12); {
		case away:
			s.join(h, relays[r.IntN(2)])
			if r.IntN(4) > 0 {
				s.claim(h)
			}
		case k == 0:
			s.leave(h)
		case k == 1:
			s.host(h).sources["src0"] = []string{"unreadable", "behind", "stuck", readable}[r.IntN(4)]
		case k <= 4:
			v := s.voices[r.IntN(len(s.voices))]
			v.on = !v.on
		case k <= 7:
			for range r.IntN(25) {
				s.say(h, "src1", "web", "http.503", event.SeverityError, event.Flags(r.IntN(2))*event.Backlog)
			}
		default:
			s.say(h, "src1", "web", fmt.Sprintf("code%d", r.IntN(40)), event.SeverityWarn, 0)
			s.claim(h)
		}
		s.pass(time.Duration(1+r.IntN(80)) * 50 * time.Millisecond)
	}
}
