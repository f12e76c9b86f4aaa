package ops

import (
	"testing"
	"time"
)

func TestSeldomCountsWhatItHoldsBack(t *testing.T) {
	s := Seldom{Every: time.Second}
	now := time.Unix(1000, 0)
	if held, ok := s.Allow(now); !ok || held != 0 {
		t.Fatalf("the first line: %t, %d held back", ok, held)
	}
	for range 3 {
		if _, ok := s.Allow(now.Add(999 * time.Millisecond)); ok {
			t.Fatal("a second line within the second")
		}
	}
	if held, ok := s.Allow(now.Add(time.Second)); !ok || held != 3 {
		t.Fatalf("the next line: %t, %d held back, want 3", ok, held)
	}
}
