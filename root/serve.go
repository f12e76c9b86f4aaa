//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pando/root/consensus"
	"pando/transport"
	"pando/tree/wire"
)

const (
	// maxWaiting bounds the requests of one kind that a child has waiting
	// here; its credits bound their bytes. Beyond it, reading stops.
	maxWaiting = 1024
	// claimWindow is how many claims of one child are decided at once: a
	// relay that takes a thousand agents over need not wait for a thousand
	// commits in turn.
	claimWindow = 64
)

var errNotLeading = errors.New("not the leader")

// child is the session of a relay, or of a root that follows.
type child struct {
	r      *Root
	s      *transport.Session
	peer   transport.Identity
	cancel context.CancelCauseFunc

	digestBytes atomic.Uint64 // since the last look
	granted     uint64        // what it was told it may send; owned by [Root.grants]
	grantedAt   time.Time

	claims   *lineup                    // claims and asks
	digests  [transport.Lanes]chan *job // of bulk sections, which have a connection of their own, and of others
	findings *lineup
	forwards *lineup
}

// answer decides on a HELLO: a follower sends relays to the leader. Without one,
// or when it has just lost it, it takes them, to serve them when it leads or to
// pass on what they say.
func (r *Root) answer(peer transport.Identity, _ transport.Hello) (transport.Welcome, error) {
	if r.stopping.Load() {
		return transport.Welcome{}, &transport.Refusal{Code: transport.CodeClosed, Reason: "this root is stopping", Hint: "dial another root"}
	}
	if peer.Role == transport.RoleRelay {
		if r.barred() {
			return transport.Welcome{}, &transport.Refusal{Code: transport.CodeRefused, Reason: errDisputed.Error(), Hint: "start the other roots"}
		}
		if leader, ok := r.link.reachable(); ok {
			return transport.Welcome{Redirect: leader.Addr}, nil
		}
	}
	return transport.Welcome{}, nil
}

// serve answers one child until its session ends.
func (r *Root) serve(ctx context.Context, s *transport.Session) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &child{r: r, s: s, peer: s.Peer(), cancel: cancel,
		claims: newLineup(claimWindow), findings: newLineup(1), forwards: newLineup(claimWindow)}
	for lane := range c.digests {
		c.digests[lane] = make(chan *job, maxWaiting)
	}
	r.mu.Lock()
	r.children[c] = struct{}{}
	r.mu.Unlock()
	r.log.Info("child connected", "peer", c.peer.Node(), "role", c.peer.Role, "address", s.RemoteAddr().String())

	var wg sync.WaitGroup
	for lane := range transport.Lane(transport.Lanes) {
		wg.Go(func() {
			c.receive(ctx, lane, func() (transport.Message, error) { return s.Receive(ctx, lane) },
				func(m transport.Message) { s.Grant(lane, m.Cost()) })
		})
	}
	wg.Go(func() {
		c.receive(ctx, transport.LaneCritical, func() (transport.Message, error) { return s.ReceiveControl(ctx) }, func(transport.Message) {})
	})
	wg.Go(func() { c.claims.run(ctx, c.decideClaim, c.reply) })
	wg.Go(func() { c.findings.run(ctx, c.decideFindings, c.reply) })
	wg.Go(func() { c.forwards.run(ctx, c.decideForward, c.reply) })
	for lane := range c.digests {
		wg.Go(func() { c.settleDigests(ctx, transport.Lane(lane)) })
	}
	wg.Go(func() { c.sendNews(ctx) })
	wg.Go(func() { c.register(ctx) })
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
	reason := "session ended"
	if err := context.Cause(ctx); err != nil {
		reason = err.Error()
	}
	cancel(nil)
	s.Close(reason)
	wg.Wait()
	r.mu.Lock()
	delete(r.children, c)
	r.mu.Unlock()
	r.log.Info("child gone", "peer", c.peer.Node(), "role", c.peer.Role, "error", s.Err())
}

// receive takes messages of one channel off the session; the lane is that of
// its connection.
func (c *child) receive(ctx context.Context, lane transport.Lane, next func() (transport.Message, error), grant func(transport.Message)) {
	for {
		m, err := next()
		if err != nil {
			return
		}
		j := &job{m: m, lane: lane, relay: c.peer.Node(), done: make(chan struct{}), grant: func() { grant(m) }}
		if err := c.dispatch(ctx, j); err != nil {
			c.r.count.refused.Inc()
			c.r.log.Warn("child refused", "peer", c.peer.Node(), "error", err)
			c.cancel(err)
			return
		}
	}
}

// dispatch lines a message up with those of its kind.
func (c *child) dispatch(ctx context.Context, j *job) error {
	queue := c.digests[j.lane]
	switch k := j.m.Kind; {
	case k == wire.KindStatus:
		j.grant()
		return c.r.hear(c.peer, j.m.Body)
	case k == kindPulse && c.peer.Role == transport.RoleRoot:
		j.grant()
		return c.r.feel(c.peer.Node(), j.m.Body)
	case k == kindStanding && c.peer.Role == transport.RoleRoot:
		j.grant()
		return c.sayStanding(ctx, j.m.Body)
	case k == wire.KindForward && c.peer.Role == transport.RoleRoot:
		queue = c.forwards.jobs
	case k == wire.KindForward && c.peer.Role == transport.RoleRelay:
		return c.forwarded(ctx, j)
	case c.peer.Role != transport.RoleRelay:
		return fmt.Errorf("%w: message of kind %d from a %s", errMalformed, k, c.peer.Role)
	case k == wire.KindClaim || k == wire.KindAsk:
		queue = c.claims.jobs
	case k == wire.KindFindings:
		queue = c.findings.jobs
	case k == wire.KindDigest:
		c.digestBytes.Add(uint64(len(j.m.Body)))
	default:
		return fmt.Errorf("%w: message of kind %d from a relay", errMalformed, k)
	}
	select {
	case queue <- j:
	case <-ctx.Done():
	}
	return nil
}

// reply sends a job's answer and gives its credit back. An error that
// repeating does not cure ends the session.
func (c *child) reply(ctx context.Context, j *job) {
	if j.answer.Kind != 0 && c.s.SendControl(ctx, j.answer) != nil {
		return // the session is over
	}
	if j.err != nil {
		if ctx.Err() == nil {
			if errors.Is(j.err, errMalformed) {
				c.r.count.refused.Inc()
			}
			c.r.log.Warn("request failed", "peer", c.peer.Node(), "kind", j.m.Kind, "error", j.err)
			c.cancel(j.err)
		}
		return
	}
	j.grant()
}

// decideClaim answers a claim or an ask; a status has no answer.
func (c *child) decideClaim(ctx context.Context, j *job) (transport.Message, error) {
	if j.m.Kind == wire.KindStatus {
		c.registerBelow(ctx, j.relay)
		return transport.Message{}, nil
	}
	if j.m.Kind == wire.KindAsk {
		var m wire.Ask
		if err := wire.Decode(j.m.Body, &m); err != nil {
			return transport.Message{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		var a wire.DigestAnswer
		id := m.ID
		err := c.decideAs(ctx, j.relay, &a, func(own uint64) transport.Message { m.ID = own; return wire.Encode(&m) })
		a.ID = id
		return wire.Encode(&a), err
	}
	var m wire.Claim
	if err := wire.Decode(j.m.Body, &m); err != nil {
		return transport.Message{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if m.Origin == "" || m.WAL == 0 {
		return transport.Message{}, fmt.Errorf("%w: a claim without an origin or a WAL id", errMalformed)
	}
	var a wire.ClaimAnswer
	id := m.ID
	err := c.decideAs(ctx, j.relay, &a, func(own uint64) transport.Message { m.ID = own; return wire.Encode(&m) })
	a.ID = id
	if err == nil {
		c.r.watch.claimed(j.relay, &a)
	}
	return wire.Encode(&a), err
}

// decideAs gets a relay's request decided and reads the answer. On error there
// is none.
func (c *child) decideAs(ctx context.Context, relay string, answer wire.Message, fill func(id uint64) transport.Message) error {
	m, err := c.r.decide(ctx, c.r.newRequest(relay, fill))
	if err != nil {
		return err
	}
	return wire.Decode(m.Body, answer)
}

func (c *child) decideFindings(ctx context.Context, j *job) (transport.Message, error) {
	var m wire.Findings
	if err := wire.Decode(j.m.Body, &m); err != nil {
		return transport.Message{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	id := m.ID
	if c.r.fsm.view().logic < testsLogic {
		for i := range m.Expect {
			m.Expect[i].Known.Tests = nil
		}
	}
	c.r.watch.observed(j.relay, m.Findings)
	if err := c.r.commitFindings(ctx, j.relay, &m); err != nil {
		c.r.watch.retracted(j.relay, m.Findings)
		return transport.Message{}, err
	}
	return wire.Encode(&wire.Done{ID: id}), nil
}

// decideForward answers what another root passes on, which only the leader
// does, or the findings that a relay passes on.
func (c *child) decideForward(ctx context.Context, j *job) (transport.Message, error) {
	if c.peer.Role == transport.RoleRelay {
		return c.decideFindings(ctx, j)
	}
	var f wire.Forward
	if err := wire.Decode(j.m.Body, &f); err != nil {
		return transport.Message{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	q := request{relay: f.Relay, body: transport.Message{Kind: f.Kind, Body: f.Body}}
	if q.body.Kind == kindVote || q.body.Kind == kindRead {
		q.relay = c.peer.Node() // a root speaks for itself only
	}
	var err error
	if q.id, err = idOf(f.Body); err != nil {
		return transport.Message{}, err
	}
	if f.Kind == wire.KindFindings {
		var m wire.Findings
		if wire.Decode(f.Body, &m) == nil {
			c.r.watch.observed(f.Relay, m.Findings)
		}
	}
	for {
		answer, err := c.r.here(ctx, q)
		if !errors.Is(err, consensus.ErrBusy) || !pause(ctx, lastRetry) {
			return answer, err
		}
	}
}
