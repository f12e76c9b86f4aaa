//go:build !zos

package relay

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
)

// queue is what relays below have to say, with nobody to say it to.
func queue(relays ...string) (*Outgoing, []*lower) {
	b := newBelow(prometheus.NewCounter(prometheus.CounterOpts{Name: "n"}))
	var list []*lower
	for _, name := range relays {
		list = append(list, &lower{peer: transport.Identity{Region: "eu.fra", Name: name}, out: make(chan transport.Message, lowerQueue), room: make(chan struct{}, 1)})
	}
	b.relays = list
	u := &Outgoing{below: &b}
	u.Open()
	return u, list
}

// parcel queues a digest of one section of some size.
func (l *lower) parcel(id uint64, size int) {
	s := wire.Section{Head: custody.Head{Unit: event.Unit{Origin: l.peer.Name, WAL: event.WALID(id)}, Relay: l.peer.Node(), From: 1, To: 1},
		Positions: []event.Position{{Source: strings.Repeat("x", min(size, event.MaxName))}}}
	b := wire.EncodeSection(&s)
	b = append(b, make([]byte, max(0, size-len(b)))...)
	l.parcels = append(l.parcels, &parcel{from: l, id: id, sections: [][]byte{b}, left: 1})
	l.queued += len(b)
}

// shipped is how many sections of each relay the next digest has.
func shipped(t *testing.T, u *Outgoing) map[string]int {
	t.Helper()
	m, ok := u.pack()
	if !ok {
		t.Fatal("no digest")
	}
	var d wire.Digest
	if err := wire.Decode(m.Body, &d); err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	a := wire.DigestAnswer{ID: d.ID}
	for _, p := range u.flight {
		if p == nil {
			n["own"]++
		} else {
			n[p.from.peer.Name]++
		}
		a.Judgements = append(a.Judgements, wire.Judgement{})
	}
	if _, _, err := u.judged(&a); err != nil {
		t.Fatal(err)
	}
	return n
}

// However much one has to say, each source is in every other digest at least.
func TestSourcesTakeTurns(t *testing.T) {
	u, l := queue("flood", "quiet")
	for id := range uint64(100) {
		l[0].parcel(id+1, maxDigest*2/3)
	}
	for id := range uint64(10) {
		l[1].parcel(id+1, 1000)
		u.Put(journal.Output{Kind: outSection, Body: make([]byte, 1000)})
	}
	quiet, own := 0, 0
	for range 20 {
		n := shipped(t, u)
		quiet, own = quiet+n["quiet"], own+n["own"]
	}
	if quiet != 10 || own != 10 {
		t.Errorf("20 digests hold %d sections of the quiet relay and %d of this one, ten each waited", quiet, own)
	}
	if l[1].queued != 0 || len(l[1].out) != 10 {
		t.Errorf("%d bytes still count as queued, %d answers were given", l[1].queued, len(l[1].out))
	}
}

// What a section taught is in the findings before it, and must be known when it
// is settled.
func TestSectionsWaitForTheFindingsBeforeThem(t *testing.T) {
	u, l := queue("r1")
	f := &wire.Findings{ID: 1}
	l[0].told = &passed{from: l[0], relay: l[0].peer.Node(), kind: wire.KindFindings, m: f, id: &f.ID, was: 1}
	l[0].requests = append(l[0].requests, l[0].told)
	l[0].parcel(1, 100)
	l[0].parcels[0].behind = l[0].told
	u.below.speaking[l[0].peer.Node()] = true // earlier ones have no answer
	if out := u.Due(); len(out) != 0 {
		t.Fatalf("%d messages go up", len(out))
	}
	clear(u.below.speaking)
	out := u.Due()
	if len(out) != 2 || out[0].Kind != wire.KindForward || out[1].Kind != wire.KindDigest {
		t.Fatalf("%d messages go up, want findings and then a digest", len(out))
	}
}

// A relay below has a window of requests without an answer, and no more.
func TestRequestsHaveAWindow(t *testing.T) {
	u, l := queue("flood", "quiet")
	claims := func(l *lower, n int) {
		for id := range uint64(n) {
			c := &wire.Claim{ID: id}
			l.requests = append(l.requests, &passed{from: l, relay: l.peer.Node(), kind: wire.KindClaim, m: c, id: &c.ID, was: id})
		}
	}
	claims(l[0], 10*lowerWindow)
	claims(l[1], 1)
	sent := u.below.passUp(nil)
	if len(sent) != lowerWindow+1 {
		t.Fatalf("%d requests go up, want the flood's window of %d and the quiet one's", len(sent), lowerWindow)
	}
	if again := u.below.passUp(nil); len(again) != 0 {
		t.Fatalf("%d more go up without an answer", len(again))
	}
	var f wire.Forward
	if err := wire.Decode(sent[0].Body, &f); err != nil {
		t.Fatal(err)
	}
	_, id, err := wire.Request(f.Kind, f.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := &wire.ClaimAnswer{ID: *id}
	if err := u.below.passDown(wire.KindDone, &wire.Done{ID: *id}, id); err == nil {
		t.Error("a claim was answered as findings are")
	}
	if err := u.below.passDown(wire.KindClaimAnswer, a, &a.ID); err != nil || a.ID != 0 {
		t.Errorf("the answer goes down under id %d, %v", a.ID, err)
	}
	if again := u.below.passUp(nil); len(again) != 1 {
		t.Errorf("%d go up after one answer", len(again))
	}
}

// What was asked in one session is not answered in the next.
func TestAnswersOfAnEarlierSessionAreDropped(t *testing.T) {
	u, l := queue("r1")
	l[0].parcel(1, 100)
	first, ok := u.pack()
	if !ok {
		t.Fatal("no digest")
	}
	var d wire.Digest
	if err := wire.Decode(first.Body, &d); err != nil {
		t.Fatal(err)
	}
	u.Close()
	u.below.reset()
	u.Open()
	u.Put(journal.Output{Kind: outSection, Body: []byte("section")})
	if _, ok := u.pack(); !ok {
		t.Fatal("no digest in the new session")
	}
	late := wire.Encode(&wire.DigestAnswer{ID: d.ID, Judgements: make([]wire.Judgement, 1)})
	if rec, due, err := u.Answer(late); due || err != nil || u.digest == 0 || len(l[0].out) != 0 {
		t.Errorf("an answer of the earlier session: record %d, due %t, %v; digest under way %d", rec.Kind, due, err, u.digest)
	}
}
