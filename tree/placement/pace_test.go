package placement

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestBackoffStaysWithinItsBoundsAndGrows(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	opts := BackoffOptions{Base: 100 * time.Millisecond, Cap: 10 * time.Second, Rand: rng.Int64N}
	b, err := NewBackoff(opts)
	if err != nil {
		t.Fatal(err)
	}
	last, atCap := opts.Base, 0
	for range 10_000 {
		d := b.Next()
		if d < opts.Base || d > opts.Cap || d > 3*last {
			t.Fatalf("pause %v after %v, want within %v to the least of %v and three times as much", d, last, opts.Base, opts.Cap)
		}
		if last = d; d == opts.Cap {
			atCap++
		}
	}
	if atCap == 0 {
		t.Error("never reached the cap: the pauses do not grow")
	}
	b.Reset()
	if d := b.Next(); d > 3*opts.Base {
		t.Errorf("first pause after a success is %v, want at most %v", d, 3*opts.Base)
	}
}

func TestBackoffRefusesOptionsThatOverflow(t *testing.T) {
	for _, o := range []BackoffOptions{
		{Base: 0, Cap: 1, Rand: rand.Int64N},
		{Base: 2, Cap: 1, Rand: rand.Int64N},
		{Base: 1, Cap: 1 << 62, Rand: rand.Int64N},
		{Base: 1, Cap: 1},
	} {
		if _, err := NewBackoff(o); err == nil {
			t.Errorf("base %v and cap %v were accepted", o.Base, o.Cap)
		}
	}
}

func TestBudgetGrantsTheBurstThenTheRate(t *testing.T) {
	b, err := NewBudget(10*time.Millisecond, 50)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	granted := 0
	for range 1000 { // 1000 agents ask every millisecond for one second
		for range 1000 {
			if b.Take(now) == 0 {
				granted++
			}
		}
		now = now.Add(time.Millisecond)
	}
	if want := 50 + 99; granted != want {
		t.Errorf("%d handshakes granted in a second, want %d", granted, want)
	}
	b.Take(now) // the one that this millisecond brings
	wait := b.Take(now)
	if b.Take(now.Add(wait-1)) == 0 || b.Take(now.Add(wait)) != 0 {
		t.Errorf("the announced wait of %v is not exact", wait)
	}
}

func TestBudgetSurvivesAClockThatGoesBack(t *testing.T) {
	b, err := NewBudget(time.Second, 3)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(10_000, 0)
	b.Take(now)
	now = now.Add(-time.Hour)
	if wait := b.Take(now); wait > 3*time.Second {
		t.Fatalf("waits %v, want at most a whole refill", wait)
	}
	if wait := b.Take(now.Add(3 * time.Second)); wait != 0 {
		t.Errorf("still refuses for %v after a whole refill", wait)
	}
}
