package uplink

import (
	"context"
	"sync/atomic"
	"time"

	"pando/transport"
	"pando/tree/placement"
	"pando/tree/wire"
)

// standby is the warm second session: connected and synchronised in time,
// with no units open. Only Run's goroutine uses it.
type standby struct {
	up      *Uplink
	session *transport.Session
	stop    context.CancelFunc
	done    chan struct{}
	retry   time.Time
	rooted  atomic.Bool // the session's peer has a root, or is one
	sought  int         // addresses tried because the parent has no root
	// What the peer said of patterns: it says so once, so whoever serves the
	// session later must hear of it. Of listen until done is closed.
	patterns *transport.Message
}

// keep makes sure that a session to the relay stands by, and reports whether
// one does.
func (b *standby) keep(ctx context.Context, r placement.Relay) bool {
	if b.session != nil {
		select {
		case <-b.session.Done():
			b.drop("died")
		default:
			if b.session.Peer().Node() == r.Node {
				return true
			}
			b.drop("another standby is better")
		}
	}
	if time.Now().Before(b.retry) {
		return false
	}
	s, err := b.up.dial(ctx, r.Addr)
	if err != nil {
		b.retry = time.Now().Add(max(penalty, asked(err)))
		b.up.opts.Logger.Info("no standby", "candidate", r.Node, "error", err)
		return false
	}
	b.adopt(s)
	return true
}

// adopt makes a session the standby.
func (b *standby) adopt(s *transport.Session) {
	lctx, stop := context.WithCancel(context.Background())
	b.session, b.stop, b.done, b.patterns = s, stop, make(chan struct{}), nil
	b.rooted.Store(s.Peer().Role == transport.RoleRoot)
	go b.listen(lctx, s, b.done)
}

// leads reports whether the standby is another node than the parent's; a
// redirect may have led back to it, and then it is of no use.
func (b *standby) leads(parent *transport.Session) bool {
	if b.session.Peer().Node() != parent.Peer().Node() {
		return true
	}
	b.drop("led back to the parent")
	return false
}

// listen takes what a parent says to a child without units: its directory, and
// whether it has a root.
func (b *standby) listen(ctx context.Context, s *transport.Session, done chan struct{}) {
	defer close(done)
	for {
		m, err := s.ReceiveControl(ctx)
		if err != nil {
			return
		}
		switch m.Kind {
		case wire.KindDirectory:
			var d wire.Directory
			if wire.Decode(m.Body, &d) == nil {
				b.up.SetDirectory(d.Nodes)
			}
		case wire.KindUplink:
			b.hear(m.Body)
		case wire.KindPatterns:
			b.patterns = &m
		}
	}
}

// take hands over the standby session if it is alive, and what it said of
// patterns.
func (b *standby) take() (*transport.Session, *transport.Message) {
	if b.session == nil {
		return nil, nil
	}
	b.stop()
	<-b.done
	s := b.session
	b.session = nil
	select {
	case <-s.Done():
		return nil, nil
	default:
		return s, b.patterns
	}
}

func (b *standby) drop(reason string) {
	if b.session == nil {
		return
	}
	b.session.Close("standby: " + reason)
	b.stop()
	<-b.done
	b.session = nil
}
