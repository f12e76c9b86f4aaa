//go:build !zos

package root

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/internal/durable"
	"pando/root/consensus"
	"pando/transport"
)

// Server is one root of the group.
type Server struct {
	Name string // region/name, as its certificate says; also its Raft id
	Raft string // host:port of its Raft listener
	Addr string // host:port of its transport listener
	API  string // base URL of its API, for people and redirects; may be empty
}

// Options configure a [Root]. Start from [DefaultOptions].
type Options struct {
	Dir         string // data folder: Raft's log and snapshots, the clock's bound
	FS          durable.FS
	Credentials *transport.Credentials // whose identity names the root
	Network     transport.Network      // of the sessions; Raft has its own, see Raft.Dial
	Listen      string                 // transport address for relays and other roots

	// Servers are all roots with which the group starts, this one included,
	// or, if this one is to join a group (Raft.BootstrapExpect is 0), some
	// that are members. It may be left to [Root.SetServers], for addresses
	// that are known only once all of them listen. Once the group runs, its
	// address book says where the members are.
	Servers []Server

	// Raft is the consensus module's part: Bind, Advertise, BootstrapExpect,
	// Store, timings. ID, Dir, Servers, Address, TLS, FSM, Logger and
	// Registerer are filled in here.
	Raft consensus.Options

	// TickEvery is how often the leader lets time pass for incidents while
	// some are open.
	TickEvery time.Duration

	// A root that was added gets its vote when it has been at most
	// PromoteLag entries behind the leader for PromoteAfter.
	PromoteLag   uint64
	PromoteAfter time.Duration

	// Wall reads this machine's own clock, nanoseconds since the Unix epoch.
	// The first leader's is root time; later leaders move from the root time
	// that they knew towards theirs.
	Wall       func() int64
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	logics       logics        // if set by a test, instead of the program's
	disputeLimit time.Duration // if set by a test
}

// DefaultOptions returns the options of a root but for its folder,
// credentials, addresses and servers.
func DefaultOptions() Options {
	return Options{
		FS: durable.OS(), Network: transport.TCP(), Raft: consensus.DefaultOptions(), TickEvery: time.Second,
		PromoteLag: 250, PromoteAfter: 5 * time.Second,
		Wall: func() int64 { return time.Now().UnixNano() }, Logger: slog.New(slog.DiscardHandler),
	}
}

const (
	minTick = 10 * time.Millisecond
	maxTick = time.Minute
)

// Validate reports everything that is wrong with the options. Raft's own are
// checked by [New].
func (o *Options) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Dir == "" {
		bad("dir: the data folder is missing")
	}
	if o.FS == nil || o.Network == nil || o.Wall == nil || o.Logger == nil {
		bad("file system, network, wall clock and logger must be set: start from DefaultOptions")
	}
	self := ""
	if o.Credentials == nil {
		bad("tls: credentials are missing")
	} else if id := o.Credentials.Identity(); id.Role != transport.RoleRoot {
		bad("tls: the certificate is of role %s, a root's is needed", id.Role)
	} else {
		self = id.Node()
	}
	if o.Listen == "" {
		bad("listen: must be set to host:port")
	}
	if o.TickEvery < minTick || o.TickEvery > maxTick {
		bad("tick every: %s is outside %s to %s", o.TickEvery, minTick, maxTick)
	}
	if o.PromoteAfter <= 0 {
		bad("promote after: %s is not positive", o.PromoteAfter)
	}
	if len(o.Servers) > 0 {
		if err := checkServers(o.Servers, self, o.Raft.BootstrapExpect == 0); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (o *Options) knownLogics() logics {
	if o.logics != nil {
		return o.logics
	}
	return programLogics()
}

// checkServers checks a list of roots, which must contain self unless it joins
// their group.
func checkServers(servers []Server, self string, joins bool) error {
	if len(servers) > maxMembers {
		return fmt.Errorf("servers: %d are more than %d", len(servers), maxMembers)
	}
	seen, found := map[string]bool{}, joins
	for _, s := range servers {
		if s.Name == "" || s.Raft == "" || s.Addr == "" {
			return fmt.Errorf("servers: %q: name, raft address and transport address must all be set", s.Name)
		}
		for _, key := range []string{"name " + s.Name, "raft address " + s.Raft, "transport address " + s.Addr} {
			if seen[key] {
				return fmt.Errorf("servers: the %s stands twice", key)
			}
			seen[key] = true
		}
		found = found || s.Name == self
	}
	if !found {
		return fmt.Errorf("servers: this root, %q, is not in the list", self)
	}
	return nil
}
