package transport

import (
	"context"
	"sync"
)

// account is what this side may still send on one channel. A message may
// start while any credit is left and may overdraw it: so one larger than the
// whole window passes, and a lane holds at most the window and one message.
type account struct {
	turn chan struct{} // capacity 1; held by the sender whose message is next
	more chan struct{} // capacity 1; credit came

	mu      sync.Mutex
	balance Credit
}

func newAccount(balance Credit) *account {
	return &account{turn: make(chan struct{}, 1), more: make(chan struct{}, 1), balance: balance}
}

// take spends cost and reports true, or reports false if nothing is left.
func (a *account) take(cost Credit) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.balance <= 0 {
		return false
	}
	a.balance -= cost
	return true
}

// give adds credit; false means that the peer gave more than there can be.
func (a *account) give(n Credit) bool {
	a.mu.Lock()
	a.balance += n
	ok := a.balance <= maxCredit
	a.mu.Unlock()
	signal(a.more)
	return ok
}

// inbox holds what came in on one channel and was not received yet. The
// reader fills it, Receive empties it.
type inbox struct {
	arrived chan struct{} // capacity 1; the queue is not empty

	mu      sync.Mutex
	queue   []Message // from head on
	head    int
	allowed Credit // what the peer may still send; below zero by one message at most

	// Owned by the reader: the message whose chunks are coming in.
	partial Message
	have    int
	open    bool
}

func newInbox(allowed Credit) *inbox {
	return &inbox{arrived: make(chan struct{}, 1), allowed: allowed}
}

// charge takes a message that begins to arrive off the allowance; false means
// that the peer did not have the credit for it.
func (in *inbox) charge(cost Credit) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.allowed <= 0 {
		return false
	}
	in.allowed -= cost
	return true
}

// allow raises the allowance by n and returns by how much it really rose.
func (in *inbox) allow(n Credit) Credit {
	in.mu.Lock()
	defer in.mu.Unlock()
	n = min(n, maxCredit-max(in.allowed, 0))
	in.allowed += n
	return n
}

func (in *inbox) push(m Message) {
	in.mu.Lock()
	if len(in.queue) == cap(in.queue) && in.head > len(in.queue)/2 {
		kept := copy(in.queue, in.queue[in.head:])
		clear(in.queue[kept:])
		in.queue, in.head = in.queue[:kept], 0
	}
	in.queue = append(in.queue, m)
	in.mu.Unlock()
	signal(in.arrived)
}

func (in *inbox) pop() (Message, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.head == len(in.queue) {
		return Message{}, false
	}
	m := in.queue[in.head]
	in.queue[in.head] = Message{}
	in.head++
	if in.head == len(in.queue) {
		in.queue, in.head = in.queue[:0], 0
	} else {
		signal(in.arrived) // for a second receiver
	}
	return m, true
}

// receive waits for the next message. What had arrived when the session ended
// is still handed out.
func (in *inbox) receive(ctx context.Context, done <-chan struct{}) (Message, bool, error) {
	for {
		if m, ok := in.pop(); ok {
			return m, true, nil
		}
		select {
		case <-in.arrived:
		case <-ctx.Done():
			return Message{}, false, context.Cause(ctx)
		case <-done:
			m, ok := in.pop()
			return m, ok, nil
		}
	}
}

// signal wakes a waiter on a channel of capacity 1; a signal that is already
// pending stands for this one too.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
