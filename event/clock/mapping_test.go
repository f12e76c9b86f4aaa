package clock

import (
	"math"
	"testing"
)

func TestMappingSaturates(t *testing.T) {
	m := Mapping{Offset: 1000 * sec, Bound: ms, At: 100 * sec}
	if iv := m.Root(100 * sec); iv != (Interval{1100*sec - ms, 1100*sec + ms}) {
		t.Errorf("at the estimate: %v", iv)
	}
	// 50 ppm of 100 s are 5 ms, before as after.
	for _, mono := range []int64{0, 200 * sec} {
		if iv := m.Root(mono); iv != (Interval{mono + 1000*sec - 6*ms, mono + 1000*sec + 6*ms}) {
			t.Errorf("100 s away: %v", iv)
		}
	}
	if iv := m.Interval(math.MinInt64, 100*sec); iv != (Interval{math.MinInt64, 1100*sec + ms}) {
		t.Errorf("open start: %v", iv)
	}
	if iv := m.Interval(100*sec, math.MaxInt64); iv != (Interval{1100*sec - ms, math.MaxInt64}) {
		t.Errorf("open end: %v", iv)
	}
	if iv := m.Interval(101*sec, 100*sec); iv != m.Root(100*sec) {
		t.Errorf("inverted: %v", iv)
	}
	unbounded := Interval{math.MinInt64, math.MaxInt64}
	if iv := (Mapping{Bound: -1}).Root(5); iv != unbounded {
		t.Errorf("negative bound: %v", iv)
	}
	if iv := (Mapping{Bound: math.MaxInt64}).Root(-5); iv.Hi < math.MaxInt64-5 || iv.Lo > math.MinInt64+5 {
		t.Errorf("greatest bound: %v", iv)
	}
	if iv := (Mapping{Offset: math.MaxInt64}).Root(math.MaxInt64 - 1); iv.Hi != math.MaxInt64 {
		t.Errorf("greatest offset: %v", iv)
	}
	if iv := (Mapping{Offset: math.MinInt64, At: math.MaxInt64, DriftPPM: math.MaxInt64}).Root(math.MinInt64 + 1); iv.Lo != math.MinInt64 {
		t.Errorf("everything at once: %v", iv)
	}
}

func TestSlewNeverStepsAndNeverGoesBack(t *testing.T) {
	const start = 1_700_000_000 * sec
	for _, behind := range []int64{0, 1, -1, 3 * sec, -3 * sec, math.MaxInt64, -7e18} {
		root := sub(start, behind)
		s := NewSlew(start, root, 0)
		if got := s.At(start); got != root {
			t.Errorf("behind %d: begins at %d, not where the estimate was, %d", behind, got, root)
		}
		before := s.At(start - 10)
		for d := int64(0); d < 20_000*sec; d = d*2 + 1 {
			local := start + d
			now := s.At(local)
			if now < before {
				t.Fatalf("behind %d, after %d ns: %d before %d", behind, d, now, before)
			}
			// Off the leader's own rate by at most 500 ppm.
			if off := sub(sub(now, s.At(start)), d); off > d/2000+1 || off < -d/2000-1 {
				t.Fatalf("behind %d, after %d ns: slewed by %d ns", behind, d, off)
			}
			before = now
		}
		if behind == 3*sec || behind == -3*sec {
			if got := s.At(start + 6001*sec); got != start+6001*sec {
				t.Errorf("behind %d: not settled after 6001 s: %d", behind, got-start)
			}
		}
	}
}

func TestMonotonicRisesAndHasAName(t *testing.T) {
	m, err := NewMonotonic()
	if err != nil {
		t.Fatal(err)
	}
	if m.Boot() == (Boot{}) {
		t.Error("no name")
	}
	before := m.Now()
	for range 1000 {
		now := m.Now()
		if now < before {
			t.Fatalf("%d after %d", now, before)
		}
		before = now
	}
}

func BenchmarkMonotonic(b *testing.B) {
	m, err := NewMonotonic()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m.Now()
	}
}
