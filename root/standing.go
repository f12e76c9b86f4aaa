//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pando/internal/pack"
	"pando/transport"
)

// A root that was removed while it was away does not hear of it: nobody sends
// it entries any more, and its elections are refused. So a root without a
// leader asks the others whether it is still a member.

const (
	// standEvery is how often a root looks whether it has a leader; after
	// lonelyFor without one, longer than an election takes, it asks.
	standEvery = 250 * time.Millisecond
	lonelyFor  = 2 * time.Second
)

// ErrRemoved reports a root that was taken out of its group. It must stop; to
// come back it is added again, with an empty folder.
var ErrRemoved = errors.New("this root was removed from its group")

// votes reports whether this root has a vote.
func (r *Root) votes() bool {
	m, ok := r.node.Group().Find(r.name)
	return ok && m.Voter
}

// stand watches whether this root is still a member.
func (r *Root) stand(ctx context.Context) {
	lonely := time.Now()
	for pause(ctx, standEvery) {
		if r.Leader() != "" || r.node.Group().Index == 0 {
			lonely = time.Now()
			continue
		}
		if time.Since(lonely) < lonelyFor {
			continue
		}
		lonely = time.Now()
		if err := r.askStanding(ctx); err != nil {
			r.removed <- err
			return
		}
	}
}

// askStanding asks the other roots in turn and returns an error that wraps
// ErrRemoved if one of them knows that this one is no member.
func (r *Root) askStanding(ctx context.Context) error {
	own := r.node.Group().Index
	others := append(r.Configured(), r.book()...)
	asked := map[string]bool{r.name: true}
	for _, s := range others {
		if asked[s.Addr] || s.Name == r.name {
			continue
		}
		asked[s.Addr] = true
		member, index, err := r.standingAt(ctx, s)
		if err != nil {
			r.log.Debug("a root does not say whether this one is a member", "root", s.Name, "error", err)
			continue
		}
		// One that has an older configuration than this root may not have
		// heard yet that it was added.
		if !member && index > 0 && index >= own {
			return fmt.Errorf("%s says that %s is no member since entry %d: %w", s.Name, r.name, index, ErrRemoved)
		}
	}
	return nil
}

// standingAt asks one root whether this one is a member, and by which
// configuration.
func (r *Root) standingAt(ctx context.Context, s Server) (member bool, index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, linkDial)
	defer cancel()
	session, err := transport.Dial(ctx, s.Addr, transport.Hello{Term: r.link.nextTerm(), Want: s.Name}, r.topts)
	if err != nil {
		return false, 0, err
	}
	defer session.Close("asked")
	w := pack.NewWriter()
	w.Uint(r.requestID.Add(1))
	if err := session.SendControl(ctx, transport.Message{Kind: kindStanding, Body: w.Bytes()}); err != nil {
		return false, 0, err
	}
	for {
		m, err := session.ReceiveControl(ctx)
		if err != nil {
			return false, 0, err
		}
		if m.Kind != kindStandingAnswer {
			continue
		}
		b := pack.NewReader(m.Body)
		b.Uint("id", 1<<63)
		member, index = b.Bool("member"), b.Uint("index", math.MaxUint64)
		return member, index, b.Done()
	}
}

// sayStanding answers another root's question. Whoever has a leader is up to
// date, or the one that asks would have that leader too.
func (c *child) sayStanding(ctx context.Context, body []byte) error {
	id, err := idOf(body)
	if err != nil {
		return err
	}
	g := c.r.node.Group()
	_, member := g.Find(c.peer.Node())
	if c.r.Leader() == "" {
		g.Index = 0 // it may be out of date itself: this proves nothing
	}
	w := pack.NewWriter()
	w.Uint(id)
	w.Bool(member)
	w.Uint(g.Index)
	_ = c.s.SendControl(ctx, transport.Message{Kind: kindStandingAnswer, Body: w.Bytes()}) // it will ask again
	return nil
}
