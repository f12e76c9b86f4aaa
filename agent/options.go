// Package agent is the leaf of the tree: it reads sources, appends their
// events to its own log, and hands them over to a relay, one lane beside the
// other, until the root has settled them.
//
//	sources → intake → journal (WAL, core) → link → relay
//	             ↑ blocks when full   ↑ acknowledged   │
//	             └───── heartbeats ←──── settled ──────┘
//
// What is accepted from a source is on disk before anything is acknowledged;
// what is not settled is never trimmed. When its disk was lost, rolled back or
// cloned, the agent opens a log under a new WAL id and its files are read
// again from where the root settled them.
package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/agent/input"
	"pando/event"
	"pando/internal/durable"
	"pando/transport"
)

// Options configure an [Agent]. Start from [DefaultOptions].
type Options struct {
	Dir         string // data folder: the log and the clock's bound
	FS          durable.FS
	Credentials *transport.Credentials // whose identity names the agent
	Network     transport.Network
	Relays      []string // transport addresses of relays to start from
	Sources     []input.Spec

	Heartbeat    time.Duration // between the agent's words on its sources
	SegmentBytes int64         // of the log
	MaxBytes     int64         // most disk the log may take; 0: as there is
	PendingBytes int           // events of a lane that wait for the log before sources are stopped

	// WhenFull is what happens to each lane's events while the log has no room.
	WhenFull [event.Lanes]Policy

	// Wall reads this machine's own clock, nanoseconds since the Unix epoch.
	// Pando does not order events by it; it is shown as skew.
	Wall       func() int64
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// DefaultOptions returns the options of an agent but for its folder,
// credentials, relays and sources.
func DefaultOptions() Options {
	return Options{
		FS: durable.OS(), Network: transport.TCP(), Heartbeat: 200 * time.Millisecond,
		SegmentBytes: 64 << 20, PendingBytes: 4 << 20, WhenFull: [event.Lanes]Policy{Block, Block},
		Wall: func() int64 { return time.Now().UnixNano() }, Logger: slog.New(slog.DiscardHandler),
	}
}

const (
	minHeartbeat = 10 * time.Millisecond
	maxHeartbeat = time.Minute
)

// Validate reports every fault of the options at once. It opens and changes
// nothing.
func (o *Options) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Dir == "" {
		bad("dir: the data folder is missing")
	}
	if o.Credentials == nil {
		bad("tls: credentials are missing")
	} else if id := o.Credentials.Identity(); id.Role != transport.RoleAgent {
		bad("tls: the certificate is of role %s, an agent's is needed", id.Role)
	}
	if len(o.Relays) == 0 {
		bad("relays: name at least one relay's address")
	}
	if o.Heartbeat < minHeartbeat || o.Heartbeat > maxHeartbeat {
		bad("heartbeat: %s is outside %s to %s", o.Heartbeat, minHeartbeat, maxHeartbeat)
	}
	if o.PendingBytes < 64<<10 {
		bad("pending: %d bytes are below 64 KiB", o.PendingBytes)
	}
	for l, p := range o.WhenFull {
		if err := p.validate(); err != nil {
			bad("when_full.%s: %w", event.Lane(l), err)
		}
	}
	names := map[string]bool{}
	for i, s := range o.Sources {
		if err := s.Validate(); err != nil {
			bad("sources[%d]: %w", i, err)
		}
		if names[s.Name] {
			bad("sources[%d]: the name %q is taken", i, s.Name)
		}
		names[s.Name] = true
	}
	return errors.Join(faults...)
}
