//go:build !zos

package relay

import (
	"time"

	"pando/event"
	"pando/tree/wire"
)

// noteRefusal tells the operator which child was refused, and why.
func (r *Relay) noteRefusal(c *child, body []byte) {
	var m wire.Refused
	if wire.Decode(body, &m) != nil {
		return
	}
	r.count.refused.WithLabelValues(m.Code).Inc()
	if m.Code == wire.RefusedTwice {
		r.noteTwice(c, m.WAL)
		return
	}
	r.log.Warn("child refused", "child", c.s.Peer().Node(), "address", c.s.RemoteAddr().String(), "code", m.Code, "wal", m.WAL.String(),
		"term", m.Term.String(), "reason", m.Reason)
}

// noteTwice tells of the one refusal that an agent cannot cure: two machines
// share a certificate and a copy of one folder, and both are here. An agent
// that comes back before its old session is seen to be dead is refused once
// like that, too.
func (r *Relay) noteTwice(c *child, id event.WALID) {
	unlogged, ok := r.twice.Allow(time.Now())
	if !ok {
		return
	}
	agent := c.s.Peer().Node()
	r.log.Error("one WAL id in two live sessions: unless the agent has just restarted, another node uses its certificate and a copy of its folder",
		"agent", agent, "wal", id.String(), "address", c.s.RemoteAddr().String(), "other_address", r.addressOf(agent, c), "unlogged", unlogged,
		"hint", "find the copy, issue a certificate of its own with pando ca issue, and start it with an empty dir")
}

// addressOf is where another session of an agent comes from, or empty.
func (r *Relay) addressOf(agent string, not *child) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.sessions {
		if c != not && c.opened.Load() && c.s.Peer().Node() == agent {
			return c.s.RemoteAddr().String()
		}
	}
	return ""
}
