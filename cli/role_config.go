package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"pando/transport"
)

// roleConfig is what the configuration files of all roles have in common.
// Relative paths are relative to the file's folder, so that a folder of
// configuration can be moved as a whole.
type roleConfig struct {
	Role         string    `yaml:"role"`          // agent, relay or root; must be the command's, if it is there
	Dir          string    `yaml:"dir"`           // data folder
	TLS          tlsConfig `yaml:"tls"`           // who this node is, and whom it trusts
	Ops          string    `yaml:"ops"`           // host:port of /healthz, /readyz, /metrics over plain HTTP
	API          string    `yaml:"api"`           // host:port of the API over mutual TLS; empty: none
	AdvertiseAPI string    `yaml:"advertise_api"` // the API as others reach it, if that is not where it listens
}

// tlsConfig names PEM files, as "pando ca issue" makes them.
type tlsConfig struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// logConfig is the log of an agent or a relay.
type logConfig struct {
	SegmentBytes Size `yaml:"segment_bytes"` // of its files
	MaxBytes     Size `yaml:"max_bytes"`     // most disk it may take; 0: as there is
}

// defaultOps keeps the plain listener on this machine: what it tells needs no
// secret, but is nobody else's business either.
const defaultOps = "127.0.0.1:0"

// defaultLog has the roles' own segment size.
func defaultLog() logConfig { return logConfig{SegmentBytes: 64 << 20} }

// Bounds of a segment: the largest batch must fit it, and its offsets have 32
// bits.
const (
	minSegment = Size(2 << 20)
	maxSegment = Size(1 << 30)
)

func defaultRoleConfig(role transport.Role) roleConfig {
	return roleConfig{Role: string(role), Ops: defaultOps}
}

// roleFlags override a few settings of the file; empty ones do not.
type roleFlags struct {
	config, dir, listen, ops, api string

	hangup chan os.Signal // SIGHUPs, from the first moment on
}

// catchHangup keeps SIGHUP, which means to reload, from killing the process
// before there is anything to reload. One that comes while the node starts is
// honoured when it has: the file was read before. The caller calls release
// when there is nothing to reload any more.
func (f *roleFlags) catchHangup() (release func()) {
	f.hangup = make(chan os.Signal, 1)
	signal.Notify(f.hangup, syscall.SIGHUP)
	return func() { signal.Stop(f.hangup) }
}

func (f *roleFlags) override(c *roleConfig) {
	for _, o := range []struct {
		value string
		field *string
	}{{f.dir, &c.Dir}, {f.ops, &c.Ops}, {f.api, &c.API}} {
		if o.value != "" {
			*o.field = o.value
		}
	}
}

// resolve makes paths absolute from the folder of the configuration file.
// Flags were typed in another folder and are left alone.
func (c *roleConfig) resolve(file string) error {
	base, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	for _, p := range []*string{&c.Dir, &c.TLS.CA, &c.TLS.Cert, &c.TLS.Key} {
		*p = under(base, *p)
	}
	return nil
}

// under is path as seen from base; empty stays empty.
func under(base, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}

// check returns the faults of the common part, and the credentials, which are
// nil if they cannot be loaded.
func (c *roleConfig) check(role transport.Role, v *configFaults) *transport.Credentials {
	if c.Role != string(role) {
		v.add("role: %q: this is read as the configuration of a %s", c.Role, role)
	}
	v.address("ops", c.Ops, true)
	v.address("api", c.API, false)
	v.address("advertise_api", c.AdvertiseAPI, false)
	missing := false
	for _, f := range []struct{ name, path string }{{"ca", c.TLS.CA}, {"cert", c.TLS.Cert}, {"key", c.TLS.Key}} {
		if f.path == "" {
			v.add("tls.%s: is missing; give a PEM file, such as \"pando ca\" makes", f.name)
			missing = true
		}
	}
	if missing {
		return nil
	}
	creds, err := transport.LoadCredentials(transport.Files{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key})
	if err != nil {
		v.add("tls: %w", err)
		return nil
	}
	return creds
}

// configFaults collects what is wrong with a configuration beyond its syntax.
// It wraps errUsage.
type configFaults struct {
	path string
	list []error
}

func (v *configFaults) add(format string, args ...any) {
	v.list = append(v.list, fmt.Errorf(format, args...))
}

// address demands host:port.
func (v *configFaults) address(name, value string, needed bool) {
	if value == "" {
		if needed {
			v.add("%s: is missing; give host:port", name)
		}
		return
	}
	if _, _, err := net.SplitHostPort(value); err != nil {
		v.add("%s: %q: give host:port", name, value)
	}
}

func (v *configFaults) addresses(name string, values []string) {
	for i, value := range values {
		v.address(fmt.Sprintf("%s[%d]", name, i), value, true)
	}
}

// check judges the sizes of the log.
func (c logConfig) check(v *configFaults) {
	segment, most := c.SegmentBytes, c.MaxBytes
	if segment < minSegment || segment > maxSegment || segment%8 != 0 {
		v.add("segment_bytes: %s: give %s to %s, divisible by 8", segment, minSegment, maxSegment)
	}
	if most != 0 && most < 2*segment {
		v.add("max_bytes: %s: give 0 for no limit, or at least two segments, %s", most, 2*segment)
	}
}

// join adds what a role's own validation found, one line a fault. What
// follows only from credentials that could not be loaded was said already.
func (v *configFaults) join(err error, creds *transport.Credentials) {
	for _, fault := range flatten(err) {
		if creds == nil && strings.HasPrefix(fault.Error(), "tls: credentials are missing") {
			continue
		}
		v.list = append(v.list, fault)
	}
}

// flatten undoes errors.Join.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	// Only a join itself: an error that merely wraps one has more to say.
	if j, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(j.Unwrap()...).Error() {
		joined = j
	}
	if joined == nil {
		return []error{err}
	}
	var list []error
	for _, e := range joined.Unwrap() {
		list = append(list, flatten(e)...)
	}
	return list
}

// err is nil if nothing is wrong.
func (v *configFaults) err() error {
	if len(v.list) == 0 {
		return nil
	}
	return v
}

func (v *configFaults) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", v.path)
	if len(v.list) > 1 {
		fmt.Fprintf(&b, "%d faults", len(v.list))
	}
	for _, e := range v.list {
		if len(v.list) > 1 {
			b.WriteString("\n  ")
		}
		b.WriteString(strings.ReplaceAll(e.Error(), "\n", "\n    "))
	}
	return b.String()
}

func (v *configFaults) Unwrap() error { return errUsage }
