// Package status is what nodes say of themselves to operators. A report
// travels up the tree as JSON about once a second; nothing depends on it.
package status

import (
	"encoding/hex"
	"fmt"

	"pando/wal"
)

// Source is the state of one of an agent's sources.
type Source struct {
	Name     string            `json:"name"`
	State    string            `json:"state"` // readable, behind, unreadable
	Lines    uint64            `json:"lines"`
	LagBytes int64             `json:"lag_bytes"`
	Address  string            `json:"address,omitempty"` // where a listener listens
	Dropped  map[string]uint64 `json:"dropped,omitempty"` // by reason
	Error    string            `json:"error,omitempty"`
}

// Unit is one lane of an agent's log.
type Unit struct {
	Lane     string `json:"lane"`
	Accepted uint64 `json:"accepted"` // last sequence number
	Settled  uint64 `json:"settled"`  // as far as the agent knows
}

// Seal is the newest sealed segment of a node's log. Its hash covers the
// segment, and by its first frame the hash of the one before, and so all.
type Seal struct {
	WAL     string `json:"wal"`
	Segment uint64 `json:"segment"`
	Last    uint64 `json:"last_record"`
	SHA256  string `json:"sha256"`
}

// SealOf describes the newest sealed segment of a log, or is nil.
func SealOf(l *wal.Log) *Seal {
	s, ok := l.Sealed()
	if !ok {
		return nil
	}
	return &Seal{WAL: fmt.Sprintf("%016x", l.ID()), Segment: s.Number, Last: uint64(s.Last), SHA256: hex.EncodeToString(s.SHA256[:])}
}

// Node is one node's state.
type Node struct {
	Name        string   `json:"name"` // region/name
	Role        string   `json:"role"`
	Region      string   `json:"region"`
	Parent      string   `json:"parent,omitempty"`
	State       string   `json:"state"` // live, silent, starting, full; at a root also cloned, unknown; of a root: leader, follower, candidate
	Version     string   `json:"version"`
	Address     string   `json:"address,omitempty"` // transport, of relays and roots
	API         string   `json:"api,omitempty"`
	WAL         string   `json:"wal,omitempty"` // WAL id, of agents
	Skewed      bool     `json:"skew_known"`    // SkewNs and SkewBoundNs are known
	SkewNs      int64    `json:"skew_ns"`       // own wall clock minus root time
	SkewBoundNs int64    `json:"skew_bound_ns"` // error of root time here
	EventsPerS  float64  `json:"events_per_s"`  // appended (agent) or stepped (relay) lately
	Events      uint64   `json:"events"`        // in all, heartbeats included
	Lag         int64    `json:"lag"`           // events here that are not settled
	WALBytes    int64    `json:"wal_bytes"`
	Sources     []Source `json:"sources,omitempty"`
	Units       []Unit   `json:"units,omitempty"`  // of an agent's WAL id
	Sealed      *Seal    `json:"sealed,omitempty"` // of an agent's or a relay's log
	AsOf        int64    `json:"as_of"`            // root time of the report, nanoseconds
}

// Report is a node and all that it knows below itself.
type Report struct {
	Node     Node   `json:"node"`
	Children []Node `json:"children,omitempty"`
}
