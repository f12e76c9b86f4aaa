package anomaly

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream/detect"
)

// TestBatchesAreAsTheirEvents shows one engine batches as a whole, another event
// by event, of every kind that a detector tells apart: in disorder, late, ahead of
// root time, in both lanes, of sources that come and go. What they find and what
// they keep is the same, and so it is with a third that is made anew from the
// state now and then, and so remembers nothing else, where room is short, too: who
// gets the last place may depend on the batch, but not on what is remembered.
func TestBatchesAreAsTheirEvents(t *testing.T) {
	found, calmed := 0, 0
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 11))
		config := DefaultConfig()
		config.FirstSeen.LearnFor = 5 * time.Second
		config.Silence.LearnFor, config.Silence.MinEvents, config.Silence.Floor = 10*time.Second, 4, 2*time.Second
		config.Silence.Enabled = seed%4 != 3
		config.Ratios[0].RatioOptions = detect.RatioOptions{Learn: 200, MinVolume: 20}
		if seed%3 == 0 {
			config.Levels = []LevelOf{{Name: "level", Signal: "http.2*"}}
		}
		scarce := seed%5 == 4
		if scarce {
			config.MaxTests = 2
		}
		config.Forget = 8 * time.Second
		if err := config.Validate(); err != nil {
			t.Fatal(err)
		}
		whole, _ := NewEngine(config)
		single, _ := NewEngine(config)
		anew, _ := NewEngine(config)
		var units [event.Lanes]event.Unit
		for l := range units {
			units[l] = event.Unit{Origin: "eu/a", WAL: event.WALID(seed + 1), Lane: event.Lane(l)}
		}
		both := func(f func(e *Engine) []Finding) {
			w, s, n := f(whole), f(single), f(anew)
			if found += len(w); !scarce && !reflect.DeepEqual(w, s) {
				t.Fatalf("seed %d: found %+v\nevent by event %+v", seed, w, s)
			}
			if !reflect.DeepEqual(w, n) {
				t.Fatalf("seed %d: found %+v\nmade anew %+v", seed, w, n)
			}
		}
		now, seq, ill := dawn, [event.Lanes]uint64{}, r.IntN(300)
		for step := range 400 {
			now += int64(r.IntN(300)) * milli
			both(func(e *Engine) []Finding { return e.Tick(now) })
			if step%100 == 0 {
				for _, u := range units {
					both(func(e *Engine) []Finding { e.Present(u); e.Claimed(u, Expectations{}); return nil })
				}
			}
			for _, u := range units {
				for source := range 2 {
					if step%100 < 90 || source == 0 {
						beat := event.Event{Source: fmt.Sprint("s", source), Signal: readable}
						both(func(e *Engine) []Finding { return e.Heartbeat(u, &beat, now) })
					}
				}
			}
			lane := event.Lane(r.IntN(event.Lanes))
			var events []event.Event
			for range 1 + r.IntN(60) {
				seq[lane]++
				ev := event.Event{Seq: seq[lane], Kind: event.Metric, Severity: event.SeverityInfo, Source: fmt.Sprint("s", r.IntN(2)),
					Entity: fmt.Sprint("app/", r.IntN(3)), Signal: fmt.Sprint("http.2", r.IntN(3)), Value: r.Float64()}
				switch n := r.IntN(100); {
				case n < 3, step > ill && n < 30:
					ev.Signal, ev.Severity = "http.503", event.Severity(r.IntN(int(event.SeverityError)+1))
				case n < 6:
					ev.Signal, ev.Severity = fmt.Sprint("code.", r.IntN(1+step/20)), event.SeverityWarn
				case n < 8:
					ev.Flags = event.Backlog
				case n < 12: // comes back after it was forgotten
					ev.Entity, ev.Severity = fmt.Sprint("job/", step/100%2), event.Severity(r.IntN(int(event.SeverityError)+1))
				case step > ill && ev.Entity == "app/2":
					ev.Entity = "app/1"
				}
				point := now - r.Int64N(250)*milli
				ev.Stamp = event.Stamp{Lo: point, Hi: point, Point: point}
				if r.IntN(50) == 0 {
					ev.Stamp = event.Stamp{Lo: now + milli, Hi: now + milli, Point: now + milli}
				}
				events = append(events, ev)
			}
			for i := range events { // stamps do not go back
				events[i].Stamp.Hi = max(events[i].Stamp.Hi, events[max(i, 1)-1].Stamp.Hi)
			}
			a := arrivalOf(units[lane], events...)
			place(a, clock.Mapping{}, now)
			if step%5 == 0 {
				w := pack.NewWriter()
				whole.Snapshot(w)
				anew, _ = NewEngine(config)
				if err := anew.Restore(pack.NewReader(w.Bytes())); err != nil {
					t.Fatal(err)
				}
			}
			both(func(e *Engine) (fs []Finding) {
				e.Begin(a)
				if e != single {
					e.ObserveAll(func(_ int, more []Finding) { fs = append(fs, more...) })
					for _, c := range e.batch.calm {
						if c.is {
							calmed++
						}
					}
					return fs
				}
				for i := range events {
					fs = append(fs, e.Observe(i)...)
				}
				return fs
			})
		}
		w, s, n := pack.NewWriter(), pack.NewWriter(), pack.NewWriter()
		whole.Snapshot(w)
		single.Snapshot(s)
		anew.Snapshot(n)
		if !scarce && !bytes.Equal(w.Bytes(), s.Bytes()) || !bytes.Equal(w.Bytes(), n.Bytes()) {
			t.Fatalf("seed %d: the states differ", seed)
		}
	}
	if found < 100 || calmed < 1000 {
		t.Errorf("%d findings, %d lines that were calm: too few to say anything", found, calmed)
	}
	t.Logf("%d findings, %d calm lines", found, calmed)
}

// TestWhatIsRememberedDecidesNothing has an engine that knows its lines and one
// that was just restored take in a batch in which an order matters: who gets the
// last test, and which of two volumes that are joined began the evidence. In that, a
// third takes it in event by event.
func TestWhatIsRememberedDecidesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		tests  int
		before func(say func(entity, signal string, volume int64))
		batch  func(say func(entity, signal string, volume int64))
	}{
		"the last test": {1,
			func(say func(entity, signal string, volume int64)) { say("app/1", "http.200", 0) },
			func(say func(entity, signal string, volume int64)) {
				say("app/1", "http.200", 2)
				say("app/2", "http.200", 2)
			}},
		"joined volumes": {100,
			func(say func(entity, signal string, volume int64)) {
				for v := range int64(30) {
					say("app/1", "http.200", 10+v)
					say("app/1", "http.201", 10+v)
				}
			},
			func(say func(entity, signal string, volume int64)) {
				say("app/1", "http.200", 43)
				say("app/1", "http.201", 42)
				say("app/1", "http.200", 44)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			config := DefaultConfig()
			config.MaxTests, config.Silence.MaxBeat = c.tests, time.Minute
			known, err := NewEngine(config)
			if err != nil {
				t.Fatal(err)
			}
			known.Tick(dawn)
			lanes := [event.Lanes]event.Unit{{Origin: "eu/a", WAL: 1}, {Origin: "eu/a", WAL: 1, Lane: event.Bulk}}
			for _, u := range lanes {
				known.Present(u)
				known.Claimed(u, Expectations{})
			}
			seq, now := uint64(0), dawn
			batch := func(list func(func(entity, signal string, volume int64))) func(e *Engine, each bool) {
				var events []event.Event
				list(func(entity, signal string, volume int64) {
					seq++
					at := (dawn/volumeWidth/2*2 + volume) * volumeWidth // so that an even one is joined with the next
					events = append(events, event.Event{Seq: seq, Kind: event.Metric, Severity: event.SeverityInfo, Source: "s",
						Entity: entity, Signal: signal, Value: 1, Stamp: event.Stamp{Lo: at, Hi: at, Point: at}})
				})
				for i := range events { // stamps do not go back
					events[i].Stamp.Hi = max(events[i].Stamp.Hi, events[max(i, 1)-1].Stamp.Hi)
				}
				a := arrivalOf(lanes[event.Bulk], events...)
				return func(e *Engine, each bool) {
					place(a, clock.Mapping{}, now)
					e.Begin(a)
					defer e.End()
					if !each {
						e.ObserveAll(func(int, []Finding) {})
						return
					}
					for i := range events {
						e.Observe(i)
					}
				}
			}
			beat := func() {
				for _, u := range lanes {
					known.Heartbeat(u, &event.Event{Source: "s", Signal: readable}, now)
				}
			}
			if c.tests > 1 {
				beat()
			}
			now += 50 * volumeWidth
			known.Tick(now)
			batch(c.before)(known, false)
			if c.tests == 1 { // it was heard before its source was observed
				now = dawn + volumeWidth
				beat()
				now += 50 * volumeWidth
			}
			w := pack.NewWriter()
			known.Snapshot(w)
			step, states := batch(c.batch), [3][]byte{}
			for i := range states {
				e := known
				if i > 0 {
					e, _ = NewEngine(config)
					if err := e.Restore(pack.NewReader(w.Bytes())); err != nil {
						t.Fatal(err)
					}
				}
				step(e, i == 2 && c.tests > 1)
				state := pack.NewWriter()
				e.Snapshot(state)
				states[i] = state.Copy()
			}
			if len(known.origins["eu/a"].sources["s"].tests) != 1 {
				t.Fatal("there is not one test")
			}
			if !bytes.Equal(states[0], states[1]) || !bytes.Equal(states[0], states[2]) {
				t.Error("the states differ")
			}
		})
	}
}
