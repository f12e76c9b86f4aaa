package relay

import (
	"testing"

	"pando/event"
	"pando/tree/custody"
	"pando/tree/wire"
)

// forget answers what the core says from now on as a root that has forgotten
// the WAL id does, and returns the sections that were given up.
func (b *bench) forget(from int) (sections []wire.Section) {
	b.t.Helper()
	for ; from < len(b.log); from++ {
		switch o := b.log[from]; {
		case o.To != toRoot:
		case o.Kind == wire.KindClaim:
			var c wire.Claim
			b.decode(o.Body, &c)
			b.do(recClaimed, wire.Encode(&wire.ClaimAnswer{ID: c.ID, Origin: c.Origin, WAL: c.WAL, Term: c.Term, Closed: true}).Body)
		case o.Kind == wire.KindAsk:
			var m wire.Ask
			b.decode(o.Body, &m)
			var a wire.DigestAnswer
			for _, u := range m.Units {
				a.Judgements = append(a.Judgements, wire.Judgement{Unit: u, Closed: true})
			}
			b.do(recJudged, wire.Encode(&a).Body)
		case o.Kind == outSection:
			s, err := wire.DecodeSection(o.Body)
			if err != nil {
				b.t.Fatal(err)
			}
			sections = append(sections, s)
			b.do(recJudged, wire.Encode(&wire.DigestAnswer{ID: 1, Judgements: []wire.Judgement{{Unit: s.Head.Unit, Term: s.Head.Term, To: s.Head.To,
				Verdict: custody.SkipClosed, Closed: true, Settled: s.Head.To, Chain: s.Head.After}}}).Body)
		}
	}
	return sections
}

// letGo checks that nothing of the agent's is held any more, so that the log
// may be trimmed.
func (b *bench) letGo(sections []wire.Section, from, to uint64) {
	b.t.Helper()
	if len(sections) == 0 || sections[0].Head.From != from || sections[len(sections)-1].Head.To != to {
		b.t.Fatalf("sections given up: %+v, want %d to %d", sections, from, to)
	}
	if oldest := b.core.Oldest(); oldest != 0 || len(b.core.units) != 0 {
		b.t.Fatalf("%d units are kept, and the log from record %d", len(b.core.units), oldest)
	}
	b.restorable()
}

func forgettable(t *testing.T) (*bench, *fakeAgent) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	for range 3 {
		a.write(t, event.Critical, 4, false)
	}
	return b, a
}

// A relay without a root took batches over whose beginning was settled
// elsewhere. When it finds a root, that one has forgotten the WAL id.
func TestForgottenWALIsLetGo(t *testing.T) {
	b, a := forgettable(t)
	if _, ok := b.open(a, [event.Lanes]uint64{5, 1}, [event.Lanes]uint64{12, 0}).(*wire.Opened); !ok {
		t.Fatal("refused")
	}
	b.send(a, event.Critical, 1, 12)
	b.send(a, event.Critical, 2, 12)
	b.do(recClose, encodeNumbers(a.session))
	at := len(b.log)
	b.uplink(1)
	b.tick(2e9)
	b.letGo(b.forget(at), 5, 12)
}

// The connection to the root breaks between its word that the WAL id is closed
// and its answer to the section.
func TestForgottenWALIsLetGoByTheNextRoot(t *testing.T) {
	b, a := forgettable(t)
	b.open(a, [event.Lanes]uint64{5, 1}, [event.Lanes]uint64{12, 0})
	b.send(a, event.Critical, 1, 12)
	b.send(a, event.Critical, 2, 12)
	b.do(recClose, encodeNumbers(a.session))
	b.uplink(1)
	b.do(recClaimed, wire.Encode(&wire.ClaimAnswer{Origin: a.name, WAL: a.wal, Term: a.term, Closed: true}).Body)
	b.uplink(0)
	at := len(b.log)
	b.uplink(1)
	b.tick(2e9)
	b.letGo(b.forget(at), 5, 12)
}

// Another relay took the unit over; this one asks for ever about a WAL id that
// the root has forgotten since.
func TestForgottenWALIsLetGoWhenAskedFor(t *testing.T) {
	b, a := forgettable(t)
	b.uplink(1)
	b.mustOpen(a)
	b.root(0)
	at := len(b.log)
	b.send(a, event.Critical, 0, 12)
	b.root(at)
	if err := b.owner(event.Unit{Origin: "eu/a", WAL: 7}).Claim(custody.Term{Session: 9}, "eu/relay2"); err != nil {
		t.Fatal(err)
	}
	at = len(b.log)
	b.send(a, event.Critical, 1, 12)
	b.send(a, event.Critical, 2, 12)
	b.root(at)
	b.do(recClose, encodeNumbers(a.session))
	at = len(b.log)
	b.tick(3e9)
	b.tick(3e9)
	b.tick(3e9)
	got := b.forget(at)
	for range 3 {
		at = len(b.log)
		b.tick(2e9)
		got = append(got, b.forget(at)...)
	}
	b.letGo(got, 5, 12)
}
