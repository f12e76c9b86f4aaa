package detect

import (
	"fmt"
	"math"
	"testing"
	"time"
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
