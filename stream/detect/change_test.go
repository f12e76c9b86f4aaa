package detect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pando/internal/pack"
)

// TestRateChange follows one change: where it began, its end, its return.
func TestRateChange(t *testing.T) {
	o := DefaultRateOptions()
	r, err := NewRate(o)
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1e18)
	run := func(d time.Duration, every time.Duration) (said []Change) {
		for end := now + int64(d); now < end; {
			now += int64(Tick)
			n := int64(0)
			if now%int64(every) == 0 {
				n = 1
			}
			if c, ok := r.Step(now, n); ok {
				said = append(said, c)
			}
		}
		return said
	}
	if said := run(30*time.Minute, 100*time.Millisecond); len(said) != 0 {
		t.Fatalf("a steady rate: %+v", said)
	}
	begin := now
	said := run(time.Minute, 30*time.Millisecond)
	if len(said) != 1 || !said[0].Up || said[0].Ended {
		t.Fatalf("three times the rate: %+v", said)
	}
	if c := said[0]; c.From < begin-second || c.From > begin+second || c.To < c.From || c.To > begin+5*second {
		t.Errorf("began between %v and %v after it did", time.Duration(c.From-begin), time.Duration(c.To-begin))
	}
	if c := said[0]; math.Abs(c.Baseline-10) > 0.5 || c.Now < 20 || c.Now > 45 || c.Score < 1000 {
		t.Errorf("from %.1f/s to %.1f/s, score %d; want 10 to 33", c.Baseline, c.Now, c.Score)
	}
	if said = run(2*time.Minute, 100*time.Millisecond); len(said) != 1 || !said[0].Ended || said[0].Adopted {
		t.Fatalf("back again: %+v", said)
	}
	if said = run(10*time.Second, 30*time.Millisecond); len(said) != 1 || !said[0].Returned {
		t.Fatalf("and again: %+v", said)
	}
	run(10*time.Minute, 100*time.Millisecond)
	begin = now
	if said = run(time.Minute, time.Hour); len(said) != 1 || said[0].Up || said[0].From > begin+second {
		t.Fatalf("no events: %+v", said)
	}
}

func ExampleRate() {
	rate, err := NewRate(DefaultRateOptions())
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// An event each so many ticks, for a time.
	pass := func(d time.Duration, every int64) {
		for tick := range int64(d / Tick) {
			now = now.Add(Tick)
			events := int64(0)
			if tick%every == 0 {
				events = 1
			}
			if c, ok := rate.Step(now.UnixNano(), events); ok && !c.Ended {
				fmt.Printf("more than %.0f/s since %s\n", c.Baseline, time.Unix(0, c.From).UTC().Format(time.TimeOnly))
			}
		}
	}
	pass(time.Hour, 20)
	pass(time.Minute, 10)
	// Output: more than 5/s since 01:00:00
}

// TestRateSkip passes over an hour in which nobody looked: that is no fall, and
// evidence from before it counts, as does its time.
func TestRateSkip(t *testing.T) {
	r, err := NewRate(DefaultRateOptions())
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1e18)
	r.Skip(now)
	run := func(d time.Duration, every time.Duration) (Change, bool) {
		for end := now + int64(d); now < end; {
			now += int64(every)
			if c, ok := r.Step(now, 1); ok {
				return c, ok
			}
		}
		return Change{}, false
	}
	steady := func() {
		t.Helper()
		if c, ok := run(20*time.Minute, 100*time.Millisecond); ok {
			t.Fatalf("a steady rate: %+v", c)
		}
	}
	steady()
	for range 3 {
		now += int64(time.Hour)
		r.Skip(now)
		steady()
	}
	begin := now
	if c, ok := run(time.Second, 50*time.Millisecond); ok {
		t.Fatalf("found after a second: %+v", c)
	}
	now += int64(time.Hour)
	r.Skip(now)
	again := now
	c, ok := run(time.Minute, 50*time.Millisecond)
	if !ok || !c.Up || c.From < begin-second || c.From > begin+second || c.To < again || c.To > again+10*second {
		t.Errorf("found %+v, from %v to %v after it began", c, time.Duration(c.From-begin), time.Duration(c.To-begin))
	}
	if c.Now < 19 || c.Now > 21 {
		t.Errorf("%.1f/s, want 20", c.Now)
	}
}

// TestLearntMoves hands what a test has learnt, and its open change, to another.
func TestLearntMoves(t *testing.T) {
	learnt := func() *Rate { return learntRate(t, rand.New(rand.NewPCG(13, 13)), 10) }
	old, next := learnt(), learnt()
	next.Test().Know(Learnt{})
	if !next.Learning() {
		t.Error("what was forgotten is known")
	}
	if next.Test().Resume(1) {
		t.Error("a change of what nobody knows goes on")
	}
	w := pack.NewWriter()
	old.Test().Learnt().Append(w)
	in := pack.NewReader(w.Bytes())
	l := ReadLearnt(in)
	if err := in.Done(); err != nil || l != old.Test().Learnt() {
		t.Fatalf("%+v became %+v, %v", old.Test().Learnt(), l, err)
	}
	next.Test().Know(l)
	if next.Learning() || next.Baseline() != old.Baseline() {
		t.Errorf("the next test expects %g, want %g", next.Baseline(), old.Baseline())
	}
	now := next.last
	run := func(every, d int64) (c Change, ok bool) {
		for end := now + d; now < end && !ok; {
			now += every
			c, ok = next.Step(now, 1)
		}
		return c, ok
	}
	if c, ok := run(second/20, 10*second); !ok || !c.Up {
		t.Fatalf("a doubling: %+v, %v", c, ok)
	}
	alternative, open := next.Test().Open()
	if !open || alternatives[alternative].ratio <= 1 {
		t.Fatalf("alternative %d is open: %v", alternative, open)
	}
	next.Test().Know(l)
	if !next.Test().Resume(alternative) {
		t.Fatal("the change does not go on")
	}
	if c, ok := run(second/20, 10*second); ok {
		t.Errorf("found once more: %+v", c)
	}
	if c, ok := run(second/10, 60*second); !ok || !c.Ended {
		t.Errorf("at its end: %+v, %v", c, ok)
	}
}
