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
	names []name          // every id that was shown, oldest first
}

// name is the id of a provisional incident. It is said until the root has
// answered, since operators may go on asking for it.
type name struct {
	wire.Named
	told bool // the root has it
}

// Of the graph: how long a call that is not seen again stays, and how often
// the graph is looked through, in nanoseconds; as at the roots.
const (
	edgeLife   = int64(24 * 3600e9)
	sweepEvery = int64(600e9)
)

const (
	// maxProvisional bounds the ids in one message.
	maxProvisional = 256
	// maxNames bounds the ids that are remembered: as many as findings that they
	// can be made of. Beyond it those go first that the root has.
	maxNames = maxPendingFindings
)

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

// named lists the ids that the root does not have yet, each with the finding
// that it was made of.
func (p *provisional) named() []wire.Named {
	var out []wire.Named
	for _, n := range p.names {
		if !n.told {
			out = append(out, n.Named)
		}
	}
	return out
}

// show remembers an id that is shown, and reports whether it is a new one.
func (p *provisional) show(i *incident.Incident) bool {
	if slices.ContainsFunc(p.names, func(n name) bool { return n.ID == i.ID }) {
		return false
	}
	if len(p.names) >= maxNames {
		oldest := max(0, slices.IndexFunc(p.names, func(n name) bool { return n.told }))
		p.names = slices.Delete(p.names, oldest, oldest+1)
	}
	p.names = append(p.names, name{Named: wire.Named{ID: i.ID, Anchor: i.Anchor}})
	return true
}

// told takes note that the root has an id.
func (p *provisional) told(id string) {
	if at := slices.IndexFunc(p.names, func(n name) bool { return n.ID == id }); at >= 0 {
		p.names[at].told = true
	}
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

// announce tells operators of this relay, and the root of new ids. One that was
// shown in an earlier cut goes on: it is announced as open only once.
func (c *core) announce(changes []incident.Change) {
	var fresh []wire.Named
	for _, ch := range changes {
		if ch.Kind == incident.Opened {
			if c.local.show(ch.Incident) {
				fresh = append(fresh, wire.Named{ID: ch.ID, Anchor: ch.Incident.Anchor})
			} else {
				ch.Kind = incident.Reopened
			}
		}
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
	if c.up {
		c.handOver(fresh)
	}
}

// handOver gives ids of provisional incidents to the root, behind the findings
// that they are made of.
func (c *core) handOver(list []wire.Named) {
	for part := range slices.Chunk(list, maxProvisional) {
		w := pack.NewWriter()
		wire.AppendNamed(w, part)
		c.say(journal.Output{To: toRoot, Kind: outNamed, Body: w.Bytes()})
	}
}

// handedOver ends the provisional incidents once the root has committed all
// that they are made of, and has their ids.
func (c *core) handedOver() error {
	if len(c.local.set.Incidents()) == 0 || c.local.holds(c.pending) || len(c.local.named()) > 0 {
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
	w.Array(len(p.names))
	for _, n := range p.names {
		w.String(n.ID)
		w.Bin(n.Anchor[:])
		w.Bool(n.told)
	}
}

func (p *provisional) read(r *pack.Reader) {
	p.swept = r.Int("swept")
	if r.Err() == nil {
		p.graph = incident.ReadGraph(r)
	}
	if r.Err() == nil {
		p.set = incident.ReadSet(r, incident.DefaultOptions())
	}
	for n := r.Array("names", maxNames); n > 0 && r.Err() == nil; n-- {
		x := name{Named: wire.Named{ID: r.String("name", maxText)}}
		copy(x.Anchor[:], r.Bin("anchor", len(x.Anchor)))
		x.told = r.Bool("told")
		p.names = append(p.names, x)
	}
}
