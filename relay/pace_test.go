package relay

import (
	"fmt"
	"testing"

	"pando/event"
	"pando/stream"
	"pando/tree/wire"
)

// busy sends one batch a second of many series for so many seconds, and
// returns the bytes of bulk sections that went up meanwhile.
func (b *bench) busy(a *fakeAgent, seconds int) (bytes int) {
	b.t.Helper()
	at := len(b.log)
	for range seconds {
		a.writeSeries(b.t, 200)
		from := len(b.log)
		b.send(a, event.Bulk, len(a.batches[event.Bulk])-1, a.next[event.Bulk]-1)
		for range 10 {
			b.tick(1e8)
		}
		b.root(from)
	}
	for _, o := range b.log[at:] {
		if o.Kind == outSection {
			bytes += len(o.Body)
		}
	}
	return bytes
}

// A relay that sends more than it is granted joins panes and waits longer, and
// comes back when there is room; nothing is lost or doubled by it.
func TestPaceKeepsToTheGrant(t *testing.T) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	b.uplink(1)
	b.mustOpen(a)
	b.root(0)
	b.do(recGrant, encodeNumbers(1<<30))
	free := b.busy(a, 60)
	if b.core.pace.step != 0 {
		t.Errorf("with room to spare the pace is at step %d", b.core.pace.step)
	}
	granted := uint64(free/60) / 5
	b.do(recGrant, encodeNumbers(granted))
	b.busy(a, 120) // it needs a while to find its pace
	if tight := b.busy(a, 60); uint64(tight/60) > granted {
		t.Errorf("%d bytes a second are granted, %d are sent at step %d", granted, tight/60, b.core.pace.step)
	}
	b.do(recGrant, encodeNumbers(1<<30))
	b.busy(a, 120)
	if b.core.pace.step != 0 {
		t.Errorf("with room again the pace is at step %d", b.core.pace.step)
	}
	u := event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}
	if o := b.owner(u); o.Settled+1 != a.next[event.Bulk] || b.events[u] != o.Settled {
		t.Errorf("settled %d, counted %d, of %d", o.Settled, b.events[u], a.next[event.Bulk]-1)
	}
}

// Series under suspicion keep their full resolution.
func TestSuspectsStayFine(t *testing.T) {
	b := newBench(t)
	b.core.pace.suspects[stream.Series{Entity: "app/3", Signal: "log"}] = 1 << 62
	a := b.agent("eu/a", 7)
	b.uplink(1)
	b.mustOpen(a)
	b.root(0)
	b.busy(a, 20)
	panes := map[string]map[stream.Pane]bool{}
	for _, o := range b.said(outSection) {
		s, err := wire.DecodeSection(o.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Rows.Rows {
			if panes[r.Series.Entity] == nil {
				panes[r.Series.Entity] = map[stream.Pane]bool{}
			}
			panes[r.Series.Entity][r.Pane] = true
		}
	}
	if fine, coarse := len(panes["app/3"]), len(panes["app/4"]); fine < 5*coarse {
		t.Errorf("a suspect has %d panes, another series %d", fine, coarse)
	}
}

// writeSeries appends a bulk batch of n events in ten panes of twenty series.
func (a *fakeAgent) writeSeries(t *testing.T, n int) {
	a.writeEvents(t, event.Bulk, n, true, func(i int, e *event.Event) {
		e.Entity = fmt.Sprintf("app/%d", i%20)
		at := int64(a.next[event.Bulk])*5e6 + int64(i)*5e6
		e.Stamp = event.Stamp{Lo: at, Hi: at, Point: at}
	})
}
