package relay

import (
	"fmt"
	"strings"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
)

// put appends a batch of the test's own making to the agent's log.
func (a *fakeAgent) put(t *testing.T, lane event.Lane, events []event.Event, positions []event.Position) {
	t.Helper()
	batch := event.Batch{Unit: event.Unit{Origin: a.name, WAL: a.wal, Lane: lane}, First: a.next[lane], Boot: clock.Boot{1},
		Positions: positions, Events: events}
	for i := range events {
		events[i].Seq = a.next[lane] + uint64(i)
		events[i].Criticality = uint8(2 * lane)
	}
	body, err := batch.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	a.batches[lane] = append(a.batches[lane], fakeBatch{batch.First, batch.Last(), a.chain[lane], body})
	a.chain[lane] = event.Chain(a.chain[lane], body)
	a.next[lane] = batch.Last() + 1
}

// connected is a bench with a root and one agent whose units are claimed.
func connected(t *testing.T, fill func(a *fakeAgent)) (*bench, *fakeAgent) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	fill(a)
	b.uplink(1)
	b.mustOpen(a)
	b.root(0)
	return b, a
}

// sendAll sends all of a lane's batches, each vouched for.
func (b *bench) sendAll(a *fakeAgent, lane event.Lane) {
	for i := range a.batches[lane] {
		b.send(a, lane, i, a.batches[lane][i].last)
	}
}

// settle lets the root answer until nothing more is said to it.
func (b *bench) settle(from int) {
	for from < len(b.log) {
		end := len(b.log)
		for i := from; i < end; i++ {
			switch o := b.log[i]; {
			case o.To == toRoot && o.Kind == wire.KindClaim:
				b.grant(o.Body)
			case o.To == toRoot && o.Kind == outSection:
				b.judge(o.Body)
			}
		}
		from = end
	}
}

func (b *bench) said(kind uint8) (outs []journal.Output) {
	for _, o := range b.log {
		if o.Kind == kind {
			outs = append(outs, o)
		}
	}
	return outs
}

// restorable fails the test if the core's state cannot be read back.
func (b *bench) restorable() {
	b.t.Helper()
	w := pack.NewWriter()
	b.core.AppendState(w)
	r := pack.NewReader(w.Bytes())
	if err := b.newCore().ReadState(r); err != nil {
		b.t.Fatalf("the relay could not start again: %v", err)
	}
}

// A relay whose own clock was an hour ahead before it heard of root time must
// not wait an hour with its bulk sections.
func TestTimeThatGoesBackDelaysNothing(t *testing.T) {
	b, a := connected(t, func(a *fakeAgent) {
		a.write(t, event.Bulk, 3, true)
		a.write(t, event.Bulk, 3, true)
	})
	at := len(b.log)
	b.send(a, event.Bulk, 0, 6)
	b.tick(3600e9)
	b.settle(at)
	at = len(b.log)
	b.send(a, event.Bulk, 1, 6)
	b.tick(-3600e9)
	b.tick(2e9)
	b.settle(at)
	if ack := b.ack(a, event.Bulk); ack.Settled != 6 {
		t.Errorf("settled up to %d two seconds after time went back, want 6", ack.Settled)
	}
}

// A backlog is cut as fast as the root answers, not one section a second.
func TestBacklogNeedsNoFurtherTick(t *testing.T) {
	b, a := connected(t, func(a *fakeAgent) {
		for range 3*maxSpans + 10 {
			a.write(t, event.Bulk, 1, true)
		}
	})
	b.sendAll(a, event.Bulk)
	b.tick(2e9)
	b.settle(0)
	if ack := b.ack(a, event.Bulk); ack.Settled != 3*maxSpans+10 {
		t.Errorf("settled up to %d, want %d", ack.Settled, 3*maxSpans+10)
	}
}

// What an agent may name is more than one section may hold: the root must be
// able to read every section, or no other unit of this relay would settle.
func TestSectionsOfManyNamesCanBeRead(t *testing.T) {
	b, a := connected(t, func(a *fakeAgent) {
		for i := range 40 {
			var events []event.Event
			var positions []event.Position
			for j := range 100 {
				name := fmt.Sprintf("%d/%d/%s", i, j, strings.Repeat("x", 900))
				events = append(events, event.Event{Entity: name, Signal: name, Source: "s"})
				positions = append(positions, event.Position{Source: fmt.Sprintf("%d#%02d%s", i, j, strings.Repeat("y", 990)), Offset: 1})
			}
			a.put(t, event.Bulk, events, positions)
		}
	})
	b.sendAll(a, event.Bulk)
	b.tick(2e9)
	b.settle(0)
	for _, o := range b.said(outSection) {
		if len(o.Body) > transport.MaxMessage/2 {
			t.Errorf("a section of %d bytes", len(o.Body))
		}
	}
	if ack := b.ack(a, event.Bulk); ack.Settled != 4000 {
		t.Errorf("settled up to %d, want 4000", ack.Settled)
	}
	b.restorable()
}

// Sequence numbers above what is read back must not get into the state.
func TestSequencesEndBeforeTheFormatDoes(t *testing.T) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	a.next[event.Critical] = custody.MaxSeq - 1
	a.put(t, event.Critical, []event.Event{{Entity: "app/x"}, {Entity: "app/x"}, {Entity: "app/x"}}, nil)
	b.session++
	a.session, a.term.Session = b.session, 1
	o := opening{Session: a.session, Origin: a.name, HLC: 1, Open: wire.Open{WAL: a.wal, Term: a.term}}
	o.Open.Offers[event.Critical] = custody.Offer{From: custody.MaxSeq - 1, Last: custody.MaxSeq, Synced: custody.MaxSeq}
	o.Open.Offers[event.Bulk] = custody.Offer{From: 1}
	b.do(recOpen, o.encode())
	b.send(a, event.Critical, 0, custody.MaxSeq)
	if len(b.said(outHangUp)) != 1 {
		t.Error("the session goes on")
	}
	b.restorable()
}

// An agent that never vouches for what it sends fills the log, not memory, be it
// by many events or by texts that are short only while they are compressed.
func TestHungAgentDiskTakesNoMemory(t *testing.T) {
	for what, write := range map[string]func(a *fakeAgent){
		"events": func(a *fakeAgent) { a.write(t, event.Bulk, 1000, true) },
		"texts": func(a *fakeAgent) {
			list := make([]event.Event, 10)
			for i := range list {
				list[i] = event.Event{Entity: "app/x", Criticality: 2, Attrs: []event.Attr{{Key: "body", Value: strings.Repeat(string(rune('a'+i)), event.MaxString)}}}
			}
			a.put(t, event.Bulk, list, nil)
		},
	} {
		b := newBench(t)
		a := b.agent("eu/a", 7)
		for range 50 {
			write(a)
		}
		b.open(a, [event.Lanes]uint64{1, 1}, [event.Lanes]uint64{})
		for i := range a.batches[event.Bulk] {
			b.send(a, event.Bulk, i, 0)
		}
		u := b.core.units[event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}]
		size := 0
		for _, x := range u.fresh {
			for i := range x.Count {
				for _, attr := range x.Attrs(i) {
					size += len(attr.Value)
				}
			}
			size += 256 * x.Count
		}
		if len(u.fresh) == 0 || size > maxWaiting {
			t.Errorf("%s: %d bytes in %d batches are kept decoded", what, size, len(u.fresh))
		}
	}
}

// Two clones of one machine share a WAL id, and the other relay's claim wins.
// The session here would never settle anything: its agent is told.
func TestOutdatedSessionIsTold(t *testing.T) {
	b, a := connected(t, func(a *fakeAgent) { a.write(t, event.Critical, 3, true) })
	for l := range event.Lane(event.Lanes) {
		if err := b.owner(event.Unit{Origin: "eu/a", WAL: 7, Lane: l}).Claim(custody.Term{Session: 9}, "eu/relay2"); err != nil {
			t.Fatal(err)
		}
	}
	at := len(b.log)
	b.sendAll(a, event.Critical)
	b.settle(at)
	for _, o := range b.said(wire.KindRefused) {
		var m wire.Refused
		if b.decode(o.Body, &m); m.Code == wire.RefusedOldTerm && len(b.said(outHangUp)) == 1 {
			return
		}
	}
	t.Error("the agent goes on in a session that was taken over")
}

// Expectations that went into a session that died are said again.
func TestExpectationsAreSaidToTheNextRoot(t *testing.T) {
	b, a := connected(t, func(a *fakeAgent) {
		a.put(t, event.Critical, []event.Event{{Entity: "app/x", Signal: "abend.S0C7", Severity: event.SeverityError, Source: "s"}}, nil)
	})
	b.sendAll(a, event.Critical)
	b.tick(6e9)
	first := len(b.said(outExpect))
	if first == 0 {
		t.Fatal("nothing was learned")
	}
	b.uplink(0)
	at := len(b.log)
	b.uplink(1)
	b.settle(at)
	b.tick(6e9)
	if len(b.said(outExpect)) == first {
		t.Error("the next root does not hear what was learned")
	}
}

// An agent that goes away leaves what its bulk lane taught, and the critical
// lane, which speaks for both, holds nothing any more.
func TestWhatBulkTaughtGoesUpAfterTheSession(t *testing.T) {
	b, a := connected(t, func(a *fakeAgent) {
		a.put(t, event.Bulk, []event.Event{{Entity: "app/x", Signal: "abend.S0C7", Severity: event.SeverityError, Criticality: 2, Source: "s"}}, nil)
	})
	b.sendAll(a, event.Bulk)
	if len(b.said(outSection)) > 0 || len(b.said(outExpect)) > 0 {
		t.Fatal("it went up before the session closed")
	}
	b.do(recClose, encodeNumbers(a.session))
	b.tick(6e9)
	if len(b.said(outSection)) == 0 {
		t.Fatal("nothing goes up")
	}
	if len(b.said(outExpect)) == 0 {
		t.Error("the section will be settled, and nobody knows of the new code")
	}
}

// An agent that restarts sends again what it does not know to be settled. The
// detectors must not see that twice, and what is new at last although no root
// answers.
func TestSettledEventsAreSeenOnce(t *testing.T) {
	for name, c := range map[string]struct {
		next    func(b *bench, opened int)
		settled int // times that the detectors saw it
	}{
		"the root answers":         {func(b *bench, opened int) { b.root(opened) }, 1},
		"the root does not answer": {func(b *bench, _ int) { b.tick(claimPatience) }, 2},
		"the root goes":            {func(b *bench, _ int) { b.uplink(0) }, 2},
		"the relay restarts": {func(b *bench, _ int) {
			b.core.seen = nil // it steps its log again
			b.do(recStart, nil)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, a := connected(t, func(a *fakeAgent) { a.write(t, event.Bulk, 3, true) })
			seen := map[uint64]int{}
			b.core.seen = func(a *stream.Arrival) {
				for i := range a.Count {
					seen[a.First+uint64(i)]++
				}
			}
			b.tick(1e9)
			at := len(b.log)
			b.sendAll(a, event.Bulk)
			b.tick(6e9)
			b.settle(at)
			if u := (event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}); b.owner(u).Settled != 3 || seen[3] != 1 {
				t.Fatalf("settled to %d, the last was seen %d times", b.owner(u).Settled, seen[3])
			}
			b.do(recClose, encodeNumbers(a.session))
			a.write(t, event.Bulk, 2, true)
			opened := len(b.log)
			b.mustOpen(a)
			b.sendAll(a, event.Bulk)
			if seen[1] != 1 || seen[5] != 0 {
				t.Errorf("before the root has answered, settled events were seen %d times, new ones %d times", seen[1], seen[5])
			}
			c.next(b, opened)
			if seen[1] != c.settled || seen[5] != 1 && b.core.seen != nil {
				t.Errorf("settled events were seen %d times, want %d; new ones %d times", seen[1], c.settled, seen[5])
			}
			if u := b.core.units[event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}]; u.intake.Stepped != 5 {
				t.Errorf("stepped to %d of 5", u.intake.Stepped)
			}
		})
	}
}
