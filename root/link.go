//go:build !zos

package root

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"pando/internal/pack"
	"pando/transport"
	"pando/tree/placement"
	"pando/tree/status"
	"pando/tree/wire"
)

const (
	// linkPause is how often a follower looks whether there is a new leader,
	// and the least it waits before it dials the same one again; linkPauseMax
	// is the most. A session that lasted so long was a success.
	linkPause    = 20 * time.Millisecond
	linkPauseMax = time.Second
	// linkDial bounds one attempt to reach the leader.
	linkDial = 2 * time.Second
)

// errNoLink reports that the leader was lost before it answered.
var errNoLink = errors.New("the session to the leader ended")

// link is a follower's session to the leader. It passes requests on and takes
// the leader's time.
type link struct {
	r       *Root
	epoch   uint64
	backoff *placement.Backoff // of run

	mu      sync.Mutex
	term    uint64
	session *transport.Session
	lost    Server                            // whose session ended last, while there is no other
	waiting map[uint64]chan transport.Message // by request id; at most what children have in flight
}

func newLink(r *Root) (*link, error) {
	backoff, err := placement.NewBackoff(placement.BackoffOptions{Base: linkPause, Cap: linkPauseMax, Rand: rand.Int64N})
	if err != nil {
		return nil, err
	}
	// The term of these sessions fences nothing; it must only rise.
	return &link{r: r, epoch: uint64(max(r.opts.Wall(), 0)), backoff: backoff, waiting: map[uint64]chan transport.Message{}}, nil
}

// call sends a request to the leader and waits for its answer.
func (l *link) call(ctx context.Context, q request) (transport.Message, error) {
	l.mu.Lock()
	s := l.session
	if s == nil {
		l.mu.Unlock()
		return transport.Message{}, ErrNoLeader
	}
	answer := make(chan transport.Message, 1)
	l.waiting[q.id] = answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, q.id)
		l.mu.Unlock()
	}()
	m := wire.Encode(&wire.Forward{Relay: q.relay, Kind: q.body.Kind, Body: q.body.Body})
	if err := s.Send(ctx, q.lane, m); err != nil {
		return transport.Message{}, fmt.Errorf("pass on to the leader: %w", err)
	}
	l.r.count.forwarded.Inc()
	select {
	case m := <-answer:
		return m, nil
	case <-ctx.Done():
		return transport.Message{}, context.Cause(ctx)
	case <-s.Done():
		return transport.Message{}, errNoLink
	}
}

// run keeps a session to the leader while another root is it. A leader that
// refuses this root is tried ever more rarely, a new one at once.
func (l *link) run(ctx context.Context) {
	var last Server
	for {
		leader, ok := l.leader()
		if !ok || leader != last {
			l.backoff.Reset()
		}
		last = leader
		if !ok {
			if !pause(ctx, linkPause) {
				return
			}
			continue
		}
		began := l.r.clock.Mono()
		l.connect(ctx, leader)
		if time.Duration(l.r.clock.Mono()-began) >= linkPauseMax {
			l.backoff.Reset()
		}
		if !l.rest(ctx, leader, l.backoff.Next()) {
			return
		}
	}
}

// rest pauses for d, or until leader leads no longer. It is false when ctx has
// ended.
func (l *link) rest(ctx context.Context, leader Server, d time.Duration) bool {
	for ; d > 0; d -= linkPause {
		if !pause(ctx, min(d, linkPause)) {
			return false
		}
		if now, ok := l.leader(); !ok || now != leader {
			break
		}
	}
	return true
}

// leader returns another root that leads.
func (l *link) leader() (Server, bool) {
	id := l.r.Leader()
	if id == "" || id == l.r.name {
		return Server{}, false
	}
	return l.r.server(id)
}

// connect dials the leader and uses the session until it ends or another
// leads.
func (l *link) connect(ctx context.Context, leader Server) {
	dctx, cancel := context.WithTimeout(ctx, linkDial)
	var watch sync.WaitGroup
	watch.Go(func() { // a leader whose host is gone answers no dial, and another one may lead by then
		for pause(dctx, linkPause) {
			if now, ok := l.leader(); !ok || now != leader {
				cancel()
			}
		}
	})
	s, err := transport.Dial(dctx, leader.Addr, transport.Hello{Term: l.nextTerm(), Want: leader.Name}, l.r.topts)
	cancel()
	watch.Wait()
	if err != nil {
		l.r.log.Debug("the leader is not reachable", "leader", leader.Name, "error", err)
		return
	}
	l.mu.Lock()
	l.session, l.lost = s, Server{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.session, l.lost = nil, leader
		l.mu.Unlock()
		s.Close("the leader changed, or this root stops")
	}()
	var wg sync.WaitGroup
	defer wg.Wait()
	lctx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { l.receive(lctx, s) })
	for {
		select {
		case <-s.Done():
			return
		default:
		}
		if now, ok := l.leader(); !ok || now != leader || !pause(lctx, linkPause) {
			return
		}
	}
}

// receive hands answers to those who wait for them.
func (l *link) receive(ctx context.Context, s *transport.Session) {
	for {
		m, err := s.ReceiveControl(ctx)
		if err != nil {
			return
		}
		switch m.Kind {
		case wire.KindClaimAnswer, wire.KindDigestAnswer, wire.KindDone, kindReadAnswer:
		default:
			continue
		}
		id := pack.NewReader(m.Body).Uint("id", 1<<63) // every answer starts with it
		l.mu.Lock()
		answer := l.waiting[id]
		delete(l.waiting, id)
		l.mu.Unlock()
		if answer != nil {
			answer <- m
		}
	}
}

// reachable returns another root that leads, unless the session to it was lost:
// then it may be gone, and this root has not noticed yet that it leads no more.
func (l *link) reachable() (Server, bool) {
	leader, ok := l.leader()
	l.mu.Lock()
	defer l.mu.Unlock()
	return leader, ok && leader != l.lost
}

// tell sends this root's status to the leader; it may be missed.
func (l *link) tell(ctx context.Context, n status.Node) {
	doc, err := json.Marshal(status.Report{Node: n})
	if err != nil || len(doc) > wire.MaxStatus {
		return
	}
	l.send(ctx, wire.Encode(&wire.Status{JSON: doc}))
}

// send sends the leader a message that may be lost: the next one comes soon.
func (l *link) send(ctx context.Context, m transport.Message) {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, linkDial)
	defer cancel()
	_ = s.SendControl(ctx, m)
}

// nextTerm is the term of the next session of this root.
func (l *link) nextTerm() transport.Term {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term++
	return transport.Term{Epoch: l.epoch, Session: l.term}
}
