//go:build !zos

package relay

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
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
		list = append(list, &lower{peer: transport.Identity{Region: "eu.fra", Name: name}, out: make(chan transport.Message, lowerQueue), room: newRoom()})
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
	l.parcels[event.Bulk] = append(l.parcels[event.Bulk], &parcel{from: l, id: id, sections: [][]byte{b}, left: 1})
	l.queued[event.Bulk] += len(b)
}

// shipped is how many sections of each relay the next digest has.
func shipped(t *testing.T, u *Outgoing) map[string]int {
	t.Helper()
	m, ok := u.DueBulk()
	if !ok {
		t.Fatal("no digest")
	}
	var d wire.Digest
	if err := wire.Decode(m.Body, &d); err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	a := wire.DigestAnswer{ID: d.ID}
	for _, p := range u.lanes[event.Bulk].flight {
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
	if l[1].queued[event.Bulk] != 0 || len(l[1].out) != 10 {
		t.Errorf("%d bytes still count as queued, %d answers were given", l[1].queued[event.Bulk], len(l[1].out))
	}
}

// said is a section of the core's with rows of some size.
func said(unit event.Unit, from uint64, size int) journal.Output {
	s := wire.Section{Head: custody.Head{Unit: unit, Relay: "eu/r", From: from, To: from}}
	return journal.Output{Kind: outSection, Body: append(wire.EncodeSection(&s), make([]byte, size)...)}
}

// heads are those of a digest's sections.
func heads(t *testing.T, m transport.Message) (list []custody.Head, d wire.Digest) {
	t.Helper()
	if err := wire.Decode(m.Body, &d); err != nil {
		t.Fatal(err)
	}
	for _, b := range d.Sections {
		list = append(list, wire.ReadHead(pack.NewReader(b)))
	}
	return list, d
}

// Whatever waits of bulk, of this relay or of one below, a critical section
// goes up in the next message, and beside the bulk digest under way.
func TestCriticalSectionsPassBulk(t *testing.T) {
	u, l := queue("below")
	for n := range uint64(200) {
		u.Put(said(event.Unit{Origin: "bulk", WAL: event.WALID(n + 1), Lane: event.Bulk}, 1, 100<<10))
		l[0].parcel(n+1, 100<<10)
	}
	if _, ok := u.DueBulk(); !ok {
		t.Fatal("no bulk digest")
	}
	u.Put(said(event.Unit{Origin: "swift", WAL: 1, Lane: event.Critical}, 1, 100))
	below := wire.EncodeSection(&wire.Section{Head: custody.Head{Unit: event.Unit{Origin: "cics", WAL: 1}, Relay: l[0].peer.Node(), From: 1, To: 1}})
	l[0].parcels[event.Critical] = append(l[0].parcels[event.Critical], &parcel{from: l[0], id: 1, sections: [][]byte{below}, left: 1})
	out := u.Due()
	if len(out) != 1 {
		t.Fatalf("%d messages are due", len(out))
	}
	got, _ := heads(t, out[0])
	if len(got) != 2 || got[0].Unit.Lane != event.Critical || got[1].Unit.Lane != event.Critical {
		t.Errorf("the digest has %+v, want the two critical sections", got)
	}
	if m, ok := u.DueBulk(); ok {
		t.Errorf("a second bulk digest of %d bytes is under way", len(m.Body))
	}
}

// What a section taught is committed before the section goes, whichever way it
// goes; sections of other agents do not wait for that, and those of one unit
// keep their order.
func TestSectionsWaitForWhatTheyTaught(t *testing.T) {
	u, _ := queue()
	for _, lane := range []event.Lane{event.Critical, event.Bulk} {
		novel := event.Unit{Origin: "novel", WAL: 1, Lane: lane}
		w := pack.NewWriter()
		stream.AppendUnit(w, event.Unit{Origin: "novel", WAL: 1, Lane: event.Critical})
		appendTerm(w, custody.Term{})
		(&anomaly.Expectations{}).Append(w)
		lesson := journal.Output{Kind: outExpect, Body: w.Copy()}
		due := func() []custody.Head {
			m, ok := u.pack(lane)
			if !ok {
				return nil
			}
			list, d := heads(t, m)
			if _, _, err := u.Answer(wire.Encode(&wire.DigestAnswer{ID: d.ID, Judgements: make([]wire.Judgement, len(list))})); err != nil {
				t.Fatal(err)
			}
			return list
		}
		done := func(id uint64) {
			rec, due, err := u.Answer(wire.Encode(&wire.Done{ID: id}))
			m, derr := decodeReceived(rec.Body)
			if err != nil || derr != nil || !due || m.Taught == 0 {
				t.Fatalf("receipt %+v, due %t, %v %v", m, due, err, derr)
			}
		}
		u.Put(said(novel, 1, 10))
		u.Put(lesson)
		u.Put(said(novel, 2, 10))
		u.Put(said(event.Unit{Origin: "other", WAL: 1, Lane: lane}, 1, 10))
		if got := due(); len(got) != 2 || got[0].From != 1 || got[1].Unit.Origin != "other" {
			t.Fatalf("lane %d: before the lesson is sent there goes %+v", lane, got)
		}
		first, ok := u.tell()
		if !ok || due() != nil {
			t.Fatalf("lane %d: a section goes beside its lesson, which is sent: %t", lane, ok)
		}
		u.Put(lesson)
		u.Put(said(novel, 3, 10))
		id, _ := idOf(first)
		done(id)
		if got := due(); len(got) != 1 || got[0].From != 2 {
			t.Fatalf("lane %d: after the first lesson there goes %+v, want the section from 2", lane, got)
		}
		second, _ := u.tell()
		id, _ = idOf(second)
		done(id)
		if got := due(); len(got) != 1 || got[0].From != 3 {
			t.Fatalf("lane %d: after the second lesson there goes %+v, want the section from 3", lane, got)
		}
	}
}

func idOf(m transport.Message) (uint64, error) {
	r := pack.NewReader(m.Body)
	return r.Uint("id", maxSeq), r.Err()
}

// Outgoing sends a name behind the findings that came before it, whenever its
// sender wakes, and says with the answer that it has arrived.
func TestNamesGoBehindTheirFindings(t *testing.T) {
	u, _ := queue()
	w := pack.NewWriter()
	anomaly.AppendFinding(w, finding(1))
	u.Put(journal.Output{Kind: outFinding, Body: w.Copy()})
	first := u.Due()
	w.Reset()
	wire.AppendNamed(w, []wire.Named{{ID: "INC-A"}})
	u.Put(journal.Output{Kind: outNamed, Body: w.Copy()})
	if len(first) != 1 || len(u.Due()) != 0 {
		t.Fatal("the name does not wait for the answer to the findings")
	}
	for n, want := range []received{{Findings: []receipt{{}}}, {Named: []string{"INC-A"}}} {
		rec, due, err := u.Answer(wire.Encode(&wire.Done{ID: uint64(n + 1)}))
		if got, _ := decodeReceived(rec.Body); !due || err != nil || len(got.Findings) != len(want.Findings) || !slices.Equal(got.Named, want.Named) {
			t.Errorf("answer %d: %+v, due %t, %v", n, got, due, err)
		}
		u.Due()
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
	first, ok := u.DueBulk()
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
	if _, ok := u.DueBulk(); !ok {
		t.Fatal("no digest in the new session")
	}
	late := wire.Encode(&wire.DigestAnswer{ID: d.ID, Judgements: make([]wire.Judgement, 1)})
	if rec, due, err := u.Answer(late); due || err != nil || u.lanes[event.Bulk].id == 0 || len(l[0].out) != 0 {
		t.Errorf("an answer of the earlier session: record %d, due %t, %v; digest under way %d", rec.Kind, due, err, u.lanes[event.Bulk].id)
	}
}
