package clock

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// edge is a simulated network edge with a drifting local clock.
type edge struct {
	rng    *rand.Rand
	real   int64 // root time
	skew   int64 // root time minus mono, at real 0
	drift  int64 // ppm, of mono against root time
	parent int64 // the parent's own error, at most
}

func (e *edge) mono() int64 { return e.real - e.skew + e.real/million*e.drift }

// exchange takes two delays drawn independently: offsets are then as wrong
// as the delays differ.
func (e *edge) exchange() Sample {
	wrong := e.rng.Int64N(2*e.parent+1) - e.parent
	var s Sample
	s.Bound = e.parent
	s.T1 = e.mono()
	e.real += 20_000 + e.rng.Int64N(5*ms)
	s.T2 = e.real + wrong
	e.real += e.rng.Int64N(ms)
	s.T3 = e.real + wrong
	e.real += 20_000 + e.rng.Int64N(5*ms)
	s.T4 = e.mono()
	return s
}

func newEstimator(t *testing.T, o EstimatorOptions) *Estimator {
	t.Helper()
	e, err := NewEstimator(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTruthLiesWithinTheBound(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		e := edge{rng: rng, real: 1_700_000_000 * sec, skew: rng.Int64N(400*sec) - 200*sec, parent: ms}
		e.real = 0
		e.drift = rng.Int64N(2*DefaultDriftPPM) - DefaultDriftPPM
		est := newEstimator(t, EstimatorOptions{Boot: Boot{9}})
		for i := range 500 {
			s := e.exchange()
			if got := est.Add(s); got != Accepted {
				t.Fatalf("seed %d, sample %d: %v", seed, i, got)
			}
			e.real += rng.Int64N(30 * sec)
			m, ok := est.Mapping(e.mono())
			if !ok || m.Boot != (Boot{9}) {
				t.Fatal("no mapping")
			}
			// Now, and for stamps of the last minute.
			for _, back := range []int64{0, sec, 60 * sec} {
				then := e
				then.real -= back
				if iv := m.Root(then.mono()); !iv.Contains(then.real) {
					t.Fatalf("seed %d, sample %d, %d ns ago: %v does not contain %d", seed, i, back, iv, then.real)
				}
			}
			if i > 100 && m.Bound > 20*ms {
				t.Fatalf("seed %d: bound %d ns is no use", seed, m.Bound)
			}
		}
	}
}

// offsetSample is an exchange of no delay that finds this offset.
func offsetSample(mono, offset int64) Sample {
	return Sample{T1: mono, T2: mono + offset, T3: mono + offset, T4: mono, Bound: ms}
}

func TestASampleOutsideItsIntervalRestarts(t *testing.T) {
	est := newEstimator(t, EstimatorOptions{})
	for i := range int64(20) {
		if got := est.Add(offsetSample(i*sec, 187*sec)); got != Accepted {
			t.Fatal(got)
		}
	}
	if got := est.Add(offsetSample(20*sec, 188*sec)); got != Restarted {
		t.Fatal(got)
	}
	if m, _ := est.Mapping(20 * sec); m.Offset != 188*sec {
		t.Errorf("offset %d after the restart", m.Offset)
	}
	if got := est.Add(offsetSample(21*sec, 188*sec)); got != Accepted {
		t.Error(got)
	}
}

func TestAJumpIsNotBelievedUntilItPersists(t *testing.T) {
	est := newEstimator(t, EstimatorOptions{Window: 4})
	est.Add(offsetSample(0, 0))
	const year = 365 * 24 * 3600 * sec
	for i := range int64(4) {
		if got := est.Add(offsetSample(i*sec, year)); got != Beyond {
			t.Fatalf("sample %d: %v", i, got)
		}
		if m, _ := est.Mapping(i * sec); m.Offset != 0 {
			t.Fatalf("sample %d moved the estimate to %d", i, m.Offset)
		}
	}
	if got := est.Add(offsetSample(4*sec, year)); got != Restarted {
		t.Error(got)
	}
}

func TestTheShortestRoundTripCounts(t *testing.T) {
	est := newEstimator(t, EstimatorOptions{})
	slow := Sample{T1: 0, T2: 90 * ms, T3: 90 * ms, T4: 100 * ms}
	fast := Sample{T1: 200 * ms, T2: 200*ms + 10_000, T3: 200*ms + 10_000, T4: 200*ms + 20_000}
	est.Add(slow)
	est.Add(fast)
	est.Add(Sample{T1: sec, T2: sec + 90*ms, T3: sec + 90*ms, T4: sec + 100*ms})
	m, _ := est.Mapping(sec + 100*ms)
	if m.Offset != 0 || m.Bound > 100_000 {
		t.Errorf("offset %d ± %d, want that of the fast exchange", m.Offset, m.Bound)
	}
	// An hour later drift outweighs it.
	late := 3600 * sec
	est.Add(Sample{T1: late, T2: late + 2*ms, T3: late + 2*ms, T4: late + 4*ms})
	if m, _ = est.Mapping(late + 4*ms); m.Bound > 3*ms {
		t.Errorf("bound %d: an old sample still counts", m.Bound)
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	est := newEstimator(t, EstimatorOptions{})
	for name, s := range map[string]Sample{
		"local time runs back":    {T1: 10, T4: 5},
		"parent time runs back":   {T2: 10, T3: 5, T4: 100},
		"negative round trip":     {T2: 0, T3: 100, T4: 50},
		"negative bound":          {T4: 10, Bound: -1},
		"takes a century":         {T1: 0, T4: math.MaxInt64},
		"span beyond int64":       {T1: math.MinInt64, T4: math.MaxInt64},
		"parent's beyond int64":   {T2: math.MinInt64, T3: math.MaxInt64, T4: 1},
		"parent at its last tick": {T2: math.MaxInt64, T3: math.MinInt64, T4: 1},
	} {
		if got := est.Add(s); got != Refused {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, ok := est.Mapping(0); ok {
		t.Error("an estimate out of nothing")
	}
}

func TestOptionsNameEveryFault(t *testing.T) {
	if _, err := NewEstimator(EstimatorOptions{Window: -1, DriftPPM: -1, MaxJump: -1}); err == nil {
		t.Error("accepted")
	}
}

func FuzzEstimator(f *testing.F) {
	f.Add(int64(0), int64(5), int64(6), int64(10), int64(1), int64(50))
	f.Add(int64(math.MinInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), int64(-1))
	f.Fuzz(func(t *testing.T, t1, t2, t3, t4, bound, at int64) {
		est := newEstimator(t, EstimatorOptions{Window: 2})
		est.Add(Sample{T1: t1, T2: t2, T3: t3, T4: t4, Bound: bound})
		est.Add(Sample{T1: t4, T2: t3, T3: t2, T4: t1, Bound: bound})
		m, ok := est.Mapping(at)
		if !ok {
			return
		}
		if m.Bound < 0 {
			t.Fatalf("bound %d", m.Bound)
		}
		for _, iv := range []Interval{m.Root(t1), m.Interval(t1, t4), m.Interval(math.MinInt64, t4), m.Interval(t1, math.MaxInt64)} {
			if iv.Lo > iv.Hi {
				t.Fatalf("interval %v", iv)
			}
		}
	})
}
