//go:build !zos

package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a [Pool].
type Options struct {
	Pool string // name of the pool, 1 to 64 bytes; messages of other pools are refused
	Node string // name of this node, unique in the pool, 1 to 128 bytes

	// Bind is the ip:port to listen on, TCP and UDP; port 0 lets the kernel
	// choose. Advertise is the ip:port that others use; empty means the bound
	// one, and its port 0 the bound port. It is needed if Bind is 0.0.0.0 or ::.
	Bind      string
	Advertise string

	Keys  [][]byte // 32 bytes each; the first encrypts, all decrypt
	Seeds []string // host:port of nodes that may know the pool; this node may be among them
	Meta  Meta     // what this node tells of itself

	// Networks limits who may talk and be talked of; empty allows all.
	Networks []netip.Prefix
	// StateFile remembers the members for a restart; empty remembers nothing.
	StateFile string
	// RejoinEvery is the mean pause between attempts to reach lost members
	// and seeds; each pause lies within half and one and a half of it.
	RejoinEvery time.Duration
	// ProbeTimeout is how long a probed member may take to answer: above the
	// 99th percentile of the pool's round trips. It scales the time until a
	// death is seen, about ten times as long.
	ProbeTimeout time.Duration

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil keeps the metrics private

	transport memberlist.Transport // for tests; nil opens sockets
}

// DefaultOptions suits a pool within one region. The pool, the node, the
// keys, the seeds and the meta are the caller's.
func DefaultOptions() Options {
	return Options{
		Bind:         "127.0.0.1:0",
		RejoinEvery:  20 * time.Second,
		ProbeTimeout: 250 * time.Millisecond,
	}
}

// Bounds of the options.
const (
	maxSeeds        = 64 // a few are tried at a time, in turn
	maxNetworks     = 64 // each packet is compared with all
	minRejoin       = time.Second
	maxRejoin       = 10 * time.Minute
	minProbeTimeout = 10 * time.Millisecond
	maxProbeTimeout = 10 * time.Second
)

func (o Options) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Pool == "" || len(o.Pool) > maxPool {
		fault("pool name has %d bytes, 1 to %d are allowed", len(o.Pool), maxPool)
	}
	if o.Node == "" || len(o.Node) > maxName {
		fault("node name has %d bytes, 1 to %d are allowed", len(o.Node), maxName)
	}
	bind, err := netip.ParseAddrPort(o.Bind)
	if err != nil {
		fault("bind %q is no ip:port; a host name would be ambiguous", o.Bind)
	} else if bind.Addr().IsUnspecified() && o.Advertise == "" {
		fault("bind %s listens on all addresses: set advertise to the ip:port that others reach", bind)
	}
	if o.Advertise != "" {
		if a, err := netip.ParseAddrPort(o.Advertise); err != nil || a.Addr().IsUnspecified() {
			fault("advertise %q is no ip:port that others could reach", o.Advertise)
		}
	}
	if err := checkKeys(o.Keys); err != nil {
		faults = append(faults, err)
	}
	if len(o.Seeds) > maxSeeds {
		fault("%d seeds, at most %d are allowed", len(o.Seeds), maxSeeds)
	}
	for _, seed := range o.Seeds {
		if host, port, err := net.SplitHostPort(seed); err != nil || host == "" || port == "" || strings.Contains(seed, "/") {
			fault("seed %q is no host:port", seed)
		}
	}
	if _, err := o.Meta.encode(); err != nil {
		faults = append(faults, err)
	}
	if len(o.Networks) > maxNetworks {
		fault("%d networks, at most %d are allowed", len(o.Networks), maxNetworks)
	}
	for _, network := range o.Networks {
		if !network.IsValid() {
			fault("network %s is invalid", network)
		}
	}
	if o.RejoinEvery < minRejoin || o.RejoinEvery > maxRejoin {
		fault("rejoin pause %v is outside %v to %v", o.RejoinEvery, minRejoin, maxRejoin)
	}
	if o.ProbeTimeout < minProbeTimeout || o.ProbeTimeout > maxProbeTimeout {
		fault("probe timeout %v is outside %v to %v", o.ProbeTimeout, minProbeTimeout, maxProbeTimeout)
	}
	return errors.Join(faults...)
}

// streamTimeout bounds each step of a stream. A join cannot be cancelled, so
// this is also how long a stop may be held up.
const streamTimeout = 2 * time.Second

// library returns memberlist's configuration. Timings are its LAN values
// unless they are set here: a death is seen after one or two probe intervals
// and a suspicion of three to nine.
func (o Options) library() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = o.Node
	c.Label = o.Pool
	c.GossipVerifyIncoming = true
	c.GossipVerifyOutgoing = true
	c.TCPTimeout = streamTimeout
	c.ProbeTimeout = o.ProbeTimeout
	c.ProbeInterval = 2 * o.ProbeTimeout // leaves as long for the indirect probes
	c.SuspicionMult = 3
	c.SuspicionMaxTimeoutMult = 3
	c.GossipInterval = 100 * time.Millisecond
	c.PushPullInterval = 15 * time.Second
	// A crashed node that returns at another address gets its name back as
	// soon as its death is known; the default would be never.
	c.DeadNodeReclaimTime = time.Nanosecond
	c.EnableCompression = false // LZW costs more than it saves on such messages
	for _, network := range o.Networks {
		network = network.Masked()
		c.CIDRsAllowed = append(c.CIDRsAllowed, net.IPNet{
			IP:   network.Addr().AsSlice(),
			Mask: net.CIDRMask(network.Bits(), network.Addr().BitLen()),
		})
	}
	return c
}
