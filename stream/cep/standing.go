package cep

import (
	"fmt"
	"slices"
)

// What follows is patterns as operators get them, in JSON.

// Listing is the patterns of a node.
type Listing struct {
	// Version is the Raft index of the entry that put the set in force; 0: none
	// ever did.
	Version  uint64     `json:"version"`
	Patterns []Standing `json:"patterns"`
	Late     uint64     `json:"late"`         // events that came after their time: dropped
	Moved    uint64     `json:"moved"`        // such events, taken as of the watermark
	Hurried  uint64     `json:"hurried"`      // events stepped before the watermark, for want of room
	Reloaded uint64     `json:"reloaded"`     // runs that went with a pattern that changed
	Unsaid   uint64     `json:"unsaid"`       // matches that were too many at once to be said
	Waiting  int        `json:"waiting"`      // events that wait for the watermark
	Bytes    int        `json:"bytes"`        // the most that the patterns which run here may take
	Shared   int        `json:"shared_bytes"` // and the most for all of them together, beside
}

// Standing is how one pattern is.
type Standing struct {
	Name    string `json:"name"`
	Scope   string `json:"scope"` // relay, root
	Hash    string `json:"hash"`  // of what it matches; a reload keeps the runs of patterns whose hash stays
	Here    bool   `json:"here"`  // it runs on this node; otherwise all that follows is 0
	Keys    int    `json:"keys"`
	Runs    int    `json:"runs"`
	Matched uint64 `json:"matched"`
	Expired uint64 `json:"expired"` // runs whose time was over
	Dropped uint64 `json:"dropped"` // runs, keys and events that a limit refused or took away
	Bytes   int    `json:"bytes"`   // the most it may take
}

// String is the scope's name.
func (s Scope) String() string {
	switch s {
	case Relay:
		return "relay"
	case Root:
		return "root"
	}
	return fmt.Sprintf("scope(%d)", uint8(s))
}

// String is as much of the hash as tells patterns apart.
func (h Hash) String() string { return fmt.Sprintf("%x", h[:8]) }

// List tells of a set of which nothing runs here.
func List(s *Set, version uint64) Listing {
	l := Listing{Version: version, Patterns: make([]Standing, len(s.patterns))}
	for i, p := range s.patterns {
		l.Patterns[i] = Standing{Name: p.Name, Scope: p.Scope.String(), Hash: s.hashes[i].String()}
	}
	return l
}

// Listing tells of all patterns of a set, of which e runs those of its own. It
// walks over all keys.
func (e *Engine) Listing(all *Set, version uint64) Listing {
	l, t := List(all, version), e.totals
	l.Late, l.Moved, l.Hurried, l.Reloaded = t.Late, t.Moved, t.Hurried, t.Reloaded
	l.Waiting, l.Shared = e.buffer.len(), e.set.Shared(&e.opts)
	for _, s := range e.Status() {
		at := all.find(s.Name)
		p, c := &l.Patterns[at], &s.Counts
		p.Here, p.Keys, p.Runs, p.Bytes = true, s.Keys, s.Runs, all.patterns[at].Bound().Bytes
		p.Matched, p.Expired, p.Dropped = c.Matched, c.Expired, c.DroppedRuns+c.DroppedKeys+c.RefusedKeys
		l.Bytes += p.Bytes
	}
	return l
}

// Diff is what another set does to the patterns, by name.
type Diff struct {
	Added     []string `json:"added"`
	Changed   []string `json:"changed"`  // they begin anew
	Reworded  []string `json:"reworded"` // only what their finding says changed: their runs stay
	Removed   []string `json:"removed"`
	Unchanged []string `json:"unchanged"`
}

// Diff compares s with what is to follow it.
func (s *Set) Diff(next *Set) Diff {
	d := Diff{Added: []string{}, Changed: []string{}, Reworded: []string{}, Removed: []string{}, Unchanged: []string{}}
	for i, p := range next.patterns {
		at := s.find(p.Name)
		switch {
		case at < 0:
			d.Added = append(d.Added, p.Name)
		case s.hashes[at] != next.hashes[i]:
			d.Changed = append(d.Changed, p.Name)
		case s.patterns[at].Report != p.Report:
			d.Reworded = append(d.Reworded, p.Name)
		default:
			d.Unchanged = append(d.Unchanged, p.Name)
		}
	}
	for _, p := range s.patterns {
		if next.find(p.Name) < 0 {
			d.Removed = append(d.Removed, p.Name)
		}
	}
	return d
}

func (s *Set) find(name string) int {
	return slices.IndexFunc(s.patterns, func(p *Pattern) bool { return p.Name == name })
}
