//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pando/event"
	"pando/incident"
	"pando/internal/pack"
	"pando/stream"
	"pando/transport"
)

// ErrUnknown reports an incident that is not, or not any more, in the state.
var ErrUnknown = errors.New("no such incident")

// Times in what follows are root time in nanoseconds since the Unix epoch.

// Unit is how far one unit is settled, and what that adds up to.
type Unit struct {
	Origin     string  `json:"origin"`
	WAL        string  `json:"wal"`
	Lane       string  `json:"lane"`
	Relay      string  `json:"relay,omitempty"` // that owns it
	Term       string  `json:"term"`
	Settled    uint64  `json:"settled"`
	Chain      string  `json:"chain"` // at settled, hexadecimal
	Closed     bool    `json:"closed"`
	Current    bool    `json:"current"` // its WAL id is its agent's newest
	Events     uint64  `json:"events"`  // heartbeats not included
	Heartbeats uint64  `json:"heartbeats"`
	Losses     uint64  `json:"losses"` // events that say what was dropped
	Folded     uint64  `json:"folded"`
	Unsummed   uint64  `json:"unsummed"`
	Sum        float64 `json:"sum"`
	SumExact   string  `json:"sum_exact"` // decimal
}

// Series is what one series adds up to.
type Series struct {
	Entity   string  `json:"entity"`
	Signal   string  `json:"signal"`
	Count    uint64  `json:"count"`
	Backlog  uint64  `json:"backlog"` // of count, read far behind their source
	Sum      float64 `json:"sum"`
	SumExact string  `json:"sum_exact"`
	Severity int     `json:"severity"`
	First    int64   `json:"first"` // start of the first pane
	Last     int64   `json:"last"`  // start of the last pane
}

// readLimit bounds a linearizable read: without a quorum it fails instead of
// hanging.
const readLimit = 3 * time.Second

// read returns a state that holds everything that was acknowledged before the
// call, or, if stale is allowed, what this root has.
func (r *Root) read(ctx context.Context, stale bool) (*view, error) {
	if stale {
		return r.fsm.view(), nil
	}
	if r.barred() {
		return nil, errDisputed
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	index, err := r.readIndex(ctx)
	if err != nil {
		return nil, fmt.Errorf("linearizable read, leader %q: %w", r.Leader(), err)
	}
	return r.fsm.await(ctx, index)
}

// readIndex asks the leader, here or elsewhere, to confirm that it leads, and
// returns the index that a read must have seen.
func (r *Root) readIndex(ctx context.Context) (uint64, error) {
	m, err := r.decide(ctx, r.newRequest(r.name, func(id uint64) transport.Message {
		w := pack.NewWriter()
		w.Uint(id)
		return transport.Message{Kind: kindRead, Body: w.Bytes()}
	}))
	if err != nil {
		return 0, err
	}
	if m.Kind != kindReadAnswer {
		return 0, fmt.Errorf("answered by kind %d", m.Kind)
	}
	p := pack.NewReader(m.Body)
	_, index := p.Uint("id", 1<<63), p.Uint("index", 1<<64-1)
	return index, p.Done()
}

// Incidents lists the incidents that are kept. The read is linearizable unless
// stale is set; without a quorum it fails.
func (r *Root) Incidents(ctx context.Context, stale bool) ([]incident.Summary, error) {
	v, err := r.read(ctx, stale)
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", err)
	}
	return v.set.Summaries(), nil
}

// Incident returns one incident by its id or an alias of it; the error wraps
// [ErrUnknown] if there is none.
func (r *Root) Incident(ctx context.Context, id string, stale bool) (incident.Detail, error) {
	v, err := r.read(ctx, stale)
	if err != nil {
		return incident.Detail{}, fmt.Errorf("incident: %w", err)
	}
	return v.incident(id)
}

func (v *view) incident(id string) (incident.Detail, error) {
	d, ok := v.set.Detail(id)
	if !ok {
		return d, fmt.Errorf("%s: %w", id, ErrUnknown)
	}
	d.Index = v.index
	of := v.set.Get(id).Timeline()
	for i := range d.Findings {
		if c, ok := v.commits.Get(of[i].Finding.ID); ok {
			d.Findings[i].Committed, d.Findings[i].Index = c.at, c.index
		}
	}
	return d, nil
}

// Units returns all units, in their order.
func (r *Root) Units(ctx context.Context, stale bool) ([]Unit, error) {
	v, err := r.read(ctx, stale)
	if err != nil {
		return nil, fmt.Errorf("units: %w", err)
	}
	return v.listUnits(), nil
}

func (v *view) listUnits() []Unit {
	out := make([]Unit, 0, v.units.Len())
	v.units.Ascend(func(id event.Unit, u *unit) bool {
		o, _ := v.origins.Get(id.Origin)
		out = append(out, Unit{Origin: id.Origin, WAL: id.WAL.String(), Lane: id.Lane.String(), Relay: u.owner.Relay, Term: u.owner.Term.String(),
			Settled: u.owner.Settled, Chain: fmt.Sprintf("%x", u.owner.Chain[:]), Closed: u.owner.Closed, Current: o != nil && o.Current == id.WAL,
			Events: u.events, Heartbeats: u.heartbeats, Losses: u.losses, Folded: u.folded, Unsummed: u.unsummed, Sum: u.sum.Float(), SumExact: u.sum.String()})
		return true
	})
	return out
}

// Series returns all series, by entity and signal.
func (r *Root) Series(ctx context.Context, stale bool) ([]Series, error) {
	v, err := r.read(ctx, stale)
	if err != nil {
		return nil, fmt.Errorf("series: %w", err)
	}
	return v.listSeries(), nil
}

func (v *view) listSeries() []Series {
	out := make([]Series, 0, v.series.Len())
	v.series.Ascend(func(id stream.Series, t *total) bool {
		out = append(out, Series{Entity: id.Entity, Signal: id.Signal, Count: t.count, Backlog: t.backlog, Sum: t.sum.Float(), SumExact: t.sum.String(),
			Severity: int(t.severity), First: t.first.Start(), Last: t.last.Start()})
		return true
	})
	return out
}

// Changes returns the changes of incidents that entries from index on made,
// as far as they are kept, and a channel that is closed when there may be
// more.
func (r *Root) Changes(from uint64) ([]Change, <-chan struct{}) {
	v, moved := r.fsm.next()
	at := len(v.changes)
	for at > 0 && v.changes[at-1].Index >= from {
		at--
	}
	return v.changes[at:], moved
}

// State is how this root and its group are.
type State struct {
	Name       string     `json:"name"`
	State      string     `json:"state"` // leader, follower, candidate, shutdown, stopped
	Ready      bool       `json:"ready"` // a leader is known
	Leader     string     `json:"leader"`
	Term       uint64     `json:"term"`
	Commit     uint64     `json:"commit_index"`
	Applied    uint64     `json:"applied_index"`
	Snapshot   uint64     `json:"snapshot_index"`
	Now        int64      `json:"now"`      // root time here
	Commands   uint64     `json:"commands"` // applied since the group began
	Marked     uint64     `json:"marked"`   // commands up to the newest comparison of states
	Agreed     int        `json:"agreed"`   // members whose state was the same there
	Units      int        `json:"units"`
	Agents     int        `json:"agents"`
	Series     int        `json:"series"`
	Incidents  int        `json:"incidents_open"`
	Detection  Detections `json:"detection_ms"`
	Counters   Counters   `json:"counters"`
	Correlated struct {
		Findings uint64 `json:"findings"`
		Dropped  uint64 `json:"dropped"`
		Late     uint64 `json:"late"`
		Edges    int    `json:"edges"`
	} `json:"correlation"`
}

// State returns this root's view of itself and its group.
func (r *Root) State() State {
	st, v := r.node.Stats(), r.fsm.view()
	s := State{Name: r.name, State: r.Status().State, Leader: r.Leader(), Ready: r.Leader() != "", Term: st.Term, Commit: st.CommitIndex,
		Applied: st.AppliedIndex, Snapshot: st.SnapshotIndex, Now: r.time.Now(), Commands: v.count, Marked: v.mark.number,
		Units: v.units.Len(), Agents: v.origins.Len(), Series: v.series.Len(), Incidents: v.openIncidents(), Detection: r.Detections(), Counters: v.counts}
	for _, x := range v.mark.votes {
		if x.hash == v.mark.hash {
			s.Agreed++
		}
	}
	c := v.set.Counts()
	s.Correlated.Findings, s.Correlated.Dropped, s.Correlated.Late = uint64(c.Findings), c.Dropped, c.Late
	s.Correlated.Edges = v.edges
	return s
}

// Health reports why this root does not serve, or nil: it leads, or knows who
// does.
func (r *Root) Health() error {
	if st := r.node.Stats().State; st == "Shutdown" || st == "Stopped" {
		return fmt.Errorf("raft is %s", st)
	}
	if r.Leader() == "" {
		return ErrNoLeader
	}
	return nil
}
