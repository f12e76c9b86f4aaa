package agent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/golden"
	"pando/internal/pack"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// log drives a core by records, as its journal would.
type log struct {
	t    *testing.T
	core *Core
	at   wal.Seq
	said []journal.Output
}

func newLog(t *testing.T) *log { return &log{t: t, core: NewCore("eu/a", 7)} }

func (l *log) do(kind uint8, body []byte) {
	l.t.Helper()
	l.at++
	if err := l.core.Step(l.at, kind, body, func(o journal.Output) { l.said = append(l.said, o) }); err != nil {
		l.t.Fatalf("record %d: %v", l.at, err)
	}
}

// batch returns a batch of n events from first.
func (l *log) batch(lane event.Lane, first uint64, n int) []byte {
	l.t.Helper()
	b := event.Batch{Unit: event.Unit{Origin: "eu/a", WAL: 7, Lane: lane}, First: first, Boot: clock.Boot{1},
		Positions: []event.Position{{Source: "s#1", File: "f", Offset: int64(first) * 10, Replayable: true}}}
	for i := range n {
		e := event.Event{Seq: first + uint64(i), Entity: "x", Signal: "y", Source: "s"}
		if lane == event.Bulk {
			e.Criticality = 3
		}
		b.Events = append(b.Events, e)
	}
	body, err := b.Encode(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return body
}

func (l *log) settled(lane event.Lane, seq uint64) {
	w := pack.NewWriter()
	w.Uint(uint64(lane))
	w.Uint(seq)
	l.do(recSettled, w.Bytes())
}

// fill appends n batches of two events each to a lane.
func (l *log) fill(lane event.Lane, n int) {
	for range n {
		l.do(recBatch, l.batch(lane, l.core.lanes[lane].last+1, 2))
	}
}

func TestSeekLandsAtOrBeforeTheBatch(t *testing.T) {
	l := newLog(t)
	chains := map[uint64]event.Hash{}
	at := map[uint64]wal.Seq{}
	for range 300 {
		first := l.core.lanes[event.Bulk].last + 1
		chains[first] = l.core.lanes[event.Bulk].chain
		l.fill(event.Bulk, 1)
		at[first] = l.at
		l.do(recStart, nil) // other records lie between
	}
	for first, want := range at {
		from, chain := l.core.Seek(event.Bulk, first)
		if from > want {
			t.Fatalf("seeking %d lands at record %d, its batch is at %d", first, from, want)
		}
		found := false
		for f, rec := range at {
			if rec == from {
				found = chain == chains[f]
			}
		}
		if !found {
			t.Fatalf("seeking %d gives record %d with another chain value than the batch there has before it", first, from)
		}
	}
}

func TestOldestFollowsSettledAndNeverPassesIt(t *testing.T) {
	l := newLog(t)
	at := map[uint64]wal.Seq{} // last of a batch → its record
	for range 400 {
		l.fill(event.Critical, 1)
		at[l.core.lanes[event.Critical].last] = l.at
	}
	for _, settled := range []uint64{0, 2, 130, 640, 798} {
		l.settled(event.Critical, settled)
		if need := at[settled+2]; l.core.Oldest() > need {
			t.Errorf("settled %d: oldest is record %d, the next batch is at %d", settled, l.core.Oldest(), need)
		}
	}
	if l.core.Oldest() < at[600] {
		t.Errorf("oldest is record %d although 798 are settled: nothing would be trimmed", l.core.Oldest())
	}
	l.settled(event.Critical, 800)
	if l.core.Oldest() != 0 {
		t.Errorf("everything is settled, oldest is %d", l.core.Oldest())
	}
}

// A log whose events are all settled may be trimmed up to its end. What comes
// then must be found without what was trimmed: with a chain value from there
// the parent would take the log for a clone's.
func TestSettledLaneIsReadFromWhereItWasSettled(t *testing.T) {
	l := newLog(t)
	l.fill(event.Bulk, 5)
	l.settled(event.Bulk, 10)
	first, chain := l.at, l.core.lanes[event.Bulk].chain // the log may begin here
	l.fill(event.Bulk, 2)
	if from, before := l.core.Seek(event.Bulk, 11); from < first || before != chain {
		t.Errorf("reading begins at record %d, the log at %d; right chain value: %t", from, first, before == chain)
	}
	if l.core.Oldest() < first {
		t.Errorf("oldest is record %d, which is trimmed", l.core.Oldest())
	}
}

func TestGapInTheLogIsDamage(t *testing.T) {
	l := newLog(t)
	l.fill(event.Bulk, 1)
	err := l.core.Step(9, recBatch, l.batch(event.Bulk, 4, 1), func(journal.Output) {})
	if !errors.Is(err, wal.ErrCorrupt) {
		t.Errorf("a batch that leaves a gap: %v, want ErrCorrupt", err)
	}
}

func TestResumeKeepsPositionsOfTheLog(t *testing.T) {
	l := newLog(t)
	l.fill(event.Bulk, 1)
	root := wire.Claimed{WAL: 7, Positions: [event.Lanes][]event.Position{nil,
		{{Source: "s#1", Offset: 1}, {Source: "old#2", Offset: 5}}}}
	l.do(recResume, wire.Encode(&root).Body)
	p := l.core.lanes[event.Bulk].positions
	if p["s#1"].Offset != 10 || p["old#2"].Offset != 5 {
		t.Errorf("positions %v: want the log's own where it has one, else the root's", p)
	}
}

// A lane that lags is read again after a restart; the other one must not go
// back with it, or a second restart would count its lines twice.
func TestPositionsNeverFall(t *testing.T) {
	l := newLog(t)
	l.fill(event.Bulk, 3)
	far := l.core.lanes[event.Bulk].positions["s#1"].Offset
	b := event.Batch{Unit: event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}, First: l.core.lanes[event.Bulk].last + 1, Boot: clock.Boot{1},
		Positions: []event.Position{{Source: "s#1", File: "f", Offset: far - 15, Replayable: true}},
		Events:    []event.Event{{Seq: l.core.lanes[event.Bulk].last + 1, Source: "s", Criticality: 3}}}
	body, err := b.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.do(recBatch, body)
	if got := l.core.lanes[event.Bulk].positions["s#1"].Offset; got != far {
		t.Errorf("the position fell from %d to %d", far, got)
	}
}

func trace(t *testing.T, each func(l *log)) *log {
	l := newLog(t)
	for i := range 200 {
		switch i % 7 {
		case 0, 1, 2:
			l.fill(event.Critical, 1)
		case 3, 4:
			l.fill(event.Bulk, 2)
		case 5:
			l.settled(event.Lane(i%2), uint64(i))
		case 6:
			w := pack.NewWriter()
			wire.AppendMapping(w, clock.Mapping{Boot: clock.Boot{byte(i)}, Offset: int64(i)})
			l.do(recClock, w.Bytes())
		}
		each(l)
	}
	return l
}

func TestRestoredCoreGoesOnAlike(t *testing.T) {
	restored := trace(t, func(l *log) {
		w := pack.NewWriter()
		l.core.AppendState(w)
		c := NewCore("eu/a", 7)
		r := pack.NewReader(w.Bytes())
		if err := errors.Join(c.ReadState(r), r.Done()); err != nil {
			t.Fatal(err)
		}
		again := pack.NewWriter()
		c.AppendState(again)
		if !bytes.Equal(w.Bytes(), again.Bytes()) {
			t.Fatal("a restored state has other bytes")
		}
		l.core = c
	})
	straight := trace(t, func(*log) {})
	if sum(restored.said) != sum(straight.said) {
		t.Error("a core restored at every step says something else")
	}
	if restored.core.Oldest() != straight.core.Oldest() {
		t.Error("a core restored at every step needs other records")
	}
}

func sum(outs []journal.Output) string {
	h := sha256.New()
	for _, o := range outs {
		fmt.Fprintf(h, "%s %d %x\n", o.To, o.Kind, o.Body)
	}
	return fmt.Sprintf("%d outputs %x\n", len(outs), h.Sum(nil))
}

// TestGoldenTrace pins the core's outputs, byte for byte, on every machine.
func TestGoldenTrace(t *testing.T) {
	got := sum(trace(t, func(*log) {}).said)
	golden.Compare(t, "core.golden", []byte(got), "raise logicVersion")
}
