package uplink

import (
	"context"
	"slices"
	"time"

	"pando/transport"
	"pando/tree/wire"
)

// rootPatience is how long a parent may be without a root before a standby
// that has one is better: an election at the root is over by then, and all
// parents would be without one as long.
const rootPatience = 3 * time.Second

// SetRooted tells that the present parent has a root, or has none. It counts
// with Options.Rooted only.
func (u *Uplink) SetRooted(yes bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case yes:
		u.rootless = time.Time{}
	case u.rootless.IsZero():
		u.rootless = time.Now()
	}
}

// tired reports whether the parent has been without a root for too long.
func (u *Uplink) tired() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.rootless.IsZero() && time.Since(u.rootless) >= rootPatience
}

// begin takes note of a new session. A relay is believed to have a root once it
// says so.
func (u *Uplink) begin(s *transport.Session, patterns *transport.Message) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current, u.patterns, u.rootless = s, patterns, time.Time{}
	if u.opts.Rooted && s.Peer().Role == transport.RoleRelay {
		u.rootless = time.Now()
	}
}

// hear takes note of a parent's word on its own parent.
func (b *standby) hear(body []byte) {
	var m wire.Uplink
	if wire.Decode(body, &m) == nil {
		b.rooted.Store(m.Life != 0 && !slices.Contains(m.Path, b.up.opts.Self.Node()))
	}
}

// seek makes another candidate the standby, each time the next one, to hear
// whether that has a root. The parent is kept meanwhile: it may be that nobody
// has one.
func (b *standby) seek(ctx context.Context, parent *transport.Session) {
	others := slices.DeleteFunc(b.up.addresses(), func(addr string) bool { return addr == parent.RemoteAddr().String() })
	if len(others) == 0 {
		return
	}
	slices.Sort(others) // seeds come in any order
	addr := others[b.sought%len(others)]
	b.sought++
	if b.alive() && b.session.RemoteAddr().String() == addr {
		return // it would have said so
	}
	b.drop("it has no root either")
	s, err := b.up.dial(ctx, addr)
	if err != nil {
		b.up.opts.Logger.Info("no parent with a root", "candidate", addr, "error", err)
		return
	}
	b.adopt(s)
	if !b.leads(parent) {
		return
	}
	b.up.opts.Logger.Info("the parent has no root, another one is asked", "parent", parent.Peer().Node(), "candidate", s.Peer().Node())
}

// better reports whether the standby has a root; where roots do not matter,
// every standby is as good.
func (b *standby) better() bool { return !b.up.opts.Rooted || b.rooted.Load() }

// relieves reports whether the standby is to take over from a parent that has
// been without a root for too long.
func (b *standby) relieves() bool {
	return b.up.opts.Rooted && b.alive() && b.rooted.Load() && b.up.tired()
}

// alive reports whether there is a standby.
func (b *standby) alive() bool {
	if b.session == nil {
		return false
	}
	select {
	case <-b.session.Done():
		return false
	default:
		return true
	}
}
