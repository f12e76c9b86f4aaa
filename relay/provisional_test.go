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
	var told []receipt
	named := 0
	for _, o := range b.log[at:] {
		switch o.Kind {
		case outFinding:
			f := anomaly.ReadFinding(pack.NewReader(o.Body))
			told = append(told, receipt{ID: f.ID, Revision: f.Revision})
			if named > 0 {
				t.Error("an id is given away before what it was made of")
			}
		case outNamed:
			n := wire.ReadNamed(pack.NewReader(o.Body))
			named += len(n)
			if n[0].ID != list[0].ID {
				t.Errorf("named %+v, want %s", n, list[0].ID)
			}
		}
	}
	if len(told) == 0 || named != 1 {
		t.Fatalf("%d findings and %d ids are told to the root", len(told), named)
	}
	b.do(recReceived, (&received{Findings: told}).encode())
	if left := b.core.local.set.Freeze().Summaries(); len(left) != 0 {
		t.Errorf("the root has all, still provisional: %+v", left)
	}
	if n := len(b.said(outIncident)); n != 2 {
		t.Errorf("%d changes were announced, want that it opened and that the roots have it", n)
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
