//go:build linux || darwin

package cli

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pando/transport"
)

// renew issues a node's certificate anew, in the place of the old one.
func (b *bench) renew(role, region, name string) {
	b.t.Helper()
	fresh := filepath.Join(b.t.TempDir(), "fresh")
	b.must("ca", "issue", "--dir", b.path("certs"), "--role", role, "--region", region, "--name", name, "--out", fresh)
	for _, file := range []string{name + "-key.pem", name + ".pem"} {
		if err := os.Rename(filepath.Join(fresh, file), filepath.Join(b.path("certs"), file)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// A reload that is refused at its last step leaves the certificates, too, as
// they were; one whose certificates are wrong does not come to that step.
func TestReloadIsAllOrNothing(t *testing.T) {
	b := &bench{t: t, dir: t.TempDir()}
	b.must("ca", "init", "--dir", b.path("certs"), "--domain", "test.example")
	b.must("ca", "issue", "--dir", b.path("certs"), "--role", "agent", "--region", "fra", "--name", "a1")
	creds, err := transport.LoadCredentials(transport.Files{CA: b.path("certs/ca.pem"), Cert: b.path("certs/a1.pem"), Key: b.path("certs/a1-key.pem")})
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		c, err := creds.ServerConfig().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	type config struct {
		Key int `yaml:"key"`
	}
	var refuse error
	inForce := 1
	r := reloader{creds: creds, live: []string{"key"}, config: &config{1}}
	r.load = func() (any, func() ([]string, error), error) {
		return &config{2}, func() ([]string, error) {
			if refuse == nil {
				inForce = 2
			}
			return nil, refuse
		}, nil
	}
	old := serial()
	b.renew("agent", "fra", "a1")

	refuse = errors.New("the log is full")
	if _, err := r.reload(); !errors.Is(err, refuse) || serial() != old {
		t.Errorf("%v, and the certificate was exchanged: %t", err, serial() != old)
	}
	refuse = nil
	good, err := os.ReadFile(b.path("certs/a1-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b.file("certs/a1-key.pem", "no key")
	if _, err := r.reload(); err == nil || inForce != 1 {
		t.Errorf("%v, and the configuration changed: %t", err, inForce != 1)
	}
	b.file("certs/a1-key.pem", string(good))
	if out, err := r.reload(); err != nil || serial() == old || inForce != 2 || len(out.Keys) != 1 {
		t.Errorf("%v; exchanged %t, in force %d, changed %v", err, serial() != old, inForce, out.Keys)
	}
}

// fakeNode is a node that is made or not.
type fakeNode struct{ ran chan struct{} }

func (n *fakeNode) Run(ctx context.Context) error { close(n.ran); return ctx.Err() }
func (n *fakeNode) API() http.Handler             { return nil }
func (n *fakeNode) Health() error                 { return nil }

// A stop does not wait for a node that reads a long log, which then stops.
func TestStopDoesNotWaitForAStart(t *testing.T) {
	b := newRootBench(t, 1)
	c := defaultRoleConfig(transport.RoleRoot)
	e := &env{stderr: t.Output(), logFormat: "text"}
	creds, err := transport.LoadCredentials(transport.Files{CA: b.path("certs/ca.pem"), Cert: b.path("certs/t1.pem"), Key: b.path("certs/t1-key.pem")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newShell(e, &c, creds, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n, read := &fakeNode{make(chan struct{})}, make(chan struct{})
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, ok, err := begin(ctx, s, func() (*fakeNode, error) { <-read; return n, nil }); ok || err != nil {
		t.Errorf("a node there is: %t; %v", ok, err)
	}
	close(read)
	select {
	case <-n.ran:
	case <-time.After(patience):
		t.Error("the node that came too late was not stopped")
	}
}

// proc is a node in a process of its own.
type proc struct {
	t    *testing.T
	cmd  *exec.Cmd
	diag lines
	done chan struct{}
}

func (b *bench) proc(args ...string) *proc {
	b.t.Helper()
	p := &proc{t: b.t, cmd: exec.Command("pando", append(args, "--log-format", "json")...), done: make(chan struct{})}
	p.cmd.Stderr = &p.diag
	if err := p.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	b.t.Cleanup(func() {
		p.stop()
		if b.t.Failed() {
			b.t.Logf("pando %s:\n%s", args[0], p.diag.String())
		}
	})
	return p
}

func (p *proc) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}

// stop ends the process, which must be a success.
func (p *proc) stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Error("SIGTERM does not end it")
		p.signal(os.Kill)
		<-p.done
	}
	if s := p.cmd.ProcessState; s.ExitCode() != exitOK {
		p.t.Errorf("pando %s: %s", p.cmd.Args[1], s)
	}
}

// said counts the log lines with a message that contains the text.
func (p *proc) said(text string) (n int) {
	for sc := bufio.NewScanner(strings.NewReader(p.diag.String())); sc.Scan(); {
		var line struct {
			Msg string `json:"msg"`
		}
		if json.Unmarshal(sc.Bytes(), &line) == nil && strings.Contains(line.Msg, text) {
			n++
		}
	}
	return n
}

// serial is the certificate that a listener shows.
func serial(t *testing.T, addr string) (number string) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		number = s.PeerCertificates[0].SerialNumber.String()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	return number
}

// grove is a root, a relay and an agent to be reloaded.
type grove struct {
	*bench
	ctx   string
	nodes []*groveNode
}

type groveNode struct {
	role, region, name, api, config string
	change                          func(round int) string // in another setting that may change
	p                               *proc
}

func newGrove(t *testing.T) *grove {
	g := &grove{bench: &bench{t: t, dir: t.TempDir()}}
	p := ports(t, 6)
	rootAddr, raft, relayAddr := p[0], p[1], p[2]
	g.must("ca", "init", "--dir", g.path("certs"), "--domain", "test.example")
	g.must("ca", "issue", "--dir", g.path("certs"), "--role", "operator", "--region", "core", "--name", "me")
	g.file("app.log", "one line\n")
	g.file("context.yaml", fmt.Sprintf("{api: [%q], ca: certs/ca.pem, cert: certs/me.pem, key: certs/me-key.pem}\n", p[3]))
	g.ctx = g.path("context.yaml")
	g.nodes = []*groveNode{
		{role: "root", region: "core", name: "t1", api: p[3], config: "listen: " + rootAddr + "\nraft: {bind: \"" + raft + "\", bootstrap_expect: 1, servers: [{name: core/t1, raft: \"" +
			raft + "\", addr: \"" + rootAddr + "\", api: \"" + p[3] + "\"}]}\n", change: func(n int) string { return fmt.Sprintf("tick: %dms\n", 500+n) }},
		{role: "relay", region: "fra", name: "r1", api: p[4], config: "listen: " + relayAddr + "\nparents: [\"" + rootAddr + "\"]\nsegment_bytes: 2MiB\n",
			change: func(n int) string {
				return fmt.Sprintf("detectors: {rules: [{name: x, signal: x, count: %d, within: 10s, class: error, severity: error}]}\n", 1+n)
			}},
		{role: "agent", region: "fra", name: "a1", api: p[5], config: "relays: [\"" + relayAddr + "\"]\nsegment_bytes: 2MiB\nsources: [{name: app, type: tail, path: app.log}]\n",
			change: func(n int) string { return fmt.Sprintf("heartbeat: %dms\n", 200+n) }},
	}
	for _, n := range g.nodes {
		g.must("ca", "issue", "--dir", g.path("certs"), "--role", n.role, "--region", n.region, "--name", n.name)
		g.write(n, n.change(0))
	}
	return g
}

func (g *grove) write(n *groveNode, more string) {
	tls := fmt.Sprintf("tls: {ca: certs/ca.pem, cert: certs/%s.pem, key: certs/%s-key.pem}\n", n.name, n.name)
	g.file(n.role+".yaml", "role: "+n.role+"\ndir: "+n.role+"\napi: "+n.api+"\n"+tls+n.config+more)
}

// reload has a node reload in one of the two ways, and tells whether it says
// that it did; of "config apply" it returns the output.
func (g *grove) reload(n *groveNode, way string) (ok bool, said string) {
	const good, bad = "configuration and certificates were reloaded", "configuration and certificates were not reloaded; the old ones stay in force"
	before := [2]int{n.p.said(good), n.p.said(bad)}
	if way == "SIGHUP" {
		n.p.signal(syscall.SIGHUP)
	} else {
		var code int
		said, code = g.pando("config", "apply", "--context", g.ctx, "--node", n.api)
		if (code == exitOK) != !strings.Contains(said, "the old one stays in force") {
			g.t.Errorf("config apply: exit code %d\n%s", code, said)
		}
	}
	until(g.t, "a reload of the "+n.role, func() bool { return n.p.said(good) > before[0] || n.p.said(bad) > before[1] })
	return n.p.said(good) > before[0], said
}

// Each role takes up configuration and renewed certificates, by signal and by
// command, wholly or not at all, and no session ends for it.
func TestReloadOnEveryRole(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes")
	}
	g := newGrove(t)
	for _, n := range g.nodes {
		n.p = g.proc(n.role, "--config", g.path(n.role+".yaml"))
	}
	well := func() bool {
		out, code := g.pando("tree", "--context", g.ctx)
		return code == exitOK && strings.Count(out, " live ") == 2 && strings.Contains(out, " leader ")
	}
	until(t, "a tree in which all three nodes are well", well)
	sessions := func() string {
		root, agent := g.nodes[0].p, g.nodes[2].p
		return fmt.Sprintf("%d children of the root, %d gone; units opened %d times", root.said("child connected"), root.said("child gone"), agent.said("units opened"))
	}
	before := sessions()
	round := 0
	for _, n := range g.nodes {
		for _, way := range []string{"SIGHUP", "config apply"} {
			t.Run(n.role+"/"+way, func(t *testing.T) {
				round++
				old := serial(t, n.api)
				g.renew(n.role, n.region, n.name)
				// A wrong file, and a file that may not change so, keep the
				// certificates from coming into force.
				for _, wrong := range []string{"no_such_key: 1\n", "ops: 127.0.0.1:1\n"} {
					g.write(n, n.change(round)+wrong)
					if ok, said := g.reload(n, way); ok || serial(t, n.api) != old {
						t.Errorf("%q was taken: %t, %s; new certificate: %t", wrong, ok, said, serial(t, n.api) != old)
					}
				}
				// Wrong certificates keep the file from coming into force.
				g.write(n, n.change(round))
				key := "certs/" + n.name + "-key.pem"
				good, err := os.ReadFile(g.path(key))
				if err != nil {
					t.Fatal(err)
				}
				g.file(key, "no key")
				if ok, said := g.reload(n, way); ok || serial(t, n.api) != old {
					t.Errorf("a wrong key was taken: %t, %s", ok, said)
				}
				g.file(key, string(good))
				changed, _, _ := strings.Cut(n.change(0), ":")
				ok, said := g.reload(n, way)
				if !ok || serial(t, n.api) == old {
					t.Errorf("not reloaded: %s; new certificate: %t", said, serial(t, n.api) != old)
				}
				if way != "SIGHUP" && !strings.Contains(said, "changed            "+changed+"\n") {
					t.Errorf("want %s among what changed:\n%s", changed, said)
				}
			})
		}
	}
	time.Sleep(time.Second) // a session that breaks would be opened again by then
	until(t, "the tree well again", well)
	if after := sessions(); after != before {
		t.Errorf("sessions were lost: %s, before: %s", after, before)
	}
}

// A SIGHUP that comes while a node starts, here while it reads its file, does
// not kill it, and is honoured when it has started.
func TestHangupDuringStart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes")
	}
	g := newGrove(t)
	for _, n := range g.nodes {
		t.Run(n.role, func(t *testing.T) {
			path := g.path(n.role + ".yaml")
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
			n.p = g.proc(n.role, "--config", path)
			pipe, err := os.OpenFile(path, os.O_WRONLY, 0) // it is being read
			if err != nil {
				t.Fatal(err)
			}
			n.p.signal(syscall.SIGHUP)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			g.write(n, n.change(1))
			time.Sleep(50 * time.Millisecond)
			if _, err := pipe.Write(old); err != nil {
				t.Error(err)
			}
			_ = pipe.Close()
			until(t, "a reload", func() bool {
				select {
				case <-n.p.done:
					t.Fatalf("the %s ended: %s", n.role, n.p.cmd.ProcessState)
				default:
				}
				return n.p.said("configuration and certificates were reloaded") == 1
			})
			n.p.stop()
		})
	}
}
