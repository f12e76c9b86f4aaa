//go:build !zos

package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pando/event"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// child is one session with an agent.
type child struct {
	id       uint64
	s        *transport.Session
	out      chan journal.Output // what the core says to it
	vouches  vouches
	news     chan struct{} // capacity 1: there is another directory
	granted  [transport.Lanes]chan grant
	opened   atomic.Bool        // it has its units open, or is about to
	leaving  bool               // it has no place among its node's sessions any more; Relay.mu's
	logged   bool               // the log knows that it wanted to; of the goroutine that listens
	reported time.Time          // when its last status was taken; of the same
	behind   context.CancelFunc // ends the session of a child that does not take what is said
}

// grant gives credit back once the log is synced up to at.
type grant struct {
	cost transport.Credit
	at   wal.Seq
}

const (
	// childQueue bounds what the core may have said that a child did not
	// take: acknowledgements, mostly. A child behind it is hung up on, and
	// resumes with a new session.
	childQueue = 4096
	// grantQueue bounds the messages of a lane that are in the log and whose
	// credit was not given back; credit bounds their bytes. Nothing is taken
	// off the connection beyond it.
	grantQueue = 8192
	// holdBack is how many batches of a unit may wait for settlement before
	// its lane gets no credit: with what may be under way then, they stay
	// below custody.MaxHeld.
	holdBack = custody.MaxHeld / 2
	// holdBackAll is the same of all units together, about 110 MB.
	holdBackAll = 1 << 20
	// heldEvery is how many grants pass between two looks at what is held,
	// and heldPause how often to look while it is too much.
	heldEvery = 64
	heldPause = 100 * time.Millisecond
	// farewell is how long an agent has to act on a refusal and to leave by
	// itself: closing at once could take the refusal from it.
	farewell = time.Second
	// maxSessions bounds the children of one relay, and maxOfNode those of one
	// node: a parent's session, a standby's, and one more while it moves.
	maxSessions = 16384
	maxOfNode   = 3
)

func (r *Relay) accept(ctx context.Context) error {
	r.awaitTime(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		s, err := r.listener.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, transport.ErrClosed) {
				return nil
			}
			return err
		}
		if s.Peer().Role == transport.RoleRelay {
			all.Go(func() { r.serveLower(ctx, s) })
			continue
		}
		c, oldest, err := r.enroll(s)
		if oldest != nil {
			// It may take its time to leave, and others wait.
			all.Go(func() { oldest.s.Close("a newer session of this node needs the place") })
		}
		if err != nil {
			r.count.refused.WithLabelValues("crowd").Inc()
			r.log.Warn("child refused", "child", s.Peer().Node(), "address", s.RemoteAddr().String(), "error", err)
			all.Go(func() { s.Close(err.Error()) })
			continue
		}
		all.Go(func() { r.serve(ctx, c) })
	}
}

// enroll takes a session in. If its node has all that it may, the oldest one
// without units is to make room.
func (r *Relay) enroll(s *transport.Session) (c, oldest *child, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.sessions) >= maxSessions {
		return nil, nil, errors.New("this relay has all the children it may")
	}
	node := s.Peer().Node()
	if r.nodes[node] >= maxOfNode {
		for _, x := range r.sessions {
			if x.s.Peer().Node() == node && !x.leaving && !x.opened.Load() && (oldest == nil || x.id < oldest.id) {
				oldest = x
			}
		}
		if oldest == nil {
			return nil, nil, fmt.Errorf("%s has its units open in the %d sessions that a node may have here", node, maxOfNode)
		}
		r.leaveLocked(oldest)
		r.log.Warn("oldest session ends: its node opens more than it needs", "child", node, "address", oldest.s.RemoteAddr().String(),
			"new_address", s.RemoteAddr().String(), "most", maxOfNode)
	}
	r.next++
	c = &child{id: r.next, s: s, out: make(chan journal.Output, childQueue), news: make(chan struct{}, 1)}
	c.vouches.wake = make(chan struct{}, 1)
	for lane := range c.granted {
		c.granted[lane] = make(chan grant, grantQueue)
	}
	r.sessions[c.id] = c
	r.nodes[node]++
	return c, oldest, nil
}

// leaveLocked gives up a session's place among those of its node, once.
func (r *Relay) leaveLocked(c *child) {
	if c.leaving {
		return
	}
	c.leaving = true
	node := c.s.Peer().Node()
	if r.nodes[node]--; r.nodes[node] == 0 {
		delete(r.nodes, node)
	}
}

func (r *Relay) closeSessions(reason string) {
	r.mu.Lock()
	r.closed = true
	list := make([]*child, 0, len(r.sessions))
	for _, c := range r.sessions {
		list = append(list, c)
	}
	r.mu.Unlock()
	var all sync.WaitGroup // each may take its time to leave
	for _, c := range list {
		all.Go(func() { c.s.Close(reason) })
	}
	all.Wait()
}

// serve runs one session until it is over.
func (r *Relay) serve(run context.Context, c *child) {
	ctx, cancel := context.WithCancel(run)
	defer cancel()
	c.behind = cancel
	var parts sync.WaitGroup
	parts.Go(func() { r.talk(ctx, c) })
	parts.Go(func() { r.writeVouches(ctx, c) })
	for lane := range transport.Lane(transport.Lanes) {
		parts.Go(func() { r.grants(ctx, c, lane) })
		parts.Go(func() { r.batches(ctx, c, lane) })
	}
	nudge(c.news)
	r.listenTo(ctx, c)
	c.s.Close("over")
	cancel()
	parts.Wait()
	r.mu.Lock()
	delete(r.sessions, c.id)
	r.leaveLocked(c)
	r.mu.Unlock()
	if c.logged {
		if err := r.close(c.id); err != nil && !errors.Is(err, wal.ErrFull) {
			r.log.Error("append to the log", "error", err)
		}
	}
}

// append writes a record that a session causes. A full disk ends sessions,
// not the relay: their agents keep what has no acknowledgement.
func (r *Relay) append(kind uint8, body []byte, urgent bool) (wal.Seq, bool) {
	at, err := r.journal.Append(kind, body, urgent)
	if err != nil {
		r.log.Error("append to the log", "error", err)
	}
	return at, err == nil
}

var errLog = errors.New("this relay's log takes nothing")

func (r *Relay) open(c *child, body []byte) error {
	if c.logged {
		return errors.New("units opened twice in one session")
	}
	o := opening{Session: c.id, Origin: c.s.Peer().Node()}
	if err := wire.Decode(body, &o.Open); err != nil {
		return err
	}
	if o.Open.WAL == 0 {
		return errors.New("open without a WAL id")
	}
	stamp, err := r.clock.Stamp()
	if err != nil {
		return err
	}
	o.HLC = uint64(stamp)
	c.opened.Store(true)
	if err := r.pay(); err != nil { // the end of the agent's last session comes first
		return fmt.Errorf("%w: %w", errLog, err)
	}
	if _, c.logged = r.append(recOpen, o.encode(), true); !c.logged {
		return errLog
	}
	c.opened.Store(r.live(c)) // or it was refused, and will be hung up on
	return nil
}

// live reports whether the core has the session's units open. What another one
// sends would be logged for nothing.
func (r *Relay) live(c *child) (yes bool) {
	r.journal.View(func(k journal.Core) { yes = k.(*core).sessions[c.id] != nil })
	return yes
}

// batches takes one lane's batches into the log.
func (r *Relay) batches(ctx context.Context, c *child, lane transport.Lane) {
	for {
		m, err := c.s.Receive(ctx, lane)
		if err != nil {
			return
		}
		if m.Kind != wire.KindBatch || !c.opened.Load() {
			r.count.refused.WithLabelValues("protocol").Inc()
			c.s.Close(fmt.Sprintf("message kind %d on the %s lane, units open: %t", m.Kind, lane, c.opened.Load()))
			return
		}
		if !r.live(c) {
			return // it is about to end, and nothing more is taken from it
		}
		// Checked before it is logged: a record that cannot be read back
		// would be damage.
		var b wire.Batch
		if err := wire.Decode(m.Body, &b); err != nil {
			r.count.refused.WithLabelValues("malformed").Inc()
			r.log.Warn("malformed batch", "child", c.s.Peer().Node(), "error", err)
			c.s.Close(err.Error())
			return
		}
		at, ok := r.append(recBatch, encodeArrival(c.id, uint8(lane), r.now(), m.Body), lane == transport.LaneCritical)
		if !ok {
			c.s.Close("this relay's log takes nothing")
			return
		}
		select {
		case c.granted[lane] <- grant{m.Cost(), at}:
		case <-ctx.Done():
			return
		}
	}
}

// grants gives a lane's credit back for what the disk holds: the window moves
// no faster than the disk, nor than the child's quota. While too much waits for the root it does not move
// at all, and the rest stays on the agent's disk.
func (r *Relay) grants(ctx context.Context, c *child, lane transport.Lane) {
	win, quota := r.credit.window(lane), quota{rate: float64(r.opts.ChildBytesPerS)}
	defer win.close()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case g := <-c.granted[lane]:
			if r.journal.Log().Wait(ctx, g.at) != nil {
				return
			}
			for n%heldEvery == 0 && r.holdsTooMuch(c.id, event.Lane(lane)) {
				select {
				case <-ctx.Done():
					return
				case <-time.After(heldPause):
				}
			}
			if !quota.wait(ctx, g.cost) {
				return
			}
			c.s.Grant(lane, win.taken(g.cost, time.Now()))
		}
	}
}

// holdsTooMuch reports whether too many batches wait for settlement, of a
// session's lane or of all.
func (r *Relay) holdsTooMuch(session uint64, lane event.Lane) (tooMuch bool) {
	if r.crowded.Load() {
		return true
	}
	r.journal.View(func(k journal.Core) { tooMuch = k.(*core).held(session, lane) >= holdBack })
	return tooMuch
}

// talk passes on what the core says to the child.
func (r *Relay) talk(ctx context.Context, c *child) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.news:
			if r.sendDirectory(ctx, c.s) != nil {
				return
			}
		case o := <-c.out:
			if o.Kind == wire.KindRefused {
				r.noteRefusal(c, o.Body)
			}
			if o.Kind == outHangUp {
				select {
				case <-ctx.Done():
				case <-c.s.Done():
				case <-time.After(farewell):
				}
				c.s.Close(string(o.Body))
				return
			}
			if c.s.SendControl(ctx, transport.Message{Kind: o.Kind, Body: o.Body}) != nil {
				return
			}
		}
	}
}

// deliver takes what the core says, once it is on disk.
func (r *Relay) deliver(outs []journal.Output) {
	lost, over := r.lostHeld.Load(), false
	defer func() {
		if over {
			r.lostHeld.Add(-lost)
		}
	}()
	for _, o := range outs {
		to, id := Address(o)
		switch to {
		case ToRoot:
			r.upstream.put(o)
			continue
		case ToOperators:
			if o.Kind == outWindows {
				r.show(o.Body)
			} else {
				over = r.announce(o.Body, lost) || over
			}
			continue
		}
		r.mu.Lock()
		c := r.sessions[id]
		r.mu.Unlock()
		if c == nil {
			continue
		}
		if o.Kind == outHangUp {
			time.AfterFunc(2*farewell, c.behind) // also if it does not listen to what comes before
		}
		select {
		case c.out <- o:
		default:
			r.log.Warn("child does not take its acknowledgements", "child", c.s.Peer().Node())
			c.behind()
		}
	}
}
