package cli

import (
	"context"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pando/agent"
	"pando/agent/input"
	"pando/event"
	"pando/transport"
)

// agentConfig is an agent's configuration file.
type agentConfig struct {
	Common       roleConfig   `yaml:",inline"`
	Log          logConfig    `yaml:",inline"`
	Relays       []string     `yaml:"relays"`        // transport addresses of relays to start from
	Heartbeat    Duration     `yaml:"heartbeat"`     // between the agent's words on its sources
	PendingBytes Size         `yaml:"pending_bytes"` // events of a lane that wait for the log before sources are stopped
	WhenFull     whenFull     `yaml:"when_full"`     // what happens to events while the log has no room
	Sources      []input.Spec `yaml:"sources"`
}

// whenFull is a policy for each lane: block or drop_newest.
type whenFull struct {
	Critical agent.Policy `yaml:"critical"`
	Bulk     agent.Policy `yaml:"bulk"`
}

func newAgent(e *env) *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run a leaf agent: read sources, hand their events to a relay",
		Long: `Run a leaf agent. It reads the sources that its configuration describes, makes
their events durable in its own log, and hands them to a relay until the root
has settled them. SIGTERM stops it gracefully, SIGHUP makes it read its
configuration and certificates again.`,
		Example: `  pando agent --config /etc/pando/agent.yaml
  pando agent --config agent.yaml --dir /tmp/agent --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer flags.catchHangup()()
			config, opts, err := loadAgent(flags.config, &flags)
			if err != nil {
				return err
			}
			return runAgent(cmd.Context(), e, &flags, config, opts)
		},
	}
	addRoleFlags(cmd, &flags)
	return cmd
}

// loadAgent reads the file and returns the options as far as the file tells
// them. Its error names every fault.
func loadAgent(path string, flags *roleFlags) (*agentConfig, agent.Options, error) {
	opts := agent.DefaultOptions()
	c := &agentConfig{Common: defaultRoleConfig(transport.RoleAgent), Log: defaultLog(),
		Heartbeat: Duration(opts.Heartbeat), PendingBytes: Size(opts.PendingBytes),
		WhenFull: whenFull{opts.WhenFull[event.Critical], opts.WhenFull[event.Bulk]}}
	if err := loadYAML(path, c); err != nil {
		return nil, opts, err
	}
	if err := c.Common.resolve(path); err != nil {
		return nil, opts, err
	}
	base := filepath.Dir(path)
	for i := range c.Sources {
		s := &c.Sources[i]
		if abs, err := filepath.Abs(under(base, s.Path)); err == nil && s.Path != "" {
			s.Path = abs
		}
	}
	flags.override(&c.Common)
	faults := &configFaults{path: path}
	opts.Credentials = c.Common.check(transport.RoleAgent, faults)
	faults.addresses("relays", c.Relays)
	opts.Dir, opts.Relays, opts.Sources = c.Common.Dir, c.Relays, c.Sources
	opts.SegmentBytes, opts.MaxBytes = int64(c.Log.SegmentBytes), int64(c.Log.MaxBytes)
	opts.Heartbeat, opts.PendingBytes = time.Duration(c.Heartbeat), int(c.PendingBytes)
	opts.WhenFull = [event.Lanes]agent.Policy{c.WhenFull.Critical, c.WhenFull.Bulk}
	c.Log.check(faults)
	faults.join(opts.Validate(), opts.Credentials)
	return c, opts, faults.err()
}

func runAgent(ctx context.Context, e *env, flags *roleFlags, c *agentConfig, opts agent.Options) error {
	s, err := newShell(e, &c.Common, opts.Credentials, flags.hangup)
	if err != nil {
		return err
	}
	opts.Logger, opts.Registerer = s.log, s.reg
	opts.FS, opts.Wall = touched(opts.FS, opts.Wall)
	a, ok, err := begin(ctx, s, func() (*agent.Agent, error) { return agent.New(opts) })
	if !ok {
		return err
	}
	s.reloader.config, s.reloader.live = c, []string{"sources", "relays", "heartbeat", "pending_bytes", "when_full"}
	s.reloader.load = func() (any, func() ([]string, error), error) {
		next, opts, err := loadAgent(flags.config, flags)
		return next, func() ([]string, error) { return a.Reconfigure(opts) }, err
	}
	return s.run(ctx, a)
}

// checkAgent is loadAgent for "pando config check".
func checkAgent(path string) (*transport.Credentials, error) {
	_, opts, err := loadAgent(path, &roleFlags{})
	return opts.Credentials, err
}
