//go:build !zos

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pando/root"
	"pando/root/consensus"
	"pando/transport"
	"pando/wal"
)

// rootConfig is a root's configuration file.
type rootConfig struct {
	Common roleConfig `yaml:",inline"`
	Listen string     `yaml:"listen"` // transport address for relays and other roots
	Tick   Duration   `yaml:"tick"`   // between the leader's looks at open incidents
	Raft   raftConfig `yaml:"raft"`
}

// raftConfig is the same on all roots but for bind and advertise.
type raftConfig struct {
	Bind            string         `yaml:"bind"`             // host:port of the Raft listener
	Advertise       string         `yaml:"advertise"`        // the same as other roots reach it
	BootstrapExpect int            `yaml:"bootstrap_expect"` // size of the group at its very first start; 0: this root is added to a group
	Servers         []serverConfig `yaml:"servers"`          // all roots of the first start, this one included; to join: some that there are
	Store           string         `yaml:"store"`            // wal or bolt
}

// serverConfig is one root of the group.
type serverConfig struct {
	Name string `yaml:"name"` // region/name, as in its certificate
	Raft string `yaml:"raft"` // host:port of its Raft listener
	Addr string `yaml:"addr"` // host:port of its transport listener
	API  string `yaml:"api"`  // host:port of its API
}

func newRootRole(e *env) *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "root",
		Short: "Run a root: settle events and keep incidents, replicated by Raft; manage the group",
		Long: `Run one root of a group of one, three or five. The roots replicate by Raft what
is settled and which incidents there are; without a majority of them nothing is
settled, and nothing is lost. The command line is the same for the first start
and for every restart: bootstrap_expect counts only while the data folder is
empty. SIGTERM hands leadership over and stops, SIGHUP makes the root read its
configuration and certificates again. A root that was removed from its group, or
whose program is too old for the group's state, stops with exit code 2.

The commands below look at and change a running group, but for recover, which
is for a stopped root.`,
		Example: `  pando root --config /etc/pando/root.yaml
  pando root --config root.yaml --dir /tmp/root1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer flags.catchHangup()()
			config, opts, err := loadRoot(flags.config, &flags)
			if err != nil {
				return err
			}
			return runRoot(cmd.Context(), e, &flags, config, opts)
		},
	}
	addRoleFlags(cmd, &flags)
	cmd.Flags().StringVar(&flags.listen, "listen", "", "transport address for relays, instead of the file's listen")
	cmd.AddCommand(
		newRootAdd(e),
		newRootMembers(e),
		newRootRecover(e),
		newRootRemove(e),
		newRootSnapshot(e),
		newRootTransfer(e),
	)
	return cmd
}

// loadRoot is loadAgent for roots.
func loadRoot(path string, flags *roleFlags) (*rootConfig, root.Options, error) {
	opts := root.DefaultOptions()
	c := &rootConfig{Common: defaultRoleConfig(transport.RoleRoot), Tick: Duration(opts.TickEvery),
		Raft: raftConfig{Store: string(opts.Raft.Store)}}
	if err := loadYAML(path, c); err != nil {
		return nil, opts, err
	}
	if err := c.Common.resolve(path); err != nil {
		return nil, opts, err
	}
	flags.override(&c.Common)
	if flags.listen != "" {
		c.Listen = flags.listen
	}
	faults := &configFaults{path: path}
	opts.Credentials = c.Common.check(transport.RoleRoot, faults)
	faults.address("listen", c.Listen, false) // that it is there is the role's to demand
	opts.Dir, opts.Listen, opts.TickEvery = c.Common.Dir, c.Listen, time.Duration(c.Tick)
	opts.Raft.Bind, opts.Raft.Advertise = c.Raft.Bind, c.Raft.Advertise
	opts.Raft.BootstrapExpect, opts.Raft.Store = c.Raft.BootstrapExpect, consensus.Store(c.Raft.Store)
	opts.Servers = c.Raft.check(faults)
	faults.join(opts.Validate(), opts.Credentials)
	return c, opts, faults.err()
}

// check returns the group's members.
func (r *raftConfig) check(v *configFaults) []root.Server {
	v.address("raft.bind", r.Bind, true)
	v.address("raft.advertise", r.Advertise, false)
	if s := consensus.Store(r.Store); s != consensus.WAL && s != consensus.Bolt {
		v.add("raft.store: %q: give %s or %s", r.Store, consensus.WAL, consensus.Bolt)
	}
	if n := len(r.Servers); n > 0 && r.BootstrapExpect != 0 && n != r.BootstrapExpect {
		v.add("raft.bootstrap_expect: %d, but %d servers are listed", r.BootstrapExpect, n)
	}
	if len(r.Servers) == 0 && r.BootstrapExpect != 1 {
		v.add("raft.servers: is missing; list all roots, this one included (a root alone sets bootstrap_expect: 1 instead; one that joins a group lists the roots that it has)")
	}
	var servers []root.Server
	for i, s := range r.Servers {
		at := fmt.Sprintf("raft.servers[%d].", i)
		v.address(at+"raft", s.Raft, false)
		v.address(at+"addr", s.Addr, false)
		v.address(at+"api", s.API, false)
		server := root.Server{Name: s.Name, Raft: s.Raft, Addr: s.Addr}
		if s.API != "" {
			server.API = "https://" + s.API
		}
		servers = append(servers, server)
	}
	return servers
}

func runRoot(ctx context.Context, e *env, flags *roleFlags, c *rootConfig, opts root.Options) error {
	s, err := newShell(e, &c.Common, opts.Credentials, flags.hangup)
	if err != nil {
		return err
	}
	opts.Logger, opts.Registerer = s.log, s.reg
	opts.FS, opts.Wall = touched(opts.FS, opts.Wall)
	r, ok, err := begin(ctx, s, func() (*root.Root, error) { return root.New(opts) })
	if !ok {
		return rootDamage(err)
	}
	s.reloader.config, s.reloader.live = c, []string{"tick"}
	s.reloader.load = func() (any, func() ([]string, error), error) {
		next, opts, err := loadRoot(flags.config, flags)
		return next, func() ([]string, error) { return nil, r.Reconfigure(opts) }, err
	}
	return rootDamage(s.run(ctx, r))
}

// rootDamage says what an operator can do about a root that has ended. An
// agent or relay with a damaged log may begin a new one; a root that did would
// have forgotten its vote and what it acknowledged, and could undo what the
// group has committed. Removed and outdated roots must not be restarted as
// they are, so they get the exit code that supervisors do not restart after.
func rootDamage(err error) error {
	switch {
	case errors.Is(err, wal.ErrCorrupt):
		return withHint(err, "put the folder back as it was, from a copy made while this root was stopped, or exchange this root: "+
			"\"pando root remove\", then \"pando root add\" with an empty folder. The other roots go on meanwhile. "+
			"Never start a root that is a member with an empty or an older folder")
	case errors.Is(err, root.ErrRemoved):
		return &usageError{err: err, suggestion: "to bring it back, empty its data folder, set bootstrap_expect: 0, start it, and use \"pando root add\""}
	case errors.Is(err, root.ErrLogic):
		return &usageError{err: err, suggestion: "install the program that the other roots run, and start it again; nothing is lost"}
	}
	return err
}
