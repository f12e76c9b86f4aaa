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

// door lets agents in no faster than the relay has a budget for. A session
// that opens costs a second TLS handshake, an fsync and a claim by Raft; when a
// neighbour dies, its agents must not take the relay from those it has. Who is
// beyond the budget is refused before that, and told when to come back: each
// has a turn of its own, one interval after the other, so that a thousand who
// are refused together do not come back together. Turns are no promise; who
// comes first is let in first. Safe for concurrent use.
type door struct {
	interval time.Duration

	mu     sync.Mutex
	budget *placement.Budget
	turn   time.Time // of whoever is refused next
}

func newDoor(interval time.Duration, burst int) (*door, error) {
	b, err := placement.NewBudget(interval, burst)
	if err != nil {
		return nil, err
	}
	return &door{interval: interval, budget: b}, nil
}

// answer is the listener's answer to a HELLO.
func (d *door) answer(transport.Identity, transport.Hello) (transport.Welcome, error) {
	retry := d.ask(time.Now())
	if retry == 0 {
		return transport.Welcome{}, nil
	}
	return transport.Welcome{}, &transport.Refusal{Code: transport.CodeBusy, Retry: retry,
		Reason: fmt.Sprintf("this relay opens one session in %s, and many want one", d.interval),
		Hint:   fmt.Sprintf("try another relay, or come back in %s", retry.Round(time.Millisecond))}
}

// ask grants one handshake and returns 0, or says how long to wait.
func (d *door) ask(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait := d.budget.Take(now)
	if wait == 0 {
		return 0
	}
	turn := now.Add(wait)
	if d.turn.After(turn) {
		turn = d.turn
	}
	if last := now.Add(maxTurn); turn.After(last) {
		turn = last
	}
	d.turn = turn.Add(d.interval)
	return turn.Sub(now)
}
