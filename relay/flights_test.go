package relay

import (
	"fmt"
	"strings"
	"testing"

	"pando/event"
	"pando/tree/journal"
	"pando/tree/wire"
)

// wide appends a batch of n events whose names make a section of about n KiB.
func (a *fakeAgent) wide(t *testing.T, lane event.Lane, n int) {
	var events []event.Event
	for i := range n {
		events = append(events, event.Event{Entity: fmt.Sprintf("%d/%s", i, strings.Repeat("x", 1000)), Signal: "s", Source: "s"})
	}
	a.put(t, lane, events, nil)
}

// bytesOf is how much of a lane's sections were said in some outputs.
func (b *bench) bytesOf(lane event.Lane, outs []journal.Output) (total int) {
	b.t.Helper()
	for _, o := range outs {
		if o.Kind != outSection {
			continue
		}
		s, err := wire.DecodeSection(o.Body)
		if err != nil {
			b.t.Fatal(err)
		}
		if s.Head.Unit.Lane == lane {
			total += len(o.Body)
		}
	}
	return total
}

// A root that does not answer fills the relay's log, not its memory: what is
// said is bounded over all units. What is critical finds room beside bulk, and
// all is said in the end, once.
func TestWhatHasNoAnswerIsBounded(t *testing.T) {
	const agents, rounds, kib = 12, 10, 100
	b := newBench(t)
	b.uplink(1)
	var list []*fakeAgent
	for n := range agents {
		a := b.agent(fmt.Sprintf("eu/a%02d", n), event.WALID(n+1))
		for range rounds {
			a.wide(t, event.Bulk, kib)
		}
		a.write(t, event.Critical, 3, true)
		b.mustOpen(a)
		list = append(list, a)
	}
	b.root(0)
	at := len(b.log)
	for round := range rounds {
		for _, a := range list {
			b.send(a, event.Bulk, round, a.next[event.Bulk]-1)
		}
		b.tick(11e9) // beyond every pace
	}
	said := b.bytesOf(event.Bulk, b.log[at:])
	if most := maxFlying + maxSection; said > most || said < maxFlying {
		t.Errorf("%d bytes of bulk sections were said, at most %d may have no answer, and %d should", said, most, maxFlying)
	}
	b.core = b.restored()
	for _, a := range list {
		mark := len(b.log)
		b.send(a, event.Critical, 0, 3)
		if b.bytesOf(event.Critical, b.log[mark:]) == 0 {
			t.Fatalf("%s: what is critical waits for bulk", a.name)
		}
	}
	b.settle(at)
	for n, a := range list {
		for lane := range event.Lane(event.Lanes) {
			u := event.Unit{Origin: a.name, WAL: event.WALID(n + 1), Lane: lane}
			if got := b.owner(u).Settled; got != a.next[lane]-1 || b.events[u] != got {
				t.Errorf("%s: settled to %d of %d, %d events counted", u, got, a.next[lane]-1, b.events[u])
			}
		}
	}
	if f := b.core.flights; f.bytes != [event.Lanes]uint64{} || len(f.line[event.Bulk]) > 0 {
		t.Errorf("all is answered, still under way: %+v", f)
	}
	b.restorable()
}

// The same holds for expectations: an agent that learnt something waits with
// its sections until there is room to say what, and nobody else does.
func TestWhatIsTaughtIsBounded(t *testing.T) {
	b, a := connected(t, func(a *fakeAgent) { a.write(t, event.Critical, 3, true) })
	b.core.flights.taught = maxTaught
	at := len(b.log)
	b.sendAll(a, event.Critical)
	b.tick(11e9)
	if len(b.log[at:]) > 0 && (b.bytesOf(event.Critical, b.log[at:]) > 0 || len(b.said(outExpect)) > 0) {
		t.Fatal("more is taught than the shell may keep")
	}
	b.do(recReceived, (&received{Taught: maxTaught}).encode())
	if b.bytesOf(event.Critical, b.log[at:]) == 0 || len(b.said(outExpect)) != 1 || b.core.flights.taught == 0 {
		t.Errorf("the section does not go although there is room")
	}
}
