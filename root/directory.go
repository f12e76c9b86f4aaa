//go:build !zos

package root

import (
	"context"
	"time"

	"pando/transport"
	"pando/tree/wire"
)

// rehomePause is how often a follower looks for relays that belong to the
// leader.
const rehomePause = 50 * time.Millisecond

// leaderWeight is the leader's weight in the directory. A follower's is 0: it
// stays a known address, and takes no relay while another root leads.
const leaderWeight = 100

// directory lists the roots. While a leader is known, only it takes relays.
func (r *Root) directory() *wire.Directory {
	leader := r.Leader()
	d := &wire.Directory{}
	for _, s := range r.Servers() {
		region, _ := splitNode(s.Name)
		n := wire.Node{Name: s.Name, Region: region, Addr: s.Addr}
		if leader == "" || leader == s.Name {
			n.Weight = leaderWeight
		}
		d.Nodes = append(d.Nodes, n)
	}
	return d
}

// directoryChanged wakes those who send the directory and the patterns.
func (r *Root) directoryChanged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.news)
	r.news = make(chan struct{})
}

// sendNews tells a child who may be its parent, and a relay the patterns in
// force, at the start and whenever that changes. Only a leader speaks of patterns:
// another root may not have applied the newest set, and a relay would drop runs.
func (c *child) sendNews(ctx context.Context) {
	told := uint64(0) // version of the patterns
	for {
		c.r.mu.Lock()
		news := c.r.news
		c.r.mu.Unlock()
		if c.s.SendControl(ctx, wire.Encode(c.r.directory())) != nil {
			return
		}
		if m, ok := c.r.fsm.view().patternsMessage(); ok && m.Version != told && c.peer.Role == transport.RoleRelay && c.r.Leading() {
			if c.s.SendControl(ctx, wire.Encode(m)) != nil {
				return
			}
			told = m.Version
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}

// rehome watches who leads. When it is another root, relays are sent away,
// for they should be where their answers are decided.
func (r *Root) rehome(ctx context.Context) {
	last := ""
	for {
		if now := r.Leader(); now != last {
			last = now
			r.directoryChanged()
		}
		if leader, ok := r.link.reachable(); ok && leader.Addr != "" {
			r.mu.Lock()
			for c := range r.children {
				if c.peer.Role == transport.RoleRelay {
					c.cancel(errNotLeading)
				}
			}
			r.mu.Unlock()
		}
		if !pause(ctx, rehomePause) {
			return
		}
	}
}

// register puts a relay into the replicated list of nodes, if it is not there
// as it is.
func (c *child) register(ctx context.Context) {
	if c.peer.Role != transport.RoleRelay {
		return
	}
	m := member{name: c.peer.Node(), role: string(c.peer.Role), region: c.peer.Region, addr: c.s.RemoteAddr().String()}
	for {
		// Ports of outgoing connections differ each time; who it is counts.
		if old, ok := c.r.fsm.view().nodes.Get(m.name); ok && host(old.addr) == host(m.addr) {
			return
		}
		if _, _, err := c.r.node.Propose(ctx, nodeCommand(c.r.time.Now(), m)); err == nil {
			return
		}
		if !pause(ctx, lastRetry) {
			return
		}
	}
}
