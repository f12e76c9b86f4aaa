package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Causes for which the lobby ends or refuses a half-open connection.
var (
	errEvicted = violation(CodeEvicted, "slower than others who wait: its place was needed")
	errCrowded = violation(CodeCrowded, "too many half-open connections of one address")
)

// gracesPerHandshake makes the grace a part of the handshake's time: an honest
// peer proves who it is within two round trips and some milliseconds of
// computing, so a tenth of five seconds serves it across the world.
const gracesPerHandshake = 10

// network6 is how much of an IPv6 address names a customer: the rest is for
// anybody on that network to choose.
const network6 = 64

// lobby bounds the connections that have not said HELLO or ATTACH yet, in all
// and for each remote address, so that nobody keeps others out by opening
// connections and saying nothing. Where there is no room, the oldest makes it
// that has had its grace: first those that have not proved who they are, then
// those that have. Within its grace nobody is turned out, or a burst of honest
// peers would only replace each other; so with total places an attacker from
// any number of addresses delays others by one grace at most.
//
// A connection leaves the lobby when it is evicted; its goroutine ends at once,
// because its context does. Safe for concurrent use, but only one goroutine
// may call enter.
type lobby struct {
	total, perHost int
	grace          time.Duration

	mu     sync.Mutex
	places []*place       // in the order of arrival; at most total
	hosts  map[string]int // places that are not known yet, by host; no zeros
	freed  chan struct{}  // capacity 1
}

// place is one connection's. Its fields belong to the lobby's mutex.
type place struct {
	host    string
	remote  string // address with port, for the log
	peer    Identity
	since   time.Time
	known   bool // it has proved who it is
	working bool // this node owes it an answer: it is not slow, we are
	evict   context.CancelCauseFunc
}

func newLobby(o *Options) *lobby {
	return &lobby{total: o.MaxPending, perHost: o.MaxPendingPerHost, grace: o.HandshakeTimeout / gracesPerHandshake,
		hosts: make(map[string]int), freed: make(chan struct{}, 1)}
}

// enter finds a place for a connection, waiting for one if it must. It returns
// the place that was evicted for it, if any. The error is errCrowded if the
// connection's own address has more than its share, or the context's cause.
func (b *lobby) enter(ctx context.Context, p *place) (evicted *place, err error) {
	for {
		b.mu.Lock()
		full := len(b.places) >= b.total
		crowded := b.hosts[p.host] >= b.perHost
		var next time.Time
		if full || crowded {
			evicted, next = b.makeRoom(time.Now(), p.host, crowded)
		}
		if evicted != nil || !full && !crowded {
			p.since = time.Now()
			b.places = append(b.places, p)
			b.hosts[p.host]++
			b.mu.Unlock()
			return evicted, nil
		}
		b.mu.Unlock()
		if crowded {
			return nil, errCrowded
		}
		if err := b.wait(ctx, next); err != nil {
			return nil, err
		}
	}
}

// makeRoom evicts the one whose turn it is, of one host only if that is what
// is crowded. Without one it says when the next may go, or the zero time if
// only the end of a handshake helps.
func (b *lobby) makeRoom(now time.Time, host string, crowded bool) (victim *place, next time.Time) {
	for _, p := range b.places { // oldest first
		if p.working || crowded && (p.host != host || p.known) {
			continue
		}
		if due := p.since.Add(b.grace); now.Before(due) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		if !p.known {
			victim = p
			break
		}
		if victim == nil {
			victim = p
		}
	}
	if victim != nil {
		b.remove(victim)
		victim.evict(errEvicted)
	}
	return victim, next
}

// wait waits until a place was freed, or a time that is not zero.
func (b *lobby) wait(ctx context.Context, until time.Time) error {
	var due <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-b.freed:
	case <-due:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// prove takes note of who a connection is. From here on it does not count
// against its address, which it may share with a thousand others.
func (b *lobby) prove(p *place, peer Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.known || !b.has(p) {
		return
	}
	b.uncount(p.host)
	p.known, p.peer, p.since = true, peer, time.Now()
}

// work takes note that a connection has said what it wants.
func (b *lobby) work(p *place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.working = true
}

// leave gives a place up, if it was not taken already.
func (b *lobby) leave(p *place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.has(p) {
		b.remove(p)
		b.nudge()
	}
}

func (b *lobby) has(p *place) bool {
	for _, q := range b.places {
		if q == p {
			return true
		}
	}
	return false
}

func (b *lobby) remove(p *place) {
	for i, q := range b.places {
		if q == p {
			b.places = append(b.places[:i], b.places[i+1:]...)
			break
		}
	}
	if !p.known {
		b.uncount(p.host)
	}
}

func (b *lobby) uncount(host string) {
	if b.hosts[host]--; b.hosts[host] == 0 {
		delete(b.hosts, host)
	}
}

func (b *lobby) nudge() {
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// hostOf is what connections of one remote address have in common: the IP
// address, of IPv6 its network.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host // a network of a test has names
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	if network, err := ip.Prefix(network6); err == nil {
		return network.String()
	}
	return ip.String()
}

// isEvicted reports whether the lobby ended a handshake.
func isEvicted(err error) bool { return errors.Is(err, errEvicted) }
