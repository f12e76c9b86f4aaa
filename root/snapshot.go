//go:build !zos

package root

import (
	"errors"
	"fmt"
	"io"
	"math"

	"pando/event"
	"pando/incident"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/custody"
)

// A snapshot is: format, logic version, the header, and then units, agents,
// series, nodes and commits, each an array of entries in the order of their
// keys, then the graph and the incidents in their own formats; and, from
// patternLogic on, the patterns. Equal states have equal bytes.
const (
	// formatPatternless is the format of states whose logic has no patterns, and
	// formatPatterns that of all others.
	formatPatternless = 2
	formatPatterns    = 3
	// maxSnapshot ends the reading of a stream that does not end. A state of
	// ten thousand agents takes some 100 MB.
	maxSnapshot = 16 << 30
	// flushAt is how much of a snapshot is gathered before it is written.
	flushAt = 256 << 10
)

// ErrSnapshot reports a snapshot that this version cannot read.
var ErrSnapshot = errors.New("snapshot of the root's state is not readable")

// formatOf is the format in which a state of a logic is written.
func formatOf(logic uint64) uint64 {
	if logic < patternLogic {
		return formatPatternless
	}
	return formatPatterns
}

// chunked writes a snapshot in pieces.
type chunked struct {
	w   *pack.Writer
	out io.Writer
	n   int64
	err error
}

func (c *chunked) flush(least int) {
	if c.err != nil || c.w.Len() < least {
		return
	}
	n, err := c.out.Write(c.w.Bytes())
	c.n += int64(n)
	c.err = err
	c.w.Reset()
}

// WriteTo writes the snapshot.
func (v *view) WriteTo(out io.Writer) (int64, error) {
	c := &chunked{w: pack.NewWriter(), out: out}
	w := c.w
	w.Uint(formatOf(v.logic))
	w.Uint(v.logic)
	v.header.append(w)
	w.Array(v.units.Len())
	v.units.Ascend(func(id event.Unit, u *unit) bool { appendUnit(w, id, u); c.flush(flushAt); return c.err == nil })
	w.Array(v.origins.Len())
	v.origins.Ascend(func(name string, o *origin) bool { appendOrigin(w, name, o); c.flush(flushAt); return c.err == nil })
	w.Array(v.series.Len())
	v.series.Ascend(func(id stream.Series, t *total) bool { appendTotal(w, id, t); c.flush(flushAt); return c.err == nil })
	w.Array(v.nodes.Len())
	v.nodes.Ascend(func(_ string, m *member) bool { appendMember(w, m); return true })
	w.Array(len(v.committed))
	for _, id := range v.committed {
		at, _ := v.commits.Get(id)
		appendCommit(w, id, at)
	}
	c.flush(flushAt)
	v.graph.AppendTo(w)
	c.flush(flushAt)
	v.set.AppendTo(w)
	if v.logic >= patternLogic {
		c.flush(flushAt)
		v.patterns.append(w)
	}
	c.flush(0)
	return c.n, c.err
}

// readState reads what WriteTo wrote, and checks it: the bytes may come from
// another member, and be of a logic that is not known here.
func readState(in io.Reader, known logics) (*state, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxSnapshot+1))
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	if len(b) > maxSnapshot {
		return nil, fmt.Errorf("it is above the limit of %d bytes: %w", maxSnapshot, ErrSnapshot)
	}
	s, err := newState()
	if err != nil {
		return nil, err
	}
	r := pack.NewReader(b)
	format := r.Uint("format", math.MaxUint32)
	s.logic = r.Uint("logic version", math.MaxUint32)
	if r.Err() == nil && (format < formatPatternless || format > formatPatterns) {
		return nil, fmt.Errorf("format %d, this program has %d to %d: %w", format, formatPatternless, formatPatterns, ErrSnapshot)
	}
	if r.Err() == nil {
		if err := known.check(s.logic); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		if want := formatOf(s.logic); format != want {
			return nil, fmt.Errorf("format %d with logic %d, which has format %d: %w", format, s.logic, want, ErrSnapshot)
		}
	}
	s.header.read(r)
	s.readUnits(r)
	s.readOrigins(r)
	s.readSeries(r)
	s.readNodes(r)
	s.readCommits(r)
	if r.Err() == nil {
		s.graph = incident.ReadGraph(r)
	}
	if r.Err() == nil {
		s.set = incident.ReadSet(r, correlation())
	}
	if r.Err() == nil && s.logic >= patternLogic {
		s.patterns.read(r)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s, nil
}

func (h *header) append(w *pack.Writer) {
	w.Int(h.now)
	w.Uint(h.index)
	w.Uint(h.count)
	w.Bin(h.output[:])
	h.mark.append(w)
	h.appendGroup(w)
	w.Int(h.expired)
	w.Uint(h.changed)
	w.Uint(h.settled)
	for _, n := range h.counts.list() {
		w.Uint(*n)
	}
	appendChanges(w, h.changes)
}

func (h *header) read(r *pack.Reader) {
	h.now, h.index, h.count = r.Int("now"), r.Uint("index", math.MaxUint64), r.Uint("count", math.MaxUint64)
	readHash(r, &h.output)
	h.mark.read(r)
	h.readGroup(r)
	h.expired, h.changed, h.settled = r.Int("expired"), r.Uint("changed", math.MaxUint64), r.Uint("settled", math.MaxUint64)
	for _, n := range h.counts.list() {
		*n = r.Uint("counter", math.MaxUint64)
	}
	h.changes = readChanges(r)
}

func (m *mark) append(w *pack.Writer) {
	w.Uint(m.number)
	w.Uint(m.index)
	w.Bin(m.hash[:])
	w.Uint(uint64(m.members))
	w.Array(len(m.votes))
	for _, v := range m.votes {
		w.String(v.member)
		w.Uint(v.number)
		w.Bin(v.hash[:])
	}
}

func (m *mark) read(r *pack.Reader) {
	m.number, m.index = r.Uint("mark", math.MaxUint64), r.Uint("mark index", math.MaxUint64)
	readHash(r, &m.hash)
	m.members = int(r.Uint("members", maxMembers))
	last := ""
	for n := r.Array("votes", maxMembers); n > 0 && r.Err() == nil; n-- {
		v, _ := readVote(r)
		if len(m.votes) > 0 && v.member <= last {
			r.Fail("votes", fmt.Errorf("%q is not behind %q", v.member, last))
		}
		last = v.member
		m.votes = append(m.votes, v)
	}
}

func appendCommit(w *pack.Writer, id anomaly.ID, at commit) {
	w.Bin(id[:])
	w.Uint(at.index)
	w.Int(at.at)
}

func appendChanges(w *pack.Writer, list []Change) {
	w.Array(len(list))
	for i := range list {
		c := &list[i]
		w.Uint(c.Seq)
		w.Uint(c.Index)
		w.Int(c.At)
		w.String(c.Kind)
		w.String(c.ID)
		w.String(c.Into)
		w.String(c.Status)
		w.String(c.First)
		w.Uint(uint64(c.Severity))
		w.Uint(uint64(c.Findings))
		w.String(c.Summary)
	}
}

func readChanges(r *pack.Reader) []Change {
	var list []Change
	for n := r.Array("changes", MaxChanges); n > 0 && r.Err() == nil; n-- {
		list = append(list, Change{
			Seq: r.Uint("change", math.MaxUint64), Index: r.Uint("change index", math.MaxUint64), At: r.Int("change time"),
			Kind: r.String("change kind", maxName), ID: r.String("incident", maxName), Into: r.String("into", maxName),
			Status: r.String("status", maxName), First: r.String("first", event.MaxName),
			Severity: event.Severity(r.Uint("severity", uint64(event.MaxSeverity))),
			Findings: int(r.Uint("findings", math.MaxInt32)), Summary: r.String("summary", anomaly.MaxText),
		})
	}
	return list
}

func readOwner(r *pack.Reader) custody.Owner {
	o := custody.Owner{Term: transport.Term{Epoch: r.Uint("epoch", math.MaxUint64), Session: r.Uint("session", math.MaxUint64)},
		Relay: r.String("relay", maxName), Settled: r.Uint("settled", math.MaxUint64)}
	readHash(r, (*event.Hash)(&o.Chain))
	o.Closed = r.Bool("closed")
	return o
}
