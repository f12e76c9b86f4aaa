package agent

import (
	"slices"
	"time"
)

// Pauses between logs that were replaced one soon after the other. Two
// machines with one certificate close each other's log for ever, and each
// time leave one behind; it must not fill their disks within minutes.
const (
	minReplacePause = 50 * time.Millisecond
	maxReplacePause = 5 * time.Minute

	// calmAfter is how long a log must have lived for the pauses to begin
	// anew: longer than a double leaves this node alone.
	calmAfter = 2 * maxReplacePause

	// cloneReplacements within cloneWithin are more than lost disks explain.
	// The root judges by the same measure, over restarts of its agents too.
	cloneReplacements = 3
	cloneWithin       = 10 * time.Minute
)

// replacements paces the opening of logs under new WAL ids, and notices that
// another node does the same under this one's name. Not safe for concurrent
// use.
type replacements struct {
	pause  time.Duration // before the last one; zero before the first
	recent []time.Time   // the newest cloneReplacements
}

// note takes note that a log which lived so long is replaced now. It returns
// how long to wait before the next is opened, and whether another node seems
// to use this one's certificate.
func (r *replacements) note(now time.Time, lived time.Duration) (pause time.Duration, cloned bool) {
	if r.pause == 0 || lived > calmAfter {
		r.pause = minReplacePause
	} else {
		r.pause = min(2*r.pause, maxReplacePause)
	}
	r.recent = append(r.recent, now)
	if extra := len(r.recent) - cloneReplacements; extra > 0 {
		r.recent = slices.Delete(r.recent, 0, extra)
	}
	// Once the pauses are long, a few replacements take longer than at first.
	frequent := len(r.recent) == cloneReplacements && now.Sub(r.recent[0]) <= cloneWithin
	return r.pause, frequent || r.pause == maxReplacePause
}
