package anomaly

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pando/event"
)

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

// TestReplayFindsTheSame runs a random history on one engine straight on, and
// on another that is stored and restored after every single step.
func TestReplayFindsTheSame(t *testing.T) {
	steps := 0
	for seed, history := range []func(*stage, *rand.Rand){wander, wander, wander, unsettle, unsettle} {
		s := newStage(quick())
		s.cfg.MaxSpeakers, s.cfg.MaxTests = 5, 3 // one too few
		s.cfg.Rates[0].Learn, s.cfg.Ratios[0].Learn, s.cfg.Levels[0].Learn = 5*time.Second, 100, 50
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
		history(s, rand.New(rand.NewPCG(uint64(seed), 7)))
		changed := 0
		for i := range s.told {
			if f := &s.told[i]; f.Travels() && f.Detector != DetectorSilence {
				changed++
			}
		}
		t.Logf("seed %d: %d findings, %d of them changes", seed, len(s.told), changed)
		if len(s.told) < 5 || seed > 2 && changed < 5 {
			t.Errorf("seed %d: %d findings, %d of them changes: the history is too dull to prove anything", seed, len(s.told), changed)
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
	for range 30 {
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

// unsettle plays a random history of rates, shares and levels that change, and
// of an agent that restarts and moves meanwhile.
func unsettle(s *stage, r *rand.Rand) {
	const host = "east/a"
	calls := s.speaks(host, "src", "web", "call", event.SeverityInfo, 100*time.Millisecond)
	fails := s.speaks(host, "src", "web", "rpc.err", event.SeverityError, 500*time.Millisecond)
	s.speaks(host, "src", "web", "rpc.ok", event.SeverityInfo, 100*time.Millisecond)
	s.speaks(host, "src", "web", "took", event.SeverityInfo, 100*time.Millisecond)
	s.speaks(host, "src", "other", "call", event.SeverityInfo, 500*time.Millisecond)
	s.join(host, "A")
	s.claim(host)
	s.pass(15 * time.Second)
	for i := range 8 {
		calls.every = []int64{20, 100, 500}[r.IntN(3)] * milli
		fails.every = []int64{50, 500}[r.IntN(2)] * milli
		s.value = float64(20 * r.IntN(2))
		calls.on = r.IntN(4) > 0
		if r.IntN(3) == 0 {
			s.leave(host)
			s.pass(time.Second)
			s.join(host, []string{"A", "B"}[i%2])
			s.say(host, "src", "web", "call", event.SeverityInfo, event.Backlog)
			s.claim(host)
		}
		s.pass(time.Duration(3+r.IntN(4)) * time.Second)
	}
}
