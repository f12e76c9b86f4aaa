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
// they keep is the same.
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
		whole, err := NewEngine(config)
		if err != nil {
			t.Fatal(err)
		}
		single, _ := NewEngine(config)
		var units [event.Lanes]event.Unit
		for l := range units {
			units[l] = event.Unit{Origin: "eu/a", WAL: event.WALID(seed + 1), Lane: event.Lane(l)}
		}
		both := func(f func(e *Engine) []Finding) {
			w, s := f(whole), f(single)
			if found += len(w); !reflect.DeepEqual(w, s) {
				t.Fatalf("seed %d: found %+v\nevent by event %+v", seed, w, s)
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
			both(func(e *Engine) (fs []Finding) {
				e.Begin(a)
				if e == whole {
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
		w, s := pack.NewWriter(), pack.NewWriter()
		whole.Snapshot(w)
		single.Snapshot(s)
		if !bytes.Equal(w.Bytes(), s.Bytes()) {
			t.Fatalf("seed %d: the states differ", seed)
		}
	}
	if found < 100 || calmed < 1000 {
		t.Errorf("%d findings, %d lines that were calm: too few to say anything", found, calmed)
	}
	t.Logf("%d findings, %d calm lines", found, calmed)
}
