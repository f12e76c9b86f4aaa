package cep

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"

	"pando/event"
)

// memoryMinutes is how long the test of the bound runs, in event time. All places
// are taken after ten seconds, and from then on every start displaces another, so
// a while shows what six hours do; those take a minute of a machine:
//
//	go test ./stream/cep -run Memory -minutes 360
var memoryMinutes = flag.Int("minutes", 20, "event time for which memory is measured")

// TestMemoryStaysInsideBound starts 1,000 runs a second, of which none ends in
// the time of the test, with more keys than there may be, and a state of its own
// for nearly every run, which is the worst case. The live heap must stay below
// what the pattern says.
func TestMemoryStaysInsideBound(t *testing.T) {
	minutes := max(*memoryMinutes/slower, 1)
	const minute, perSecond, keys = 60, 1000, 1 << 10
	p := &Pattern{
		Name: "starts", Key: []Operand{{Field: FieldEntity}}, Within: 360 * minute * tick,
		Slots: []Slot{
			{Name: "entity", Op: First, Of: field(FieldEntity)}, {Name: "value", Op: First, Of: field(FieldValue)},
		},
		Steps: []Step{
			{Name: "start", When: signalIs("start"), Min: 1, Max: 1},
			{Name: "end", When: node(OpAnd, signalIs("end"), node(OpEqual, field(FieldValue), slot(1))), Min: 1, Max: 1},
		},
		Limits: Limits{Runs: 8, Keys: keys, Events: 2, Text: 64},
	}
	set, err := NewSet([]*Pattern{p})
	if err != nil {
		t.Fatal(err)
	}
	opts := DefaultOptions()
	opts.Buffered, opts.BufferedBytes = 1<<11, 1<<20
	defer debug.SetGCPercent(debug.SetGCPercent(2000)) // garbage is not asked for, and every collection takes time
	before := liveHeap()
	e, err := New(set, opts)
	if err != nil {
		t.Fatal(err)
	}
	bound := p.Bound().Bytes + set.Shared(&opts)
	entities := make([]string, keys+16) // some more than fit
	for i := range entities {
		entities[i] = fmt.Sprintf("payments/%055d", i)
	}
	most := uint64(0)
	ev := Event{Unit: event.Unit{Origin: "east/a", WAL: 1}, Kind: KindLog, Signal: "start"}
	for second := range int64(minutes * minute) {
		for i := range int64(perSecond) {
			ev.Seq++
			ev.Time = (second*perSecond + i) * (tick / perSecond)
			ev.Entity = entities[ev.Seq*2654435761%keys]
			if ev.Seq%1021 == 0 {
				ev.Entity = entities[keys+ev.Seq%16]
			}
			ev.Value = int64(ev.Seq) * Scale
			e.Observe(&ev)
		}
		e.Advance(second * tick)
		if second%minute == minute-1 {
			most = max(most, liveHeap()-before)
		}
	}
	status := e.Status()[0]
	if want := p.Limits.Keys * p.Limits.Runs * 3 / 4; status.Runs < want || status.Groups != status.Runs {
		t.Errorf("%d runs in %d groups: want at least %d, each its own, for the test to mean anything", status.Runs, status.Groups, want)
	}
	if most > uint64(bound) {
		t.Errorf("%d bytes are alive, above the bound of %d", most, bound)
	}
	t.Logf("%d events, %d runs of %d keys: %d bytes alive, bound %d", ev.Seq, status.Runs, status.Keys, most, bound)
	runtime.KeepAlive(e)
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
