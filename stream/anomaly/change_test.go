package anomaly

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/stream/detect"
)

// changes is a configuration with one test of each kind and nothing else.
func changes() Config {
	c := quick()
	c.Rules, c.FirstSeen.Enabled, c.Silence.Enabled = nil, false, false
	return c
}

// TestNullRunLength has steady random traffic through batches and heartbeats,
// and counts what is found.
func TestNullRunLength(t *testing.T) {
	const arl, hours = 10 * time.Minute, 2
	c := changes()
	c.Rates[0].ARL, c.Rates[0].Rearm = arl, detect.Tick
	c.Rates[0].Learn, c.Rates[0].Memory = 2*time.Minute, time.Hour
	f := newFeed(t, c, 1)
	rates := []float64{0.2, 1, 1, 5}
	for i, rate := range rates {
		f.crowd(fmt.Sprint("web/", i), "call", event.Lane(i%2), rate)
	}
	found := len(begun(f.pass(hours * time.Hour)))
	t.Logf("%d found in %d hours of %d series", found, hours, len(rates))
	// Three standard errors of a count that is near Poisson.
	want := float64(len(rates)) * hours * float64(time.Hour) / float64(arl)
	if limit := want + 3*math.Sqrt(want); float64(found) > limit {
		t.Errorf("%d false findings, want at most %.0f", found, limit)
	}
	if z := f.e.Size(); z.Tests != len(rates) || found == 0 {
		t.Errorf("%d tests found %d changes: nothing was tested", z.Tests, found)
	}
}

// TestDoubling compares when a finding is said with when the test by itself
// would have said it of the same events.
func TestDoubling(t *testing.T) {
	const runs = 12
	var ours, theirs float64
	for seed := range uint64(runs) {
		f := newFeed(t, changes(), seed)
		own, err := detect.NewRate(f.e.specs[0].rate)
		if err != nil {
			t.Fatal(err)
		}
		calls := f.crowd("web", "call", event.Bulk, 10)
		var at int64
		follow := func(d time.Duration) (found int64) {
			for end := f.now + int64(d); f.now < end; {
				f.pass(time.Duration(feedStep))
				for _, x := range begun(f.said) {
					found = x.Detected
				}
			}
			return found
		}
		// The same arrivals, drawn again by the same seed.
		g := newFeed(t, changes(), seed)
		again := g.crowd("web", "call", event.Bulk, 10)
		step := func(d time.Duration) {
			for end := g.now + int64(d); g.now < end; {
				g.now += feedStep
				g.draw()
				for _, e := range g.queue[event.Bulk] {
					if x, ok := own.Step(e.Stamp.Point, 1); ok && !x.Ended && at == 0 {
						at = x.At
					}
				}
				g.queue[event.Bulk] = nil
			}
		}
		follow(2 * time.Minute)
		step(2 * time.Minute)
		calls.rate, again.rate, at = 20, 20, 0
		begin := f.now
		said := follow(time.Minute)
		step(time.Minute)
		if said == 0 || at == 0 {
			t.Fatalf("seed %d: a doubling was not found", seed)
		}
		ours += float64(said - begin)
		theirs += float64(at - begin)
	}
	t.Logf("found after %.2f s on average, by the test alone after %.2f s", ours/runs/1e9, theirs/runs/1e9)
	if ours > 1.3*theirs {
		t.Errorf("found after %.2f s on average, want at most 1.3 times %.2f s", ours/runs/1e9, theirs/runs/1e9)
	}
}

// TestFallIsFoundByHeartbeats says nothing at all any more.
func TestFallIsFoundByHeartbeats(t *testing.T) {
	f := newFeed(t, changes(), 2)
	calls := f.crowd("web", "call", event.Bulk, 10)
	if said := f.pass(2 * time.Minute); len(said) != 0 {
		t.Fatalf("found before: %v", said)
	}
	calls.rate = 0
	begin := f.now
	said := f.pass(10 * time.Second)
	if len(said) != 1 || said[0].Detector != DetectorRate || !strings.HasPrefix(said[0].Summary, "0 events/s of call") {
		t.Fatalf("found %+v, want that nobody calls", said)
	}
	x := said[0]
	if x.Onset.Lo < begin-second || x.Onset.Lo > begin+milli || x.Decided > x.Detected || x.Detected-begin > 4*second {
		t.Errorf("onset %v, said %v after the last call", time.Duration(x.Onset.Lo-begin), time.Duration(x.Detected-begin))
	}
}

// TestEvidence has the range of the events that came since the onset.
func TestEvidence(t *testing.T) {
	f := newFeed(t, changes(), 3)
	f.crowd("web", "call", event.Bulk, 10)
	f.pass(2 * time.Minute)
	before := f.seq[event.Bulk]
	f.crowd("web", "call", event.Bulk, 30)
	said := begun(f.pass(10 * time.Second))
	if len(said) != 1 || len(said[0].Evidence) != 1 {
		t.Fatalf("found %+v, want one with a range of events", said)
	}
	if ref := said[0].Evidence[0]; ref.Unit != f.unit(event.Bulk) || ref.From > before+20 || ref.From+20 < before || ref.To < ref.From+10 {
		t.Errorf("evidence %v, want some twenty events behind %d", ref, before)
	}
}

// TestSteadyIsNoChange does to a steady rate, share and level what operators do
// to agents.
func TestSteadyIsNoChange(t *testing.T) {
	const quiet = 40 * time.Second
	for name, act := range map[string]func(s *stage){
		"while the source is unreadable": func(s *stage) {
			s.host(lpara).sources["console"] = "unreadable"
			s.pass(300 * time.Millisecond)
			s.voicesOn(false)
			s.pass(quiet)
			s.host(lpara).sources["console"] = readable
			s.voicesOn(true)
		},
		"while no heartbeat comes": func(s *stage) {
			s.host(lpara).sources["console"] = "stuck"
			s.voicesOn(false)
			s.pass(quiet)
			s.host(lpara).sources["console"] = readable
			s.voicesOn(true)
		},
		"while lines are dropped": func(s *stage) {
			h := s.host(lpara)
			s.voicesOn(false)
			for range 40 {
				s.pass(500 * time.Millisecond)
				loss := event.NewLoss("console", "", event.Overflow, 3, s.now-900*milli, s.now)
				s.step("A", func(e *Engine) []Finding { e.Lost(h.unit(event.Bulk), &loss); return nil })
			}
			s.voicesOn(true)
		},
		"when the agent restarts, and reads on from where it was": func(s *stage) {
			for range 3 {
				s.leave(lpara)
				s.pass(quiet / 2)
				s.join(lpara, "A")
				s.pass(time.Second)
				s.claim(lpara)
				for range 400 {
					s.say(lpara, "console", "web", "call", event.SeverityInfo, event.Backlog)
					s.say(lpara, "console", "web", "rpc.err", event.SeverityError, event.Backlog)
				}
				s.pass(quiet / 2)
			}
		},
		"when the agent moves": func(s *stage) {
			for i := range 4 {
				s.leave(lpara)
				s.pass(quiet / 4)
				s.join(lpara, []string{"B", "A"}[i%2])
				s.pass(time.Second) // unclaimed
				s.claim(lpara)
				s.pass(quiet / 2)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := steadyTraffic(t)
			act(s)
			s.pass(quiet)
			s.hears(t)
			// And all the tests are awake: a change is found, wherever the agent is.
			s.speaks(lpara, "console", "web", "call", event.SeverityInfo, 25*time.Millisecond)
			s.pass(3 * time.Second)
			s.hears(t, "+calls web")
		})
	}
}

// steadyTraffic is a stage with one thing to test of each kind, learnt.
func steadyTraffic(t *testing.T) *stage {
	s := newStage(changes())
	s.speaks(lpara, "console", "web", "call", event.SeverityInfo, 100*time.Millisecond)
	s.speaks(lpara, "console", "web", "rpc.ok", event.SeverityInfo, 50*time.Millisecond)
	s.speaks(lpara, "console", "web", "rpc.err", event.SeverityError, 500*time.Millisecond)
	s.speaks(lpara, "console", "web", "took", event.SeverityInfo, 100*time.Millisecond)
	s.join(lpara, "A")
	s.claim(lpara)
	s.pass(time.Minute)
	s.hears(t)
	return s
}

func (s *stage) voicesOn(on bool) {
	for _, v := range s.voices {
		v.on = on
	}
}

// TestHandoverKeepsWhatWasLearnt goes on at once, without learning anew.
func TestHandoverKeepsWhatWasLearnt(t *testing.T) {
	s := steadyTraffic(t)
	s.leave(lpara)
	s.join(lpara, "B")
	s.claim(lpara)
	s.pass(time.Second)
	for _, src := range s.relay("B").origins[lpara].sources {
		for key, x := range src.tests {
			if in := x.intensity(); in != nil && in.Learning() {
				t.Errorf("%v is learnt anew", key)
			}
		}
	}
	s.pass(2 * time.Second)
	s.hears(t)
	begin := s.now
	s.speaks(lpara, "console", "web", "call", event.SeverityInfo, 100*time.Millisecond) // as many again
	s.pass(10 * time.Second)
	if len(s.told) != 1 || s.told[0].Rule != "calls" {
		t.Fatalf("found %v, want the doubling", s.take())
	}
	if f := s.told[0]; f.Detected-begin > 6*second || f.Onset.Lo < begin-second {
		t.Errorf("found %v after it began, with an onset %v after it", time.Duration(f.Detected-begin), time.Duration(f.Onset.Lo-begin))
	}
}

// TestOpenChangeIsEndedByWhoeverFollows has the relay die that found it: all
// that is left of it is what Learned had it send up.
func TestOpenChangeIsEndedByWhoeverFollows(t *testing.T) {
	s := steadyTraffic(t)
	h := s.host(lpara)
	learned := s.relay("A").Learned(h.unit(event.Bulk))
	more := s.speaks(lpara, "console", "web", "call", event.SeverityInfo, 30*time.Millisecond)
	s.pass(3 * time.Second)
	s.hears(t, "+calls web")
	if s.relay("A").Learned(h.unit(event.Bulk)) == learned {
		t.Error("nobody is told of the change")
	}
	s.root[lpara] = travel(s.relay("A").Expect(h.unit(event.Bulk)))
	delete(s.relays, "A")
	s.join(lpara, "B")
	s.claim(lpara)
	s.pass(10 * time.Second)
	s.hears(t) // it goes on, and was told
	more.on = false
	s.pass(10 * time.Second)
	s.hears(t, "-calls web")
}

// TestLearnedIsRare watches half an hour of steady traffic.
func TestLearnedIsRare(t *testing.T) {
	c := changes()
	c.Rates[0].ARL = detect.DefaultRateOptions().ARL
	f := newFeed(t, c, 9)
	for i := range 10 {
		f.crowd(fmt.Sprint("web/", i), "call", event.Bulk, 1)
	}
	f.pass(time.Minute)
	before := f.e.Learned(f.unit(event.Bulk))
	if said := f.pass(30 * time.Minute); len(said) != 0 {
		t.Errorf("found %+v", said)
	}
	if n := f.e.Learned(f.unit(event.Bulk)) - before; n < 2 || n > 4 {
		t.Errorf("rose %d times in half an hour, want once in ten minutes", n)
	}
}

// TestRatioWaitsForBothLanes has answers that succeed come five seconds after
// those that fail.
func TestRatioWaitsForBothLanes(t *testing.T) {
	f := newFeed(t, changes(), 4)
	f.crowd("web", "rpc.ok", event.Bulk, 98)
	bad := f.crowd("web", "rpc.err", event.Critical, 2)
	f.pass(20 * time.Second)
	f.lag[event.Bulk] = 5 * second
	if said := f.pass(time.Minute); len(said) != 0 {
		t.Fatalf("a lane that lags makes findings: %+v", said)
	}
	f.lag[event.Bulk] = 60 * second // beyond what is kept at full resolution
	if said := f.pass(2 * time.Minute); len(said) != 0 {
		t.Fatalf("a lane that lags far makes findings: %+v", said)
	}
	f.lag[event.Bulk] = second
	f.pass(10 * time.Second)
	begin := f.now
	bad.rate = 12
	said := begun(f.pass(20 * time.Second))
	if len(said) != 1 || said[0].Detector != DetectorRatio || said[0].Series.Signal != "rpc.err" {
		t.Fatalf("found %+v, want the share of failures", said)
	}
	if x := said[0]; x.Onset.Lo < begin-3*second || x.Onset.Lo > begin+2*second || x.Detected-begin > 6*second || len(x.Evidence) != 2 {
		t.Errorf("onset %v, said %v after it began, evidence %v", time.Duration(x.Onset.Lo-begin), time.Duration(x.Detected-begin), x.Evidence)
	}
}

// TestRatioWantsVolume has three of four requests fail.
func TestRatioWantsVolume(t *testing.T) {
	f := newFeed(t, changes(), 5)
	ok := f.crowd("web", "rpc.ok", event.Bulk, 100)
	bad := f.crowd("web", "rpc.err", event.Critical, 1)
	f.pass(time.Minute)
	ok.rate, bad.rate = 0.3, 1
	if said := f.pass(10 * time.Second); len(said) != 0 {
		t.Errorf("of a dozen requests: %+v", said)
	}
	ok.rate, bad.rate = 30, 100
	if said := begun(f.pass(10 * time.Second)); len(said) != 1 || said[0].Detector != DetectorRatio {
		t.Errorf("of a thousand requests: %+v", said)
	}
}

// TestTestsAreBounded has more series than there is room for.
func TestTestsAreBounded(t *testing.T) {
	c := changes()
	c.MaxTests = 3
	f := newFeed(t, c, 6)
	for i := range 5 {
		f.crowd(fmt.Sprint("web/", i), "call", event.Bulk, 2)
	}
	f.pass(20 * time.Second)
	if z := f.e.Size(); z.Tests != 3 || z.Refused.Tests < 20 {
		t.Errorf("%d tests, %d events refused; want 3, and those of two series", z.Tests, z.Refused.Tests)
	}
	f.e.Gone(f.unit(event.Bulk))
	f.e.Gone(f.unit(event.Critical))
	f.e.Tick(f.now + int64(c.Forget) + ageEvery)
	if z := f.e.Size(); z.Tests != 0 {
		t.Errorf("%d tests of an origin that is forgotten", z.Tests)
	}
}

// TestForgottenSeriesEndItsFinding drops a series that is heard of no more.
func TestForgottenSeriesEndItsFinding(t *testing.T) {
	c := changes()
	c.Forget, c.Rates[0].Adopt = time.Minute, time.Hour
	f := newFeed(t, c, 7)
	calls := f.crowd("web", "call", event.Bulk, 10)
	f.pass(time.Minute)
	calls.rate = 0
	said := f.pass(2 * time.Minute)
	if len(said) != 2 || !said[1].Ended || said[1].ID != said[0].ID || f.e.Size().Tests != 0 {
		t.Errorf("said %+v of %d tests, want the fall and its end", said, f.e.Size().Tests)
	}
}

// TestReconfigured carries the state over to other options.
func TestReconfigured(t *testing.T) {
	f := newFeed(t, changes(), 8)
	calls := f.crowd("web", "call", event.Bulk, 10)
	f.pass(time.Minute)
	calls.rate = 40
	if said := f.pass(5 * time.Second); len(said) != 1 {
		t.Fatalf("found %+v, want one", said)
	}
	id := f.said[0].ID
	carry := func(change func(*Config)) {
		c := changes()
		change(&c)
		e, err := restored(c, snapshotOf(f.e))
		if err != nil {
			t.Fatal(err)
		}
		f.e = e
	}
	carry(func(c *Config) { c.Rates[0].ARL *= 2 })
	if said := f.pass(5 * time.Second); len(said) != 0 || f.e.Size().Changed != 1 {
		t.Errorf("with another run length: %+v, %d open", said, f.e.Size().Changed)
	}
	calls.rate = 10
	if said := f.pass(10 * time.Second); len(said) != 1 || !said[0].Ended || said[0].ID != id {
		t.Errorf("at its end: %+v", said)
	}
	calls.rate = 40
	if said := f.pass(5 * time.Second); len(said) != 1 {
		t.Fatalf("found %+v: what was learnt is lost", said)
	}
	id = f.said[0].ID
	carry(func(c *Config) { c.Rates[0].MinSeverity = Level(event.SeverityError) })
	if said := f.pass(time.Second); len(said) != 1 || !said[0].Ended || said[0].ID != id || f.e.Size().Tests != 0 {
		t.Errorf("counting something else: %+v, %d tests", said, f.e.Size().Tests)
	}
}
