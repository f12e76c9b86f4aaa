package ops

import (
	"sync"
	"time"
)

// Seldom lets one of many like log lines through in a while: whoever can reach
// a port could fill the disk with lines about himself otherwise. Metrics count
// what it holds back. The zero value with Every set is ready; safe for
// concurrent use.
type Seldom struct {
	Every time.Duration // least time between two lines

	mu   sync.Mutex
	next time.Time // not before
	held int       // since the last line
}

// Allow reports whether a line may be written now, and how many were held back
// since the last one.
func (s *Seldom) Allow(now time.Time) (held int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		s.held++
		return 0, false
	}
	held, s.held = s.held, 0
	s.next = now.Add(s.Every)
	return held, true
}
