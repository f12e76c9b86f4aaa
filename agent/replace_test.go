package agent

import (
	"testing"
	"time"
)

// Two nodes with one certificate replace their logs in turn, each as soon as
// its pause is over: the other's log lives that long.
func TestDoublesPauseAndSaySo(t *testing.T) {
	var r replacements
	now, lived := time.Unix(1000, 0), time.Hour
	var last time.Duration
	for n := range 40 {
		pause, cloned := r.note(now, lived)
		if pause < last || pause > maxReplacePause {
			t.Fatalf("replacement %d: pause %s after %s", n+1, pause, last)
		}
		if want := n+1 >= cloneReplacements; cloned != want {
			t.Fatalf("replacement %d, pauses of %s: another node is suspected: %t, want %t", n+1, pause, cloned, want)
		}
		now, lived, last = now.Add(2*pause), pause, pause
	}
	if last != maxReplacePause {
		t.Errorf("the pauses grow to %s only", last)
	}
	if pause, cloned := r.note(now.Add(time.Hour), time.Hour); pause != minReplacePause || cloned {
		t.Errorf("after an hour of peace: pause %s, another node is suspected: %t", pause, cloned)
	}
}
