package relay

import (
	"slices"

	"pando/incident"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/journal"
	"pando/tree/wire"
)

// provisional is what a relay makes of its findings while no root is
// connected. It correlates by the roots' own rules, but sees only its region,
// and acts on nothing. When the roots have committed the findings, theirs is
// the incident, and the provisional one's id leads to it.
type provisional struct {
	set   *incident.Set
	graph *incident.Graph // of all calls seen here, cut off or not
	swept int64           // when the graph was last looked through
}

// Of the graph: how long a call that is not seen again stays, and how often
// the graph is looked through, in nanoseconds; as at the roots.
const (
	edgeLife   = int64(24 * 3600e9)
	sweepEvery = int64(600e9)
)

// maxProvisional bounds the ids in one message; an incident beyond it keeps
// the id that the roots give it.
const maxProvisional = 256

func newProvisional() (*provisional, error) {
	set, err := incident.NewSet(incident.DefaultOptions())
	if err != nil {
		return nil, err
	}
	return &provisional{set: set, graph: incident.NewGraph()}, nil
}

// saw learns the calls of a section that leaves for the root.
func (p *provisional) saw(rows *stream.Rows, now int64) {
	for i := range rows.Edges {
		e := &rows.Edges[i]
		if e.From != stream.Other && e.To != stream.Other {
			p.graph.AddEdge(e.From, e.To, min(e.Pane.Start(), now))
		}
	}
}

// tick lets time pass.
func (p *provisional) tick(now int64) []incident.Change {
	if now < p.swept || now-p.swept >= sweepEvery {
		p.swept = now
		p.graph.Expire(now - edgeLife)
	}
	if len(p.set.Incidents()) == 0 {
		return nil
	}
	return p.set.Tick(now, p.graph)
}

// named lists the incidents by id and the finding that each was named after.
func (p *provisional) named() []wire.Named {
	var out []wire.Named
	for _, i := range p.set.Incidents() {
		if len(out) < maxProvisional {
			out = append(out, wire.Named{ID: i.ID, Anchor: i.Anchor})
		}
	}
	return out
}

// holds reports whether one of the findings takes part in an incident here.
func (p *provisional) holds(fs []anomaly.Finding) bool {
	for _, i := range p.set.Incidents() {
		for _, f := range i.Findings {
			if slices.ContainsFunc(fs, func(g anomaly.Finding) bool { return g.ID == f.ID }) {
				return true
			}
		}
	}
	return false
}

// suspect takes findings into the provisional incidents.
func (c *core) suspect(fs []anomaly.Finding) {
	c.announce(c.local.set.AddAll(fs, c.local.graph))
}

// announce tells operators of this relay.
func (c *core) announce(changes []incident.Change) {
	for _, ch := range changes {
		w := pack.NewWriter()
		w.String(ch.Kind.String())
		w.String(ch.ID)
		w.String(ch.Into)
		first, summary := "", ""
		severity := uint64(0)
		if i := ch.Incident; i != nil {
			first, summary, severity = i.First, i.Onset().Summary, uint64(i.Severity)
		}
		w.String(first)
		w.Uint(severity)
		w.String(summary)
		c.say(journal.Output{To: toOperators, Kind: outIncident, Body: w.Bytes()})
	}
}

// handOver gives the provisional incidents' ids to the root, behind the
// findings that they are made of.
func (c *core) handOver() {
	if list := c.local.named(); len(list) > 0 {
		w := pack.NewWriter()
		wire.AppendNamed(w, list)
		c.say(journal.Output{To: toRoot, Kind: outNamed, Body: w.Bytes()})
	}
}

// handedOver ends the provisional incidents once the root has committed all
// that they are made of.
func (c *core) handedOver() error {
	if len(c.local.set.Incidents()) == 0 || c.local.holds(c.pending) {
		return nil
	}
	fresh, err := newProvisional()
	if err != nil {
		return err
	}
	for _, i := range c.local.set.Incidents() {
		c.announce([]incident.Change{{Kind: incident.Merged, ID: i.ID, Incident: i}})
	}
	c.local.set = fresh.set
	return nil
}

func (p *provisional) append(w *pack.Writer) {
	w.Int(p.swept)
	p.graph.AppendTo(w)
	p.set.Freeze().AppendTo(w)
}

func (p *provisional) read(r *pack.Reader) {
	p.swept = r.Int("swept")
	if r.Err() == nil {
		p.graph = incident.ReadGraph(r)
	}
	if r.Err() == nil {
		p.set = incident.ReadSet(r, incident.DefaultOptions())
	}
}
