//go:build !zos

package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"pando/event"
	"pando/internal/pack"
	"pando/transport"
	"pando/tree/wire"
)

var (
	// errAuthority reports a relay that speaks for one it may not speak for.
	errAuthority = errors.New("the certificate does not cover it")
	// errLoop reports relays that stand in a circle.
	errLoop = errors.New("relays stand in a circle")
)

// lower is the session of a relay of a lower tier.
type lower struct {
	r      *Relay
	s      *transport.Session
	peer   transport.Identity
	out    chan transport.Message     // answers, and word of the uplink
	news   chan struct{}              // capacity 1: there is another directory, or set of patterns
	behind context.CancelFunc         // ends the session of one that does not take its answers
	room   [event.Lanes]chan struct{} // capacity 1: queued fell

	// Guarded by upstream's lock.
	parcels  [event.Lanes][]*parcel // with sections that are to be sent
	requests []*passed              // to be sent
	waiting  int                    // requests without an answer
	queued   [event.Lanes]int       // what is to be sent, in bytes; requests are critical
	packed   uint64                 // bytes of sections since they were last counted
	granted  uint64                 // bytes a second of bulk that it was told
}

const (
	// lowerQueue bounds the answers that a relay below did not take. It asks
	// for fewer before it has to wait.
	lowerQueue = 4 * lowerWindow
	// lowerBytes is how much of a relay below may wait to be sent, in each lane,
	// before nothing further of it is received there: the rest stays below.
	lowerBytes = 1 << 20
	// requestOverhead is what a request counts beside its bytes.
	requestOverhead = 256
)

// admit judges who may be a child. A relay that is on the way from here to the
// root is none: there would be no root any more.
func (r *Relay) admit(peer transport.Identity, _ transport.Hello) error {
	if err := transport.Admit(r.opts.Credentials.Identity(), peer); err != nil {
		return err
	}
	if peer.Role == transport.RoleRelay && r.upstream.isAbove(peer.Node()) {
		r.count.refused.WithLabelValues("loop").Inc()
		return &transport.Refusal{Code: transport.CodeRefused, Reason: fmt.Sprintf("%s: %s is above %s", errLoop, peer.Node(), r.name),
			Hint: "take the lower of the two out of the other's parents"}
	}
	return nil
}

// serveLower runs the session of a relay below until it is over.
func (r *Relay) serveLower(run context.Context, s *transport.Session) {
	ctx, cancel := context.WithCancel(run)
	defer cancel()
	l := &lower{r: r, s: s, peer: s.Peer(), out: make(chan transport.Message, lowerQueue), room: newRoom(),
		news: make(chan struct{}, 1), behind: cancel}
	if err := r.upstream.join(l); err != nil {
		r.count.refused.WithLabelValues("crowd").Inc()
		r.log.Warn("relay below refused", "child", l.peer.String(), "address", s.RemoteAddr().String(), "error", err)
		s.Close(err.Error())
		return
	}
	var parts sync.WaitGroup
	nudge(l.news)
	parts.Go(func() { l.talk(ctx) })
	var bulk error
	parts.Go(func() {
		bulk = l.listen(ctx, event.Bulk)
		cancel()
	})
	err := l.listen(ctx, event.Critical)
	cancel()
	parts.Wait()
	reason := "over"
	if err := cmp.Or(err, bulk); err != nil {
		r.count.refused.WithLabelValues(label(err)).Inc()
		r.log.Warn("relay below refused", "child", l.peer.String(), "address", s.RemoteAddr().String(), "error", err)
		reason = err.Error()
	}
	r.upstream.leave(l)
	s.Close(reason)
}

func newRoom() (room [event.Lanes]chan struct{}) {
	for lane := range room {
		room[lane] = make(chan struct{}, 1)
	}
	return room
}

// label is a refusal in the metrics.
func label(err error) string {
	switch {
	case errors.Is(err, errAuthority):
		return "authority"
	case errors.Is(err, errLoop):
		return "loop"
	case errors.Is(err, pack.ErrMalformed):
		return "malformed"
	}
	return "protocol"
}

// listen takes what the relay says until its session ends, which is no error,
// or it says what it must not: its bulk sections, which have a connection of
// their own, or all else.
func (l *lower) listen(ctx context.Context, lane event.Lane) error {
	for {
		m, err := l.receive(ctx, lane)
		if err != nil {
			return nil
		}
		if err := l.take(m, lane); err != nil {
			return err
		}
		for l.crowded(lane) {
			select {
			case <-ctx.Done():
				return nil
			case <-l.s.Done():
				return nil
			case <-l.room[lane]:
			}
		}
		if lane == event.Bulk {
			l.s.Grant(transport.LaneBulk, m.Cost())
		}
	}
}

func (l *lower) receive(ctx context.Context, lane event.Lane) (transport.Message, error) {
	if lane == event.Bulk {
		return l.s.Receive(ctx, transport.LaneBulk)
	}
	return l.s.ReceiveControl(ctx)
}

func (l *lower) crowded(lane event.Lane) bool {
	l.r.upstream.mu.Lock()
	defer l.r.upstream.mu.Unlock()
	return l.queued[lane] >= lowerBytes
}

// take takes one message. It is read as a whole before it is passed on: the
// root ends the session that something malformed comes with, which would be
// that of all relays here.
func (l *lower) take(m transport.Message, lane event.Lane) error {
	if lane == event.Bulk && m.Kind != wire.KindDigest {
		return fmt.Errorf("%w: message of kind %d on the bulk connection", pack.ErrMalformed, m.Kind)
	}
	switch m.Kind {
	case wire.KindForward:
		var f wire.Forward
		if err := wire.Decode(m.Body, &f); err != nil {
			return err
		}
		if err := l.mayName(f.Relay); err != nil {
			return err
		}
		return l.request(f.Relay, f.Kind, f.Body)
	case wire.KindDigest:
		return l.digest(m.Body, lane)
	case wire.KindUplink:
		l.r.upstream.mu.Lock()
		defer l.r.upstream.mu.Unlock()
		l.tell(wire.Encode(l.r.upstream.standing()))
		return nil
	}
	return l.request(l.peer.Node(), m.Kind, m.Body)
}

// mayName reports, as an error, why the relay may not speak for another one.
func (l *lower) mayName(relay string) error {
	switch {
	case relay == l.r.name:
		return fmt.Errorf("%w: %s passes on what this relay said", errLoop, l.peer.Node())
	case relay != l.peer.Node() && !l.peer.SpeaksFor(relay):
		return fmt.Errorf("%s speaks for %s: %w", l.peer, relay, errAuthority)
	}
	return nil
}

// request queues a request in a relay's name, or keeps its status.
func (l *lower) request(relay string, kind uint8, body []byte) error {
	if kind == wire.KindStatus {
		var doc wire.Status
		if err := wire.Decode(body, &doc); err != nil {
			return err
		}
		l.r.upstream.mu.Lock()
		defer l.r.upstream.mu.Unlock()
		return l.r.upstream.below.words.put(relay, doc.JSON)
	}
	m, id, err := wire.Request(kind, body)
	if err != nil {
		return err
	}
	if c, ok := m.(*wire.Claim); ok && (c.Origin == "" || c.WAL == 0) {
		return errors.New("a claim without an origin or a WAL id")
	}
	l.r.upstream.mu.Lock()
	defer l.r.upstream.mu.Unlock()
	if l.r.upstream.out.live {
		l.queued[event.Critical] += len(body) + requestOverhead
		p := &passed{from: l, relay: relay, kind: kind, m: m, id: id, was: *id, size: len(body) + requestOverhead}
		l.requests = append(l.requests, p)
		l.r.upstream.nudge()
	}
	return nil // without a root it is dropped: it is said again once there is one
}

// digest queues the sections of a digest in the lane of the connection that it
// came on: a relay that confuses them delays itself.
func (l *lower) digest(body []byte, lane event.Lane) error {
	var d wire.Digest
	if err := wire.Decode(body, &d); err != nil {
		return err
	}
	size := 0
	for i, b := range d.Sections {
		sec, err := wire.DecodeSection(b)
		if err != nil {
			return fmt.Errorf("section %d: %w", i, err)
		}
		names := 0
		for _, p := range sec.Positions {
			names += len(p.Source) + len(p.File)
		}
		if names > maxPlaceBytes+event.MaxPositionBytes {
			// The root can make rows coarser, and positions not.
			return fmt.Errorf("section %d: %w: positions of %d bytes", i, pack.ErrMalformed, names)
		}
		if err := l.mayName(sec.Head.Relay); err != nil {
			return fmt.Errorf("section of %s: %w", sec.Head.Unit, err)
		}
		size += len(b)
	}
	u := l.r.upstream
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.out.live:
	case len(d.Sections) == 0:
		l.tell(wire.Encode(&wire.DigestAnswer{ID: d.ID}))
	default:
		l.queued[lane] += size
		l.parcels[lane] = append(l.parcels[lane], &parcel{from: l, id: d.ID, sections: d.Sections, left: len(d.Sections)})
		u.nudge()
	}
	return nil
}

// tell says something to the relay. Upstream's lock is held.
func (l *lower) tell(m transport.Message) {
	select {
	case l.out <- m:
	default:
		l.r.log.Warn("relay below does not take its answers", "child", l.peer.Node())
		l.behind()
	}
}

// release makes room for further messages. Upstream's lock is held.
func (l *lower) release(lane event.Lane, n int) {
	l.queued[lane] -= n
	nudge(l.room[lane])
}

func (l *lower) talk(ctx context.Context) {
	var told *transport.Message // of the patterns
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.news:
			if l.r.sendDirectory(ctx, l.s) != nil {
				return
			}
			if m := l.r.upstream.passPatterns(); m != told {
				if l.s.SendControl(ctx, *m) != nil {
					return
				}
				told = m
			}
		case m := <-l.out:
			if l.s.SendControl(ctx, m) != nil {
				return
			}
		}
	}
}
