//go:build !zos

package relay

import (
	"fmt"
	"sync"
	"time"

	"pando/transport"
	"pando/tree/placement"
)

// maxTurn bounds how far ahead an agent is told to come back: one that waits
// longer had better look around again.
const maxTurn = 30 * time.Second

const (
	// nodeEvery and nodeBurst are the budget of one node within that of all.
	// A node opens a session when it starts, when it moves, and for its
	// standby; it does so again at once if that fails.
	nodeEvery = 500 * time.Millisecond
	nodeBurst = 8
	// maxVisitors bounds the nodes whose attempts are remembered. With more of
	// them at once, those beyond are held to the budget of all only.
	maxVisitors = maxSessions
)

// door lets agents in no faster than the relay has a budget for. A session
// that opens costs a second TLS handshake, an fsync and a claim by Raft; when a
// neighbour dies, its agents must not take the relay from those it has. Who is
// beyond the budget is refused before that, and told when to come back: each
// has a turn of its own, one interval after the other, so that a thousand who
// are refused together do not come back together. Turns are no promise; who
// comes first is let in first.
//
// A node that dials again and again takes neither the budget nor the turns of
// the others: it has a small budget of its own, and keeps its turn until that
// has come. Safe for concurrent use.
type door struct {
	interval time.Duration

	mu       sync.Mutex
	budget   *placement.Budget
	turn     time.Time // of whoever is refused next
	visitors map[string]visitor
	swept    time.Time // when the visitors were last looked through
}

// visitor is a node that came lately.
type visitor struct {
	full time.Time // when its own budget will be full again
	turn time.Time // that it was told, or zero
}

func newDoor(interval time.Duration, burst int) (*door, error) {
	b, err := placement.NewBudget(interval, burst)
	if err != nil {
		return nil, err
	}
	return &door{interval: interval, budget: b, visitors: map[string]visitor{}}, nil
}

// answer is the listener's answer to a HELLO.
func (d *door) answer(peer transport.Identity, _ transport.Hello) (transport.Welcome, error) {
	retry, own := d.ask(peer.Node(), time.Now())
	if retry == 0 {
		return transport.Welcome{}, nil
	}
	refusal := &transport.Refusal{Code: transport.CodeBusy, Retry: retry,
		Reason: fmt.Sprintf("this relay opens one session in %s, and many want one", d.interval),
		Hint:   fmt.Sprintf("try another relay, or come back in %s", retry.Round(time.Millisecond))}
	if own {
		refusal.Reason = fmt.Sprintf("%s wanted %d sessions at once; one in %s is what a node may have", peer.Node(), nodeBurst+1, nodeEvery)
	}
	return transport.Welcome{}, refusal
}

// ask grants a node one handshake and returns 0, or says how long to wait, and
// whether it is its own budget that is used up.
func (d *door) ask(node string, now time.Time) (retry time.Duration, own bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.visitors[node]
	ahead := max(0, min(v.full.Sub(now), nodeBurst*nodeEvery))
	if over := ahead + nodeEvery - nodeBurst*nodeEvery; over > 0 {
		return over, true
	}
	wait := d.budget.Take(now)
	if wait == 0 {
		d.remember(node, visitor{full: now.Add(ahead + nodeEvery)}, now)
		return 0, false
	}
	last := now.Add(maxTurn)
	if v.turn.After(now) && !v.turn.After(last) {
		return v.turn.Sub(now), false
	}
	turn := now.Add(wait)
	if d.turn.After(turn) {
		turn = d.turn
	}
	if turn.After(last) {
		turn = last
	}
	d.turn = turn.Add(d.interval)
	d.remember(node, visitor{full: v.full, turn: turn}, now)
	return turn.Sub(now), false
}

// remember keeps what is known of a node, if there is room.
func (d *door) remember(node string, v visitor, now time.Time) {
	if _, known := d.visitors[node]; !known && len(d.visitors) >= maxVisitors && now.Sub(d.swept).Abs() >= nodeEvery {
		d.swept = now
		for name, old := range d.visitors {
			if !old.full.After(now) && !old.turn.After(now) {
				delete(d.visitors, name)
			}
		}
	}
	if _, known := d.visitors[node]; known || len(d.visitors) < maxVisitors {
		d.visitors[node] = v
	}
}
