//go:build !zos

package root

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"pando/event"
	"pando/internal/exact"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
)

// The entries of the state's maps, as a snapshot and the hash of a mark have
// them.

func appendUnit(w *pack.Writer, id event.Unit, u *unit) {
	stream.AppendUnit(w, id)
	w.Uint(u.owner.Term.Epoch)
	w.Uint(u.owner.Term.Session)
	w.String(u.owner.Relay)
	w.Uint(u.owner.Settled)
	w.Bin(u.owner.Chain[:])
	w.Bool(u.owner.Closed)
	w.Uint(u.events)
	w.Uint(u.heartbeats)
	w.Uint(u.losses)
	w.Uint(u.forfeited)
	appendLosses(w, u.lost)
	w.Uint(u.estate.last)
	w.Uint(u.estate.unread)
	w.Uint(u.estate.reread)
	w.Uint(u.folded)
	w.Uint(u.unsummed)
	u.sum.Append(w)
	w.Uint(u.heard)
	w.Int(u.at)
}

func (s *state) readUnits(r *pack.Reader) {
	var last event.Unit
	for i, n := 0, r.Array("units", MaxUnits+event.Lanes); i < n && r.Err() == nil; i++ {
		id := stream.ReadUnit(r)
		u := &unit{owner: readOwner(r), events: r.Uint("events", math.MaxUint64), heartbeats: r.Uint("heartbeats", math.MaxUint64),
			losses: r.Uint("losses", math.MaxUint64), forfeited: r.Uint("forfeited", math.MaxUint64), lost: readLosses(r),
			estate: estate{r.Uint("estate", math.MaxUint64), r.Uint("unread", math.MaxUint64), r.Uint("reread", math.MaxUint64)},
			folded: r.Uint("folded", math.MaxUint64), unsummed: r.Uint("unsummed", math.MaxUint64), sum: exact.Read(r, "sum"),
			heard: r.Uint("heard", math.MaxUint64), at: r.Int("changed")}
		if i > 0 && last.Compare(id) >= 0 {
			r.Fail("units", fmt.Errorf("%s is not behind %s", id, last))
		}
		last = id
		s.units.Set(id, u)
	}
}

func appendOrigin(w *pack.Writer, name string, o *origin) {
	w.String(name)
	w.Uint(uint64(o.Current))
	w.Uint(o.Opened)
	w.Uint(o.Started)
	w.String(o.relay)
	w.Int(o.at)
	w.Array(len(o.wals))
	for _, id := range o.wals {
		w.Uint(uint64(id))
	}
	w.Uint(o.forgotten)
	for _, list := range o.positions {
		w.Array(len(list))
		for _, p := range list {
			w.String(p.Source)
			w.String(p.File)
			w.Int(p.Offset)
			w.Bool(p.Replayable)
			w.Int(p.at)
		}
	}
	w.Bin(o.expect)
	w.Array(len(o.replacements))
	for _, at := range o.replacements {
		w.Int(at)
	}
	w.Int(o.cloned)
}

func (s *state) readOrigins(r *pack.Reader) {
	last := ""
	for i, n := 0, r.Array("agents", MaxOrigins); i < n && r.Err() == nil; i++ {
		name := r.String("agent", maxName)
		if i > 0 && name <= last {
			r.Fail("agents", fmt.Errorf("%q is not behind %q", name, last))
		}
		last = name
		o := readOrigin(r)
		s.expectTotal += int64(len(o.expect))
		for _, list := range o.positions {
			s.placed += len(list)
		}
		s.origins.Set(name, o)
	}
}

func readOrigin(r *pack.Reader) *origin {
	o := &origin{}
	o.Current, o.Opened = event.WALID(r.Uint("WAL id", math.MaxUint64)), r.Uint("opened", math.MaxUint64)
	o.Started = r.Uint("started", math.MaxUint64)
	o.relay, o.at = r.String("relay", maxName), r.Int("claimed")
	for n := r.Array("WAL ids", MaxWALs); n > 0 && r.Err() == nil; n-- {
		o.wals = append(o.wals, event.WALID(r.Uint("WAL id", math.MaxUint64)))
	}
	o.forgotten = r.Uint("forgotten", math.MaxUint64)
	for l := range o.positions {
		for n := r.Array("positions", MaxPositions); n > 0 && r.Err() == nil; n-- {
			p := placed{event.Position{Source: r.String("source", maxPlace), File: r.String("file", maxPlace),
				Offset: r.Int("offset"), Replayable: r.Bool("replayable")}, r.Int("moved")}
			if k := len(o.positions[l]); k > 0 && o.positions[l][k-1].compare(&p) >= 0 {
				r.Fail("positions", fmt.Errorf("%q is out of order", p.Source))
			}
			o.positions[l] = append(o.positions[l], p)
		}
	}
	if b := r.Bin("expectations", MaxExpect); len(b) > 0 {
		check := pack.NewReader(b)
		anomaly.ReadExpectations(check)
		if err := check.Done(); err != nil {
			r.Fail("expectations", err)
		}
		o.expect = slices.Clone(b)
	}
	for n := r.Array("replacements", cloneReplacements); n > 0 && r.Err() == nil; n-- {
		o.replacements = append(o.replacements, r.Int("replaced"))
	}
	o.cloned = r.Int("cloned")
	return o
}

func appendTotal(w *pack.Writer, id stream.Series, t *total) {
	w.String(id.Entity)
	w.String(id.Signal)
	w.Uint(t.count)
	w.Uint(t.backlog)
	t.sum.Append(w)
	w.Uint(uint64(t.severity))
	w.Int(int64(t.first))
	w.Int(int64(t.last))
}

func (s *state) readSeries(r *pack.Reader) {
	var last stream.Series
	for i, n := 0, r.Array("series", MaxSeries); i < n && r.Err() == nil; i++ {
		id := stream.Series{Entity: r.String("entity", event.MaxName), Signal: r.String("signal", event.MaxName)}
		t := &total{count: r.Uint("count", math.MaxUint64), backlog: r.Uint("backlog", math.MaxUint64), sum: exact.Read(r, "sum"),
			severity: event.Severity(r.Uint("severity", uint64(event.MaxSeverity))),
			first:    stream.Pane(r.Int("first pane")), last: stream.Pane(r.Int("last pane"))}
		if i > 0 && last.Compare(id) >= 0 {
			r.Fail("series", fmt.Errorf("%s is not behind %s", id, last))
		}
		last = id
		s.series.Set(id, t)
	}
}

func appendMember(w *pack.Writer, m *member) {
	w.String(m.name)
	w.String(m.role)
	w.String(m.region)
	w.String(m.addr)
	w.Int(m.at)
}

func (s *state) readNodes(r *pack.Reader) {
	last := ""
	for i, n := 0, r.Array("nodes", MaxNodes); i < n && r.Err() == nil; i++ {
		m := &member{name: r.String("name", maxName), role: r.String("role", maxName), region: r.String("region", maxName),
			addr: r.String("address", maxName), at: r.Int("registered")}
		if i > 0 && strings.Compare(m.name, last) <= 0 {
			r.Fail("nodes", fmt.Errorf("%q is not behind %q", m.name, last))
		}
		last = m.name
		s.nodes.Set(m.name, m)
	}
}

func (s *state) readCommits(r *pack.Reader) {
	for n := r.Array("commits", maxCommits); n > 0 && r.Err() == nil; n-- {
		var id anomaly.ID
		b := r.Bin("finding", len(id))
		if r.Err() == nil && len(b) != len(id) {
			r.Fail("finding", fmt.Errorf("%d bytes, want %d", len(b), len(id)))
		}
		copy(id[:], b)
		if _, known := s.commits.Get(id); known {
			r.Fail("commits", fmt.Errorf("finding %s stands twice", id))
		}
		s.commits.Set(id, commit{index: r.Uint("index", math.MaxUint64), at: r.Int("committed")})
		s.committed = append(s.committed, id)
	}
}
