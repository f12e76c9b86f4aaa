package relay

import (
	"bytes"
	"testing"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/anomaly"
	"pando/tree/wire"
)

// A region that is cut off makes incidents of its own findings. They survive a
// restart, end when the root has committed the findings, and give it their
// ids only after them.
func TestCutOffRegionHasProvisionalIncidents(t *testing.T) {
	b := newBench(t)
	b.do(recConfig, []byte("rules: [{name: any, entity: app/*, count: 3, within: 10s, class: error, severity: error}]\nhold: 30s\nrearm: 30s\n"))
	a := b.agent("eu/a", 7)
	a.write(t, event.Critical, 5, true)
	b.mustOpen(a)
	b.send(a, event.Critical, 0, 5)
	list := b.core.local.set.Freeze().Summaries()
	if len(list) != 1 || list[0].First != "app/x" || len(b.said(outIncident)) != 1 {
		t.Fatalf("incidents without a root: %+v, %d announced", list, len(b.said(outIncident)))
	}
	b.core = b.restored()
	at := len(b.log)
	b.uplink(1)
	told, named := b.handOver(at)
	if len(told.Findings) == 0 || len(named) != 1 || named[0].ID != list[0].ID {
		t.Fatalf("%d findings and the ids %+v are told to the root, want %s", len(told.Findings), named, list[0].ID)
	}
	b.do(recReceived, told.encode())
	if left := b.core.local.set.Freeze().Summaries(); len(left) != 0 {
		t.Errorf("the root has all, still provisional: %+v", left)
	}
	if n := len(b.said(outIncident)); n != 2 {
		t.Errorf("%d changes were announced, want that it opened and that the roots have it", n)
	}
}

// handOver is what the root answers to findings and names that were said since
// from, and the names. Each is said behind what it was made of.
func (b *bench) handOver(from int) (m received, named []wire.Named) {
	b.t.Helper()
	known := map[anomaly.ID]bool{}
	for _, o := range b.log[:from] {
		if o.Kind == outFinding {
			known[anomaly.ReadFinding(pack.NewReader(o.Body)).ID] = true
		}
	}
	for _, o := range b.log[from:] {
		switch o.Kind {
		case outFinding:
			f := anomaly.ReadFinding(pack.NewReader(o.Body))
			known[f.ID] = true
			m.Findings = append(m.Findings, receipt{ID: f.ID, Revision: f.Revision})
		case outNamed:
			for _, n := range wire.ReadNamed(pack.NewReader(o.Body)) {
				if !known[n.Anchor] {
					b.t.Errorf("%s is given away before what it was made of", n.ID)
				}
				m.Named, named = append(m.Named, n.ID), append(named, n)
			}
		}
	}
	return m, named
}

// The answer to the findings does not end what is provisional while that to its
// name is missing: the name is said to the next root, and is announced once.
func TestNamesAreSaidUntilTheyAreAnswered(t *testing.T) {
	b := newBench(t)
	b.do(recConfig, []byte("rules: [{name: any, entity: app/*, count: 3, within: 10s, class: error, severity: error}]\nhold: 30s\nrearm: 30s\n"))
	a := b.agent("eu/a", 7)
	a.write(t, event.Critical, 5, true)
	b.mustOpen(a)
	b.send(a, event.Critical, 0, 5)
	id := b.core.local.set.Freeze().Summaries()[0].ID
	at := len(b.log)
	b.uplink(1)
	told, _ := b.handOver(at)
	b.do(recReceived, (&received{Findings: told.Findings}).encode())
	b.uplink(0) // before the name is answered
	b.core = b.restored()
	at = len(b.log)
	b.uplink(1)
	again, named := b.handOver(at)
	if len(named) != 1 || named[0].ID != id || len(again.Findings) != 0 {
		t.Fatalf("the next root is told %+v and %d findings, want %s alone", named, len(again.Findings), id)
	}
	b.do(recReceived, again.encode())
	if left := b.core.local.set.Freeze().Summaries(); len(left) != 0 || len(b.said(outIncident)) != 2 {
		t.Errorf("still provisional: %+v; %d changes were announced, want 2", left, len(b.said(outIncident)))
	}
}

// restored is the core as its checkpoint brings it back, in the same bytes.
func (b *bench) restored() *core {
	b.t.Helper()
	w := pack.NewWriter()
	b.core.AppendState(w)
	saved := w.Copy()
	c := b.newCore()
	if err := c.ReadState(pack.NewReader(saved)); err != nil {
		b.t.Fatal(err)
	}
	again := pack.NewWriter()
	c.AppendState(again)
	if !bytes.Equal(again.Bytes(), saved) {
		b.t.Fatal("the state changes when it is read back")
	}
	return c
}
