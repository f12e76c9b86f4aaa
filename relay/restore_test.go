package relay

import (
	"fmt"
	"testing"

	"pando/event"
	"pando/tree/custody"
	"pando/tree/wire"
)

// settledBench is a relay and a root with two batches of three events settled,
// and a third batch in the agent's log.
func settledBench(t *testing.T) (*bench, *fakeAgent, event.Unit) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	for range 3 {
		a.write(t, event.Critical, 3, false)
	}
	b.uplink(1)
	b.mustOpen(a)
	b.root(0)
	for i := range 2 {
		at := len(b.log)
		b.send(a, event.Critical, i, 9)
		b.root(at)
	}
	u := event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Critical}
	if got := b.owner(u).Settled; got != 6 {
		t.Fatalf("settled %d", got)
	}
	return b, a, u
}

// wantLost checks that the third batch is settled and what before it is lost,
// in the session that was open before the root was restored.
func (b *bench) wantLost(a *fakeAgent, u event.Unit, lost custody.Range) {
	b.t.Helper()
	if got, want := fmt.Sprint(b.lost[u]), fmt.Sprint([]custody.Range{lost}); got != want {
		b.t.Errorf("lost %s, want %s", got, want)
	}
	if ack := b.ack(a, event.Critical); ack.Settled != 9 {
		b.t.Errorf("acknowledged %+v, want settled 9", ack)
	}
	for _, o := range b.log {
		if o.Kind == outHangUp || o.Kind == wire.KindRefused {
			b.t.Errorf("the session ended: %q", o.Body)
		}
	}
}

func TestRestoredRootGoesOn(t *testing.T) {
	b, a, u := settledBench(t)
	o := b.owner(u)
	o.Settled, o.Chain = 3, a.batches[event.Critical][1].before
	b.uplink(0)
	b.uplink(1)
	at := len(b.log)
	b.send(a, event.Critical, 2, 9)
	b.root(at)
	b.wantLost(a, u, custody.Range{From: 4, To: 6})
}

func TestRestoredRootIsClaimedAgain(t *testing.T) {
	b, a, u := settledBench(t)
	for l := range event.Lane(event.Lanes) {
		*b.owner(event.Unit{Origin: "eu/a", WAL: 7, Lane: l}) = custody.Owner{}
	}
	at := len(b.log)
	b.send(a, event.Critical, 2, 9)
	b.root(at)
	b.tick(2e9)
	b.root(at)
	b.wantLost(a, u, custody.Range{From: 1, To: 6})
}
