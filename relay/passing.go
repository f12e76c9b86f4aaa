//go:build !zos

package relay

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/transport"
	"pando/tree/status"
	"pando/tree/wire"
)

// below is what this relay passes on for relays of lower tiers. It is memory
// only: a section stays with the relay that cut it until it is settled, and
// whatever is lost here is said again from there. Upstream's lock guards it,
// and the fields of [lower] and [parcel] that say so.
type below struct {
	relays   []*lower // in the order in which they take turns
	turn     int
	passed   map[uint64]*passed // under way, by the id given here; lowerWindow a relay at most
	last     uint64             // of these ids
	speaking map[string]bool    // relays whose findings are under way
	words    words
	count    prometheus.Counter // of what was passed on
	closed   bool
}

// passed is a request of a relay below.
type passed struct {
	from  *lower
	relay string // whose request it is: from's, or of one further down
	kind  uint8
	m     wire.Message
	id    *uint64 // in m
	was   uint64  // the id that it came with
	size  int
}

// parcel is a digest of a relay below.
type parcel struct {
	from       *lower
	id         uint64
	sections   [][]byte // not sent yet
	left       int      // without a judgement
	judgements []wire.Judgement
}

const (
	// passedIDs is where the ids of requests begin that are passed on, above
	// all that this relay gives its own.
	passedIDs = 1 << 62
	// maxLowers bounds the relays right below one.
	maxLowers = 1024
	// lowerWindow bounds the requests of one relay below that have no answer:
	// so many claims are decided at once at the root.
	lowerWindow = 64
)

func newBelow(count prometheus.Counter) below {
	return below{passed: map[uint64]*passed{}, speaking: map[string]bool{}, words: newWords(), count: count}
}

// reset forgets what has no answer.
func (b *below) reset() {
	clear(b.passed)
	clear(b.speaking)
	for _, l := range b.relays {
		l.parcels, l.requests, l.waiting, l.granted = [event.Lanes][]*parcel{}, nil, 0, 0
		for lane, n := range l.queued {
			l.release(event.Lane(lane), n)
		}
	}
}

// join takes a relay below in.
func (u *upstream) join(l *lower) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.below.closed || len(u.below.relays) >= maxLowers {
		return fmt.Errorf("this relay stops, or has the %d relays it may", maxLowers)
	}
	same := 0
	for _, x := range u.below.relays {
		if x.peer.Node() == l.peer.Node() {
			same++
		}
	}
	if same >= maxOfNode {
		return fmt.Errorf("%s has the %d sessions that a node may have here", l.peer.Node(), maxOfNode)
	}
	u.below.relays = append(u.below.relays, l)
	l.tell(wire.Encode(u.standing()))
	return nil
}

// leave forgets a relay whose session is over.
func (u *upstream) leave(l *lower) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.below.relays = slices.DeleteFunc(u.below.relays, func(x *lower) bool { return x == l })
	for id, p := range u.below.passed {
		if p.from == l {
			delete(u.below.passed, id)
			if p.kind == wire.KindFindings {
				delete(u.below.speaking, p.relay)
			}
		}
	}
}

// closeBelow ends the sessions of all relays below, now and later.
func (u *upstream) closeBelow(reason string) {
	u.mu.Lock()
	u.below.closed = true
	relays := slices.Clone(u.below.relays)
	u.mu.Unlock()
	for _, l := range relays {
		l.s.Close(reason)
	}
}

// standing is this relay's word on how it is connected upwards.
func (u *upstream) standing() *wire.Uplink {
	m := &wire.Uplink{Path: u.path}
	if u.out.live {
		m.Life = u.life
	}
	return m
}

// tellBelow says it to all relays below.
func (u *upstream) tellBelow() {
	for _, l := range u.below.relays {
		l.tell(wire.Encode(u.standing()))
	}
}

// isAbove reports whether a node is on the way from here to the root.
func (u *upstream) isAbove(node string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Contains(u.path, node)
}

// newsBelow lets all relays below hear of another directory.
func (u *upstream) newsBelow() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.below.relays {
		nudge(l.news)
	}
}

// nodesBelow are the relays below and their agents, by their own words.
func (u *upstream) nodesBelow() []status.Node {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.below.words.nodes()
}

// passUp appends the requests of relays below that may go now. Each has its own
// window, so that none fills the root's. Findings of one relay keep their
// order: the next ones wait for the answer.
func (b *below) passUp(out []transport.Message) []transport.Message {
	for _, l := range b.relays {
		for len(l.requests) > 0 && l.waiting < lowerWindow {
			p := l.requests[0]
			if p.kind == wire.KindFindings {
				if b.speaking[p.relay] {
					break
				}
				b.speaking[p.relay] = true
			}
			l.requests = l.requests[1:]
			l.release(event.Critical, p.size)
			l.waiting++
			b.last++
			*p.id = passedIDs + b.last
			b.passed[*p.id] = p
			out = append(out, wire.Encode(&wire.Forward{Relay: p.relay, Kind: p.kind, Body: wire.Encode(p.m).Body}))
			b.count.Inc()
		}
	}
	return out
}

// passDown gives an answer to the relay whose request it answers. Nobody waits
// for it any more if that relay's session is over.
func (b *below) passDown(kind uint8, answer wire.Message, id *uint64) error {
	p := b.passed[*id]
	if p == nil {
		return nil
	}
	if want := answers[p.kind]; kind != want {
		return fmt.Errorf("request of kind %d is answered by kind %d, want %d", p.kind, kind, want)
	}
	delete(b.passed, *id)
	if p.kind == wire.KindFindings {
		delete(b.speaking, p.relay)
	}
	p.from.waiting--
	*id = p.was
	p.from.tell(wire.Encode(answer))
	return nil
}

// answers are the kinds of answers by those of requests.
var answers = map[uint8]uint8{
	wire.KindClaim:    wire.KindClaimAnswer,
	wire.KindAsk:      wire.KindDigestAnswer,
	wire.KindFindings: wire.KindDone,
}

// judge takes the judgement of the next section, and answers the digest once it
// has all of them.
func (p *parcel) judge(j wire.Judgement) {
	p.judgements = append(p.judgements, j)
	p.left--
	if p.left == 0 {
		p.from.tell(wire.Encode(&wire.DigestAnswer{ID: p.id, Judgements: p.judgements}))
	}
}
