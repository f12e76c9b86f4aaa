package clock

import "testing"

// steadyRun reads a steady clock every step nanoseconds of monotonic time.
type steadyRun struct {
	t    *testing.T
	s    Steady
	mono int64
	last int64
}

// pass lets time go by while the wall clock is off by so much, and checks that
// every reading rises at the rate it may.
func (r *steadyRun) pass(span, step, off int64) {
	r.t.Helper()
	for end := r.mono + span; r.mono < end; {
		r.mono += step
		now := r.s.At(r.mono, r.mono+off)
		if rose := now - r.last; rose < step-step/1000-1 || rose > step+step/1000+1 {
			r.t.Fatalf("%d ns of time are %d", step, rose)
		}
		r.last = now
	}
}

// A wall clock that is set, either way, is followed slowly; also if the clock
// is read so often that no single reading may move by a nanosecond.
func TestSteadyFollowsAStepSlowly(t *testing.T) {
	const minute = int64(60e9)
	for name, step := range map[string]int64{"often": 777, "seldom": 1e8} {
		r := &steadyRun{t: t}
		r.s.At(0, 0)
		span := 10_000 * step
		r.pass(span, step, 0)
		if r.last != r.mono {
			t.Errorf("%s: %d ns from a clock that was never set", name, r.last-r.mono)
		}
		r.pass(span, step, 10*minute)
		ahead := r.last - r.mono
		if want := span * DefaultSlewPPM / million; ahead < want-1 || ahead > want+1 {
			t.Errorf("%s: moved by %d ns, want %d", name, ahead, want)
		}
		r.pass(span+10*step, step, 0)
		if r.last != r.mono {
			t.Errorf("%s: %d ns from the clock that was set back", name, r.last-r.mono)
		}
	}
}

func TestSteadyNeverGoesBack(t *testing.T) {
	var s Steady
	first := s.At(1000, 5000)
	if got := s.At(900, 100); got != first {
		t.Errorf("an earlier reading gives %d, the last was %d", got, first)
	}
}
