package detect

import (
	"math/rand/v2"
	"testing"
)

// TestRatio finds a share of failures that rises, not three failures of four
// requests, and takes a share that stays for the new usual.
func TestRatio(t *testing.T) {
	o := DefaultRatioOptions()
	o.Adopt = 20_000
	r, err := NewRatio(o)
	if err != nil {
		t.Fatal(err)
	}
	draw := rand.New(rand.NewPCG(9, 9))
	run := func(n int, percent int) (began, ended int) {
		for range n {
			failed := int64(0)
			if draw.IntN(100) < percent {
				failed = 1
			}
			if c, ok := r.Step(1, failed); ok && c.Ended {
				ended++
			} else if ok {
				began++
			}
		}
		return began, ended
	}
	if b, e := run(200_000, 1); b+e != 0 {
		t.Fatalf("of an unchanged share: %d began, %d ended", b, e)
	}
	if c, ok := r.Step(4, 3); ok {
		t.Errorf("three of four: %+v", c)
	}
	run(10_000, 1)
	if b, e := run(2000, 5); b != 1 || e != 0 {
		t.Errorf("five times the share: %d began, %d ended; want one, open", b, e)
	}
	if b, e := run(5000, 1); b != 0 || e != 1 {
		t.Errorf("back again: %d began, %d ended; want one end", b, e)
	}
	if b, e := run(60_000, 5); b != 1 || e != 1 {
		t.Errorf("for good: %d began, %d ended; want one, adopted", b, e)
	}
	if got := r.Baseline(); got < 0.04 || got > 0.06 {
		t.Errorf("the baseline is %.3f, want what became usual, 0.05", got)
	}
}
