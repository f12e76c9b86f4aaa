package uplink

import (
	"errors"
	"time"

	"pando/transport"
)

// maxRest bounds how long a parent may ask to be left alone.
const maxRest = time.Minute

// errBusy says that every parent asked to come back later.
var errBusy = errors.New("every parent that is known asked to come back later")

// failed takes note of an attempt that came to nothing. A parent that is busy
// lives: it is left alone until the time it named, seed or not, and keeps its
// age as a candidate. Any other is passed over for a while.
func (u *Uplink) failed(addr string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if pause := asked(err); pause > 0 {
		put(u.resting, addr, now.Add(pause))
		return
	}
	put(u.down, addr, now.Add(penalty))
	for _, n := range u.nodes {
		if n.Addr == addr {
			u.since[n.Name] = now
		}
	}
}

// errSentBack says that a parent sends its children to one that was just lost: it
// does not know yet, as the followers of a leader whose host is gone.
var errSentBack = errors.New("sent to a parent that does not answer")

// sentBackPause is the longest pause before those that do not know yet are asked
// again: they notice by the same timeouts.
const sentBackPause = 250 * time.Millisecond

// ended takes note of the end of a session to a parent. One that fell silent is
// likely to answer no dial either.
func (u *Uplink) ended(s *transport.Session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.since[s.Peer().Node()]; known {
		u.since[s.Peer().Node()] = time.Now()
	}
	if errors.Is(s.Err(), transport.ErrPeerSilent) {
		put(u.down, s.RemoteAddr().String(), time.Now().Add(penalty))
	}
}

// isDown reports whether an address failed a moment ago.
func (u *Uplink) isDown(addr string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Now().Before(u.down[addr])
}

func put(m map[string]time.Time, addr string, until time.Time) {
	if len(m) >= maxNodes {
		clear(m)
	}
	m[addr] = until
}

// asked is the pause that a refusal names, or zero.
func asked(err error) time.Duration {
	var refusal *transport.Refusal
	if !errors.As(err, &refusal) || refusal.Code != transport.CodeBusy {
		return 0
	}
	return min(refusal.Retry, maxRest)
}

// rest is how long it takes until the first of the parents who asked for a
// pause may be asked again: one that lives and names a time is worth more than
// another attempt at those that fail. It is zero if there is none.
func (u *Uplink) rest() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	least := time.Duration(0)
	for addr, until := range u.resting {
		left := until.Sub(now)
		if left <= 0 {
			delete(u.resting, addr)
			continue
		}
		if least == 0 || left < least {
			least = left
		}
	}
	return least
}
