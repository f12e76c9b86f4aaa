//go:build !zos

package consensus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"pando/internal/durable"
)

// Store names the implementation of the Raft log.
type Store string

const (
	WAL  Store = "wal"  // the project's write-ahead log: appends only, one fdatasync a group
	Bolt Store = "bolt" // raft-boltdb: a B+ tree, slower, widely used
)

// maxServers bounds the member list: each entry goes to every member, and a
// quorum must answer.
const maxServers = 9

// Options configure a [Node].
type Options struct {
	ID        string // stable for the life of the member, never its address
	Dir       string // owned by this member alone; created if missing
	Bind      string // host:port to listen on; unused with Listener
	Advertise string // host:port the other members reach this one at; default: the listener's address

	// Listener replaces the TCP listener, Dial the TCP dialer. TLS is laid
	// over both.
	Listener net.Listener
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	// TLSServer and TLSClient make both ends of a connection prove who they
	// are; nil for plain connections, which only tests should use. Whether a
	// certificate belongs to a root is decided by their verification hooks.
	TLSServer, TLSClient *tls.Config

	// BootstrapExpect is the size of the group at its very first start; 0
	// means that this member never bootstraps. It is ignored when the folder
	// holds any state, so the command line need not change at a restart.
	BootstrapExpect int
	// Servers is the initial member list, this member included. All members
	// must be given the same list. If it is shorter than BootstrapExpect,
	// the caller completes it later by [Node.Bootstrap].
	Servers []Server
	// Addresses returns where a member may be reached, the most likely one
	// first, beside what the group's configuration says; nil if that is
	// always right. The addresses may be out of date, and somebody else may
	// listen there by now: with TLS, Verify must be set too.
	Addresses func(id string) []string
	// Verify refuses a connection whose other end is not the member id.
	Verify func(id string, state tls.ConnectionState) error

	Store Store
	FS    durable.FS // of the project's write-ahead log; the rest goes to the machine's own

	HeartbeatTimeout time.Duration // follower: without a leader for so long, stand for election
	ElectionTimeout  time.Duration // candidate: without a result for so long, try again
	LeaseTimeout     time.Duration // leader: without a quorum for so long, step down
	CommitTimeout    time.Duration // leader: tells followers of a commit after so long without entries
	MaxAppendEntries int           // most entries in one message to a follower
	RPCTimeout       time.Duration // for one message between members

	SnapshotThreshold uint64        // entries since the last snapshot
	SnapshotInterval  time.Duration // how often the threshold is checked
	SnapshotRetain    int           // snapshots kept on disk
	TrailingLogs      uint64        // entries kept behind a snapshot, so that a follower that was away briefly needs none

	// PackInterval is the least time between two entries: what is proposed
	// meanwhile shares the next one. A command that comes after a pause does
	// not wait.
	PackInterval time.Duration
	// MaxWaiting and MaxWaitingBytes bound the commands that wait to be
	// packed.
	MaxWaiting      int
	MaxWaitingBytes int64
	// StallLimit is how long one write to the store may take before the
	// member gives up and exits.
	StallLimit time.Duration
	// StopTimeout bounds each step of a graceful stop.
	StopTimeout time.Duration

	FSM        FSM
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil for no metrics

	// disk, if set by a test, stands between the watch and the log store.
	disk func(raft.LogStore) raft.LogStore
}

// DefaultOptions returns the settings that suit members within a few
// milliseconds of one another. ID, Dir, FSM and an address remain to be set.
func DefaultOptions() Options {
	return Options{
		Store:             WAL,
		FS:                durable.OS(),
		HeartbeatTimeout:  500 * time.Millisecond,
		ElectionTimeout:   500 * time.Millisecond,
		LeaseTimeout:      250 * time.Millisecond,
		CommitTimeout:     5 * time.Millisecond,
		MaxAppendEntries:  512,
		RPCTimeout:        10 * time.Second,
		SnapshotThreshold: 16384,
		SnapshotInterval:  30 * time.Second,
		SnapshotRetain:    2,
		TrailingLogs:      8192,
		PackInterval:      500 * time.Microsecond,
		MaxWaiting:        8192,
		MaxWaitingBytes:   64 << 20,
		StallLimit:        5 * time.Second,
		StopTimeout:       5 * time.Second,
		Logger:            slog.New(slog.DiscardHandler),
	}
}

func (o *Options) validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.ID == "" {
		bad("id: must be set to a name that stays the same for the life of the member")
	}
	if o.Dir == "" {
		bad("dir: must be set")
	}
	if o.FS == nil {
		bad("file system: must be set: start from DefaultOptions")
	}
	if o.FSM == nil {
		bad("fsm: must be set")
	}
	if o.Listener == nil && o.Bind == "" {
		bad("bind: must be set to host:port")
	}
	if (o.TLSServer == nil) != (o.TLSClient == nil) {
		bad("tls: server and client configuration must both be set or both be absent")
	}
	if o.Addresses != nil && o.TLSClient != nil && o.Verify == nil {
		bad("verify: must be set with addresses, or entries could go to the wrong member")
	}
	if o.Store != WAL && o.Store != Bolt {
		bad("store: %q is neither %q nor %q", o.Store, WAL, Bolt)
	}
	if o.BootstrapExpect < 0 || o.BootstrapExpect > maxServers {
		bad("bootstrap expect: %d is not within 0 and %d", o.BootstrapExpect, maxServers)
	}
	if o.SnapshotRetain < 1 {
		bad("snapshot retain: %d is below 1", o.SnapshotRetain)
	}
	if o.MaxWaiting < 1 || o.MaxWaitingBytes < MaxCommand {
		bad("max waiting: needs at least 1 command and %d bytes", MaxCommand)
	}
	for name, d := range map[string]time.Duration{"pack interval": o.PackInterval, "stall limit": o.StallLimit, "stop timeout": o.StopTimeout, "rpc timeout": o.RPCTimeout} {
		if d <= 0 {
			bad("%s: %s is not positive", name, d)
		}
	}
	if len(o.Servers) > 0 {
		if err := checkServers(o.Servers, o.ID); err != nil {
			faults = append(faults, err)
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// checkServers refuses a list that two members could read differently.
func checkServers(servers []Server, self string) error {
	if len(servers) > maxServers {
		return fmt.Errorf("servers: %d are more than %d", len(servers), maxServers)
	}
	ids, addrs := map[string]bool{}, map[string]bool{}
	for _, s := range servers {
		switch {
		case s.ID == "" || s.Addr == "":
			return fmt.Errorf("servers: %q at %q: id and address must both be set", s.ID, s.Addr)
		case ids[s.ID]:
			return fmt.Errorf("servers: id %q stands twice", s.ID)
		case addrs[s.Addr]:
			return fmt.Errorf("servers: address %q stands twice", s.Addr)
		}
		ids[s.ID], addrs[s.Addr] = true, true
	}
	if !ids[self] {
		return fmt.Errorf("servers: this member, %q, is not in the list", self)
	}
	return nil
}
