//go:build !zos

// Package relay is the inner node of the tree: it takes events over from
// agents, steps them through panes and detectors, and hands sections and
// findings to the root. Relays of lower tiers may stand below it; what they say
// passes through its memory only.
//
//	agents → sessions → journal (WAL, core) → upstream → root, or a relay above
//	            ↑ durable, settled ←───┘ ↑ judgements ──┤
//	relays below → lower → passing ─────────────────────┘
//
// The core is a function of the log (see tree/journal); sessions, clocks and
// the root's answers enter it as records.
package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"pando/internal/durable"
	"pando/transport"
	"pando/tree/gossip"
)

// Options configure a [Relay]. Start from [DefaultOptions].
type Options struct {
	Dir         string // data folder
	FS          durable.FS
	Credentials *transport.Credentials // whose identity names the relay
	Network     transport.Network
	Listen      string   // transport address for children
	Advertise   string   // that children dial; empty: the listener's own
	Weight      uint32   // share of agents against other relays
	Parents     []string // transport addresses of roots, or of relays of the next higher tier
	Analysis    Analysis
	Gossip      *gossip.Options // of the region's pool; nil: this relay is alone
	API         string          // address of the API, told to others

	// A session is opened each HandshakeEvery on average, and up to
	// HandshakeBurst at once after a quiet time; who comes beyond is told when
	// to come back. The defaults are what a relay's disk and its root's Raft
	// log take beside their work: when a relay of a thousand agents dies, its
	// neighbour has taken those without a standby over in four seconds.
	HandshakeEvery time.Duration
	HandshakeBurst int

	// MaxPending and MaxPendingPerHost bound half-open connections, as in
	// [transport.Options].
	MaxPending, MaxPendingPerHost int

	// CreditPool is how many bytes the children together may have on their way
	// here, beyond the first batch of each. ChildBytesPerS is what each lane of
	// one child may send on average; 0: as much as the disk takes.
	CreditPool     int64
	ChildBytesPerS int64

	TickEvery    time.Duration // between ticks of the core
	SegmentBytes int64
	MaxBytes     int64
	Wall         func() int64
	Logger       *slog.Logger
	Registerer   prometheus.Registerer

	timeout time.Duration // of sessions, for tests on a machine under load; 0: the transport's own
}

// DefaultOptions returns the options of a relay but for its folder,
// credentials, address and parents.
func DefaultOptions() Options {
	t := transport.DefaultOptions()
	return Options{
		HandshakeEvery: 5 * time.Millisecond, HandshakeBurst: 200, MaxPending: t.MaxPending, MaxPendingPerHost: t.MaxPendingPerHost,
		FS: durable.OS(), Network: transport.TCP(), Weight: 1, Analysis: Analysis{Detectors: DefaultDetectors()},
		CreditPool: 256 << 20,
		TickEvery:  100 * time.Millisecond, SegmentBytes: 64 << 20,
		Wall: func() int64 { return time.Now().UnixNano() }, Logger: slog.New(slog.DiscardHandler),
	}
}

const (
	maxCreditPool = 1 << 40
	// minChildBytesPerS lets the largest batch pass within seconds.
	minChildBytesPerS = 64 << 10
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
	} else if id := o.Credentials.Identity(); id.Role != transport.RoleRelay {
		bad("tls: the certificate is of role %s, a relay's is needed", id.Role)
	}
	if o.Listen == "" {
		bad("listen: the address for children is missing")
	}
	if len(o.Parents) == 0 {
		bad("parents: name the address of at least one root, or of one relay of a higher tier")
	}
	if _, err := newDoor(o.HandshakeEvery, o.HandshakeBurst); err != nil {
		bad("handshakes: %w", err)
	}
	if o.MaxPending < 1 || o.MaxPendingPerHost < 1 {
		bad("half_open: %d in all and %d of one address: give at least 1", o.MaxPending, o.MaxPendingPerHost)
	}
	if o.CreditPool < 0 || o.CreditPool > maxCreditPool {
		bad("credit_pool: %d bytes are outside 0 to %d", o.CreditPool, maxCreditPool)
	}
	if o.ChildBytesPerS < 0 || o.ChildBytesPerS > 0 && o.ChildBytesPerS < minChildBytesPerS {
		bad("child_bytes_per_s: %d: give 0 for no limit, or at least %d", o.ChildBytesPerS, minChildBytesPerS)
	}
	if o.TickEvery < time.Millisecond || o.TickEvery > time.Second {
		bad("tick: %s is outside 1ms to 1s", o.TickEvery)
	}
	if err := o.Analysis.Detectors.Validate(); err != nil {
		bad("detectors: %w", err)
	}
	windows := o.Analysis.windows()
	if err := windows.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// analysisYAML is the configuration as the log keeps it.
func (o *Options) analysisYAML() ([]byte, error) { return yaml.Marshal(o.Analysis) }
