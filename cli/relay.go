//go:build !zos

package cli

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pando/relay"
	"pando/stream/aggregate"
	"pando/transport"
	"pando/tree/gossip"
)

// relayConfig is a relay's configuration file.
type relayConfig struct {
	Common    roleConfig      `yaml:",inline"`
	Log       logConfig       `yaml:",inline"`
	Listen    string          `yaml:"listen"`    // transport address for children
	Advertise string          `yaml:"advertise"` // the same as agents reach it, if that is not where it listens
	Weight    uint32          `yaml:"weight"`    // share of agents against other relays
	Parents   []string        `yaml:"parents"`   // transport addresses of roots, or of relays of a higher tier
	Tick      Duration        `yaml:"tick"`      // between steps of the detectors
	Door      doorConfig      `yaml:"handshakes"`
	Credit    Size            `yaml:"credit_pool"`       // bytes that all children may have on their way here
	ChildRate Size            `yaml:"child_bytes_per_s"` // of each lane of a child, on average; 0: no limit
	Gossip    *gossipConfig   `yaml:"gossip"`            // absent: the relay is alone in its region
	Detectors relay.Detectors `yaml:"detectors"`

	Windows []aggregate.Window `yaml:"windows"`
}

// doorConfig bounds how fast agents are let in.
type doorConfig struct {
	PerSecond       int `yaml:"per_second"`         // sessions opened, on average
	Burst           int `yaml:"burst"`              // sessions opened at once after a quiet time
	HalfOpen        int `yaml:"half_open"`          // connections that have not said who they are
	HalfOpenPerHost int `yaml:"half_open_per_host"` // of one IP address
}

func defaultDoor(o *relay.Options) doorConfig {
	return doorConfig{PerSecond: int(time.Second / o.HandshakeEvery), Burst: o.HandshakeBurst, HalfOpen: o.MaxPending, HalfOpenPerHost: o.MaxPendingPerHost}
}

// apply puts what the file says into the options.
func (d *doorConfig) apply(o *relay.Options, v *configFaults) {
	if d.PerSecond < 1 || d.PerSecond > maxPerSecond {
		v.add("handshakes.per_second: %d: give 1 to %d", d.PerSecond, maxPerSecond)
		return
	}
	o.HandshakeEvery, o.HandshakeBurst = time.Second/time.Duration(d.PerSecond), d.Burst
	o.MaxPending, o.MaxPendingPerHost = d.HalfOpen, d.HalfOpenPerHost
}

// maxPerSecond is far above what one machine can do.
const maxPerSecond = 100_000

// gossipConfig is a pool that this node joins.
type gossipConfig struct {
	Bind      string   `yaml:"bind"`      // ip:port, TCP and UDP
	Advertise string   `yaml:"advertise"` // ip:port as others reach it
	KeyFile   string   `yaml:"key_file"`  // see "pando gossip keygen"
	Seeds     []string `yaml:"seeds"`     // host:port of members
}

func newRelay(e *env) *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Run a regional relay: take events from agents, detect, report to the root",
		Long: `Run a relay. It takes events over from the agents of its region, makes them
durable, lets detectors look at them, and hands counts and findings to the root.
Relays of one region find each other by gossip, so that agents can move from one
to another. Its parents are roots, or relays of a region above its own (eu is
above eu.fra), which pass on what it says. SIGTERM stops it gracefully, SIGHUP
makes it read its configuration and certificates.`,
		Example: `  pando relay --config /etc/pando/relay.yaml
  pando relay --config relay.yaml --listen 10.0.0.7:7070`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defer flags.catchHangup()()
			config, opts, err := loadRelay(flags.config, &flags)
			if err != nil {
				return err
			}
			return runRelay(cmd.Context(), e, &flags, config, opts)
		},
	}
	addRoleFlags(cmd, &flags)
	cmd.Flags().StringVar(&flags.listen, "listen", "", "transport address for children, instead of the file's listen")
	return cmd
}

// loadRelay is loadAgent for relays.
func loadRelay(path string, flags *roleFlags) (*relayConfig, relay.Options, error) {
	opts := relay.DefaultOptions()
	c := &relayConfig{Common: defaultRoleConfig(transport.RoleRelay), Log: defaultLog(),
		Weight: opts.Weight, Tick: Duration(opts.TickEvery), Door: defaultDoor(&opts), Detectors: opts.Analysis.Detectors, Credit: Size(opts.CreditPool)}
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
	opts.Credentials = c.Common.check(transport.RoleRelay, faults)
	faults.address("listen", c.Listen, false) // that it is there is the role's to demand
	faults.address("advertise", c.Advertise, false)
	faults.addresses("parents", c.Parents)
	opts.Dir, opts.Listen, opts.Advertise, opts.Parents = c.Common.Dir, c.Listen, c.Advertise, c.Parents
	opts.SegmentBytes, opts.MaxBytes = int64(c.Log.SegmentBytes), int64(c.Log.MaxBytes)
	opts.Weight, opts.TickEvery = c.Weight, time.Duration(c.Tick)
	opts.Analysis = relay.Analysis{Detectors: c.Detectors, Windows: c.Windows}
	c.Door.apply(&opts, faults)
	opts.Gossip = c.Gossip.options(path, c.Common.Dir, opts.Credentials, faults)
	opts.CreditPool, opts.ChildBytesPerS = int64(c.Credit), int64(c.ChildRate)
	c.Log.check(faults)
	faults.join(opts.Validate(), opts.Credentials)
	return c, opts, faults.err()
}

// options returns the pool's options, or nil without a pool.
func (g *gossipConfig) options(file, dir string, creds *transport.Credentials, v *configFaults) *gossip.Options {
	if g == nil {
		return nil
	}
	o := gossip.DefaultOptions()
	if g.Bind != "" {
		o.Bind = g.Bind
	}
	o.Advertise, o.Seeds = g.Advertise, g.Seeds
	for _, a := range []struct{ name, value string }{{"bind", o.Bind}, {"advertise", o.Advertise}} {
		if _, err := netip.ParseAddrPort(a.value); err != nil && a.value != "" {
			v.add("gossip.%s: %q: give ip:port; a host name would be ambiguous", a.name, a.value)
		}
	}
	v.addresses("gossip.seeds", g.Seeds)
	if g.KeyFile == "" {
		v.add("gossip.key_file: is missing; make one with \"pando gossip keygen\"")
	} else if keys, err := gossip.LoadKeys(under(filepath.Dir(file), g.KeyFile)); err != nil {
		v.add("gossip.key_file: %w", err)
	} else {
		o.Keys = keys
	}
	if dir != "" {
		o.StateFile = filepath.Join(dir, "gossip.json")
	}
	if creds != nil {
		o.Pool = creds.Identity().Domain + "/" + creds.Identity().Region
	}
	return &o
}

func runRelay(ctx context.Context, e *env, flags *roleFlags, c *relayConfig, opts relay.Options) error {
	s, err := newShell(e, &c.Common, opts.Credentials, flags.hangup)
	if err != nil {
		return err
	}
	opts.Logger, opts.Registerer, opts.API = s.log, s.reg, s.api
	opts.FS, opts.Wall = touched(opts.FS, opts.Wall)
	r, ok, err := begin(ctx, s, func() (*relay.Relay, error) { return relay.New(opts) })
	if !ok {
		return err
	}
	s.reloader.config, s.reloader.live = c, []string{"detectors", "windows", "parents"}
	s.reloader.load = func() (any, func() ([]string, error), error) {
		next, opts, err := loadRelay(flags.config, flags)
		return next, func() ([]string, error) { return r.Reconfigure(opts) }, err
	}
	return s.run(ctx, r)
}
