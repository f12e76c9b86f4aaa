//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pando/internal/pack"
	"pando/transport"
	"pando/tree/wire"
)

// errAuthority reports a relay that speaks for one that its certificate does
// not let it speak for; its session ends.
var errAuthority = errors.New("the certificate does not cover it")

// mayName reports, as an error, why the child may not speak for a relay.
func (c *child) mayName(relay string) error {
	if relay == c.peer.Node() || c.peer.SpeaksFor(relay) {
		return nil
	}
	return fmt.Errorf("%s speaks for %s: %w", c.peer, relay, errAuthority)
}

// forwarded lines up what a relay passes on for another one below it, as if it
// had come from that one. Requests of several relays come together, so they
// are not decided one after another; a relay has its own under way in order.
func (c *child) forwarded(ctx context.Context, j *job) error {
	var f wire.Forward
	if err := wire.Decode(j.m.Body, &f); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if err := c.mayName(f.Relay); err != nil {
		return err
	}
	j.relay, j.m = f.Relay, transport.Message{Kind: f.Kind, Body: f.Body}
	queue := c.forwards.jobs
	switch f.Kind {
	case wire.KindStatus:
		region, name := splitNode(f.Relay)
		if err := c.r.hear(transport.Identity{Role: transport.RoleRelay, Region: region, Name: name}, f.Body); err != nil {
			return err
		}
		queue = c.claims.jobs // it may have to be registered
	case wire.KindClaim, wire.KindAsk:
		queue = c.claims.jobs
	case wire.KindFindings:
	default:
		return fmt.Errorf("%w: message of kind %d passed on for a relay", errMalformed, f.Kind)
	}
	select {
	case queue <- j:
	case <-ctx.Done():
	}
	return nil
}

// registerBelow puts a relay that another one speaks for into the replicated
// list of nodes. Its status comes again, so a failure is none.
func (c *child) registerBelow(ctx context.Context, relay string) {
	if _, ok := c.r.fsm.view().nodes.Get(relay); ok {
		return
	}
	c.r.mu.Lock()
	n := c.r.statuses[relay].report.Node
	c.r.mu.Unlock()
	m := member{name: relay, role: string(transport.RoleRelay), region: n.Region, addr: n.Address[:min(len(n.Address), maxName)]}
	if _, _, err := c.r.node.Propose(ctx, nodeCommand(c.r.time.Now(), m)); err != nil {
		c.r.log.Debug("relay not registered", "relay", relay, "error", err)
	}
}

// portion is the sections of one relay in some digests.
type portion struct {
	relay    string
	sections [][]byte
	at       []int // where each stands among all
}

// portions parts sections by the relay that cut them, and checks that the child
// may speak for it. What cannot be read is the child's own: judging it says so.
func (c *child) portions(sections [][]byte) ([]*portion, error) {
	var list []*portion
	byRelay := map[string]*portion{}
	for i, b := range sections {
		relay := c.peer.Node()
		r := pack.NewReader(b)
		if h := wire.ReadHead(r); r.Err() == nil {
			relay = h.Relay
		}
		if err := c.mayName(relay); err != nil {
			return nil, err
		}
		s := byRelay[relay]
		if s == nil {
			s = &portion{relay: relay}
			byRelay[relay], list = s, append(list, s)
		}
		s.sections, s.at = append(s.sections, b), append(s.at, i)
	}
	return list, nil
}

// settle has sections judged in the names of the relays that cut them. Those of
// one relay keep their order; relays do not wait for each other, so that their
// commands share an entry.
func (c *child) settle(ctx context.Context, lane transport.Lane, sections [][]byte) ([]wire.Judgement, error) {
	list, err := c.portions(sections)
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		return c.r.settle(ctx, list[0].relay, lane, sections)
	}
	out := make([]wire.Judgement, len(sections))
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for n, s := range list {
		all.Go(func() {
			judged, err := c.r.settle(ctx, s.relay, lane, s.sections)
			errs[n] = err
			for i := range judged {
				out[s.at[i]] = judged[i]
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}
