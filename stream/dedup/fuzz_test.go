package dedup

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pando/internal/pack"
	"pando/stream/anomaly"
)

// history turns bytes into findings that begin, end and come back, with time
// in between. If it is to be, the filter is exchanged for a restored one on
// the way.
func history(s *stage, ops []byte, restored bool) {
	n := 0
	for len(ops) >= 3 {
		op, a, b := ops[0], int(ops[1]), int(ops[2])
		ops = ops[3:]
		switch op % 6 {
		case 0, 1:
			x := finding(n, fmt.Sprint("app", a%2), "abend.S0C7", time.Duration(b%32)*100*time.Millisecond, time.Duration(a%8)*50*time.Millisecond)
			if op%24 == 0 {
				x.Detector, x.Class = anomaly.DetectorFirstSeen, anomaly.Novelty
			}
			x.Provisional = op%16 == 1
			s.detects(by(x, fmt.Sprint("eu/", a%2), fmt.Sprint(b%3)))
			n++
		case 2, 3:
			if n > 0 {
				s.revises((a<<8|b)%n, func(x *anomaly.Finding) { x.Ended, x.Provisional = !x.Ended, false })
			}
		case 4:
			s.waits(time.Duration(a) * 50 * time.Millisecond)
		case 5:
			if restored {
				s.restores()
			}
		}
	}
}

// check verifies what must hold of every history once time has passed.
func (s *stage) check() {
	s.Helper()
	latest := map[anomaly.ID]anomaly.Finding{}
	for _, x := range s.said {
		before, known := latest[x.ID]
		if x.Revision <= before.Revision {
			s.Errorf("said %s after revision %d", short(&x), before.Revision)
		}
		if !known && x.Ended {
			s.Errorf("said that %s is over, which was never said to have begun", short(&x))
		}
		latest[x.ID] = x
	}
	for id, x := range s.all {
		if y, said := latest[id]; said && y.Ended == x.Ended || x.Ended && !said {
			continue
		} else if said && x.Ended {
			s.Errorf("%s is over, and was last said to go on", short(&x))
			continue
		}
		if x.Class == anomaly.Novelty {
			continue // over at once, whatever its last revision says
		}
		if !s.goesOn(&x, latest) {
			s.Errorf("%s goes on, and nothing says so", short(&x))
		}
	}
}

// goesOn reports whether some finding was said to go on that is one alarm with
// x.
func (s *stage) goesOn(x *anomaly.Finding, latest map[anomaly.ID]anomaly.Finding) bool {
	identity, _ := s.f.cfg.identity(x, nil)
	for _, y := range latest {
		other, _ := s.f.cfg.identity(&y, nil)
		if !y.Ended && bytes.Equal(identity, other) && within(x.Onset, y.Onset, int64(s.f.cfg.Window)) {
			return true
		}
	}
	return false
}

func smallConfig() Config {
	cfg := DefaultConfig()
	cfg.Window, cfg.Late, cfg.MaxAlarms = 2*time.Second, 5*time.Second, 5
	return cfg
}

func FuzzHistory(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		ops := make([]byte, 300)
		for i := range ops {
			ops[i] = byte(r.UintN(256))
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		ops = ops[:min(len(ops), 3000)]
		s, straight := newStage(t, smallConfig()), newStage(t, smallConfig())
		history(s, ops, true)
		history(straight, ops, false)
		if got, want := s.words(), straight.words(); got != want {
			t.Fatalf("a restored filter says %s\nwant %s", got, want)
		}
		s.waits(10 * time.Second)
		s.check()
		if n := len(s.f.alarms); n > s.f.cfg.MaxAlarms {
			t.Errorf("%d alarms", n)
		}
	})
}

// FuzzRestore reads any bytes as a snapshot: it is refused as malformed, or
// written again as the same bytes.
func FuzzRestore(f *testing.F) {
	s := newStage(f, smallConfig())
	r := rand.New(rand.NewPCG(3, 4))
	ops := make([]byte, 90)
	for i := range ops {
		ops[i] = byte(r.UintN(256))
	}
	history(s, ops, false)
	f.Add(snapshotOf(s.f))
	f.Fuzz(func(t *testing.T, b []byte) {
		f, err := New(smallConfig())
		if err != nil {
			t.Fatal(err)
		}
		r := pack.NewReader(b)
		if err := f.Restore(r); err != nil {
			if !errors.Is(err, pack.ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		if n := len(b) - r.Left(); !bytes.Equal(snapshotOf(f), b[:n]) {
			t.Error("another snapshot than the one read")
		}
		f.Tick(f.now)
	})
}
