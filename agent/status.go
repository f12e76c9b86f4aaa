package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"pando/event"
	"pando/internal/ops"
	"pando/tree/journal"
	"pando/tree/status"
	"pando/tree/wire"
)

var (
	errNotRunning  = errors.New("the agent does not run")
	errNoPositions = errors.New("the root has not said yet where files are to be read from: is a relay with a root reachable?")
)

// reckon updates the rates.
func (a *Agent) reckon(l *life) {
	var total uint64
	l.journal.View(func(c journal.Core) {
		for i := range c.(*Core).lanes {
			total += c.(*Core).lanes[i].last
		}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rate.update(time.Now(), total)
}

// Counts tells what the log holds.
func (a *Agent) Counts() (n Counts, ok bool) {
	a.mu.Lock()
	l := a.life
	a.mu.Unlock()
	if l == nil {
		return n, false
	}
	n.WAL, n.WALBytes, n.Parent = event.WALID(l.journal.Log().ID()), l.journal.Log().Size(), l.up.Parent()
	n.Sealed = status.SealOf(l.journal.Log())
	l.link.mu.Lock()
	defer l.link.mu.Unlock()
	for i := range l.link.handover.out {
		n.Last[i], n.Settled[i] = l.link.handover.out[i].Last, l.link.handover.out[i].Settled
	}
	return n, true
}

// Status is the agent's report on itself.
func (a *Agent) Status() status.Node {
	id := a.opts.Credentials.Identity()
	n := status.Node{Name: a.name, Role: string(id.Role), Region: id.Region, State: "starting", Version: ops.ReadVersion().Version, AsOf: a.clock.Now()}
	n.SkewNs, n.SkewBoundNs, n.Skewed = a.clock.Skew()
	c, ok := a.Counts()
	if !ok {
		return n
	}
	n.State, n.Parent, n.WAL, n.WALBytes = "live", c.Parent, c.WAL.String(), c.WALBytes
	n.Sealed = c.Sealed
	for i := range c.Last {
		n.Events += c.Last[i]
		n.Lag += int64(c.Last[i] - c.Settled[i])
		n.Units = append(n.Units, status.Unit{Lane: event.Lane(i).String(), Accepted: c.Last[i], Settled: c.Settled[i]})
	}
	for _, s := range a.statuses() {
		n.Sources = append(n.Sources, status.Source{Name: s.Source, State: state(s), Lines: s.Lines, LagBytes: s.Lag,
			Address: s.Address, Dropped: s.Dropped, Error: s.Error})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n.EventsPerS = a.rate.value
	if a.full != nil {
		n.State = "full"
	}
	return n
}

// sendStatus tells the parent how this agent is; it may be missed.
func (k *link) sendStatus(ctx context.Context) {
	k.mu.Lock()
	s := k.session
	k.mu.Unlock()
	if s == nil {
		return
	}
	doc, err := json.Marshal(status.Report{Node: k.a.Status()})
	if err != nil || len(doc) > wire.MaxStatus {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_ = s.SendControl(ctx, wire.Encode(&wire.Status{JSON: doc}))
}

// API serves the agent's state: /v1/status, /v1/tree, /v1/tap.
func (a *Agent) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { status.WriteJSON(w, a.Status()) })
	mux.HandleFunc("GET /v1/tree", func(w http.ResponseWriter, _ *http.Request) {
		status.WriteJSON(w, map[string]any{"nodes": []status.Node{a.Status()}})
	})
	mux.Handle("GET /v1/tap", &a.tap)
	return mux
}
