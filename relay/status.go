//go:build !zos

package relay

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"pando/internal/ops"
	"pando/transport"
	"pando/tree/gossip"
	"pando/tree/journal"
	"pando/tree/status"
	"pando/tree/wire"
)

// report is an agent's latest word on itself.
type report struct {
	node status.Node
	at   time.Time
	size int // bytes that it came in
}

const (
	// maxReports bounds the agents whose reports are kept.
	maxReports = maxSessions
	// maxReported bounds their bytes.
	maxReported = 64 << 20
	// silentAfter is when an agent that said nothing counts as silent.
	silentAfter = 5 * time.Second
	// forgetAfter is when it is dropped from the reports.
	forgetAfter = 10 * time.Minute
)

func (r *Relay) noteStatus(c *child, rep status.Report, size int) {
	n := rep.Node
	n.Name, n.Role, n.Region, n.Parent = c.s.Peer().Node(), string(c.s.Peer().Role), c.s.Peer().Region, r.name
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.reports[n.Name]
	if !known && len(r.reports) >= maxReports || r.reported+size-old.size > maxReported {
		return
	}
	r.reported += size - old.size
	r.reports[n.Name] = report{node: n, at: time.Now(), size: size}
}

// Report is this relay and its children.
func (r *Relay) Report() status.Report {
	rep := status.Report{Node: r.Status()}
	r.mu.Lock()
	defer r.mu.Unlock()
	live := map[string]bool{}
	for _, c := range r.sessions {
		if c.opened.Load() {
			live[c.s.Peer().Node()] = true
		}
	}
	for name, x := range r.reports {
		age := time.Since(x.at)
		if age > forgetAfter {
			delete(r.reports, name)
			r.reported -= x.size
			continue
		}
		if !live[name] {
			if age <= silentAfter {
				continue // it may be another relay's by now
			}
			x.node.State = "silent"
		}
		rep.Children = append(rep.Children, x.node)
	}
	slices.SortFunc(rep.Children, func(a, b status.Node) int { return cmp.Compare(a.Name, b.Name) })
	return rep
}

// Status is the relay's report on itself.
func (r *Relay) Status() status.Node {
	id := r.opts.Credentials.Identity()
	n := status.Node{Name: r.name, Role: string(id.Role), Region: id.Region, Parent: r.up.Parent(), State: "live",
		Version: ops.ReadVersion().Version, Address: r.Addr(), API: r.opts.API, WALBytes: r.journal.Log().Size(), AsOf: r.clock.Now()}
	n.SkewNs, n.SkewBoundNs, n.Skewed = r.clock.Skew()
	n.Sealed = status.SealOf(r.journal.Log())
	r.journal.View(func(k journal.Core) {
		c := k.(*core)
		if !c.up {
			n.State = "cut off"
		}
		for _, u := range c.units {
			n.Lag += int64(u.intake.End - min(u.intake.End, u.intake.Settled))
			n.Events += u.stepped
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	n.EventsPerS = r.rate.value
	return n
}

// held is how many batches of all units wait for settlement.
func (r *Relay) held() (n int) {
	r.journal.View(func(k journal.Core) {
		for _, u := range k.(*core).units {
			n += len(u.intake.Held)
		}
	})
	return n
}

// housekeeping: what is held, rates, reports up, directories down.
func (r *Relay) housekeeping(ctx context.Context) error {
	t := time.NewTicker(statusEvery)
	defer t.Stop()
	var changes <-chan struct{}
	if r.pool != nil {
		changes = r.pool.Changes()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			r.crowded.Store(r.held() >= holdBackAll)
			n := r.Status()
			r.mu.Lock()
			r.rate.update(time.Now(), n.Events)
			r.mu.Unlock()
			r.upstream.sendStatus()
			_ = r.upstream.divide() // a log that takes nothing has said so
		case <-changes:
			r.tellNews()
		}
	}
}

// directory lists the live relays of the region, this one included.
func (r *Relay) directory() wire.Directory {
	id := r.opts.Credentials.Identity()
	d := wire.Directory{Nodes: []wire.Node{{Name: r.name, Region: id.Region, Addr: r.Addr(), Weight: r.opts.Weight}}}
	if r.pool == nil {
		return d
	}
	for _, m := range r.pool.Members() {
		if m.Meta.Role == gossip.Relay && m.Name != r.name {
			d.Nodes = append(d.Nodes, wire.Node{Name: m.Name, Region: m.Meta.Region, Addr: m.Meta.Addr, Weight: m.Meta.Weight})
		}
	}
	slices.SortFunc(d.Nodes, func(a, b wire.Node) int { return cmp.Compare(a.Name, b.Name) })
	return d
}

// tellNews lets all children hear of another directory.
func (r *Relay) tellNews() {
	r.upstream.newsBelow()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.sessions {
		nudge(c.news)
	}
}

// sendDirectory tells a child which relays it may choose from. It is for the
// goroutine that talks to this child: it waits for as long as the child does
// not listen, and what is news meanwhile becomes one directory.
func (r *Relay) sendDirectory(ctx context.Context, s *transport.Session) error {
	d := r.directory()
	return s.SendControl(ctx, wire.Encode(&d))
}

// nudge puts a value into a channel of capacity 1 unless there is one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

var errCutOff = errors.New("no root is connected: events are durable here and settle later")

// Health reports why the relay is not ready, or nil.
func (r *Relay) Health() error {
	if err := r.journal.Log().Err(); err != nil {
		return err
	}
	up := false
	r.journal.View(func(k journal.Core) { up = k.(*core).up })
	if !up {
		return errCutOff
	}
	return nil
}

// UnitState is a unit in this relay's custody, for operators.
type UnitState struct {
	Unit    string `json:"unit"`
	Held    uint64 `json:"held"`
	Stepped uint64 `json:"stepped"`
	Settled uint64 `json:"settled"`
	Live    bool   `json:"live"`
	Claimed bool   `json:"claimed"`
	Fenced  bool   `json:"fenced"`
	Closed  bool   `json:"closed"`
}

// Units lists the units in this relay's custody.
func (r *Relay) Units() []UnitState {
	var list []UnitState
	r.journal.View(func(k journal.Core) {
		for _, u := range k.(*core).order() {
			n := &u.intake
			list = append(list, UnitState{Unit: u.id.String(), Held: n.End, Stepped: n.Stepped, Settled: n.Settled,
				Live: n.Live, Claimed: n.Claimed, Fenced: n.Fenced, Closed: n.Closed})
		}
	})
	return list
}

// API serves the relay's state: /v1/status, /v1/tree, /v1/units, /v1/windows, /v1/patterns,
// /v1/tap, and as /v1/incidents the provisional ones.
func (r *Relay) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { status.WriteJSON(w, r.Status()) })
	mux.HandleFunc("GET /v1/tree", func(w http.ResponseWriter, _ *http.Request) {
		rep := r.Report()
		nodes := append([]status.Node{rep.Node}, rep.Children...)
		status.WriteJSON(w, map[string]any{"nodes": append(nodes, r.upstream.nodesBelow()...)})
	})
	mux.HandleFunc("GET /v1/units", func(w http.ResponseWriter, _ *http.Request) { status.WriteJSON(w, map[string]any{"units": r.Units()}) })
	r.serveIncidents(mux)
	r.serveWindows(mux)
	mux.HandleFunc("GET /v1/patterns", func(w http.ResponseWriter, _ *http.Request) { status.WriteJSON(w, r.Patterns()) })
	mux.Handle("GET /v1/tap", &r.tap)
	return mux
}
