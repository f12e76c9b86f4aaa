package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pando/incident"
	"pando/tree/tap"
)

// patience bounds all waiting in this test; on a machine that does something
// else besides it is used up rarely.
const patience = 60 * time.Second

// lines collects what a command writes, for reading while it runs.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// bench is a folder with certificates and configuration files.
type bench struct {
	t   *testing.T
	dir string
}

// pando runs a command to its end and returns its standard output.
func (b *bench) pando(args ...string) (string, int) {
	var out, diag lines
	code := Run(b.t.Context(), args, strings.NewReader(""), &out, &diag)
	return out.String() + diag.String(), code
}

func (b *bench) must(args ...string) {
	if out, code := b.pando(args...); code != exitOK {
		b.t.Fatalf("pando %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) file(name, text string) {
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// background runs a command until the test ends, which must be a success.
func (b *bench) background(out io.Writer, args ...string) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	var diag lines
	done := make(chan int, 1)
	go func() { done <- Run(ctx, args, strings.NewReader(""), out, &diag) }()
	b.t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitOK {
			b.t.Errorf("pando %s: exit code %d", strings.Join(args, " "), code)
		}
		if b.t.Failed() {
			b.t.Logf("pando %s:\n%s", strings.Join(args, " "), diag.String())
		}
	})
}

// ports returns addresses that were free a moment ago.
func ports(t *testing.T, n int) []string {
	t.Helper()
	var list []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list
}

// until repeats step until it is content.
func until(t *testing.T, what string, step func() bool) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !step() {
		select {
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		case <-again.C:
		}
	}
}

// One line goes in by syslog, and comes out at the tap, in the tree's counts,
// among the series and as an incident's evidence: the way of everything, set
// up by nothing but configuration files.
func TestALineTravelsFromSyslogToIncident(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes")
	}
	b := &bench{t: t, dir: t.TempDir()}
	p := ports(t, 7)
	rootAddr, raft, rootAPI, relayAddr, relayAPI, agentAPI, syslog := p[0], p[1], p[2], p[3], p[4], p[5], p[6]
	certs := b.path("certs")
	b.must("ca", "init", "--dir", certs, "--domain", "test.example")
	for _, id := range [][3]string{{"root", "core", "t1"}, {"relay", "fra", "r1"}, {"agent", "fra", "a1"}, {"operator", "core", "me"}} {
		b.must("ca", "issue", "--dir", certs, "--role", id[0], "--region", id[1], "--name", id[2])
	}
	files := func(name string) string {
		return fmt.Sprintf("{ca: certs/ca.pem, cert: certs/%s.pem, key: certs/%s-key.pem}", name, name)
	}
	b.file("root.yaml", "role: root\ndir: root\ntls: "+files("t1")+"\nlisten: "+rootAddr+"\napi: "+rootAPI+
		"\nraft: {bind: \""+raft+"\", bootstrap_expect: 1, servers: [{name: core/t1, raft: \""+raft+"\", addr: \""+rootAddr+"\", api: \""+rootAPI+"\"}]}\n")
	b.file("relay.yaml", "role: relay\ndir: relay\ntls: "+files("r1")+"\nlisten: "+relayAddr+"\napi: "+relayAPI+
		"\nparents: [\""+rootAddr+"\"]\nsegment_bytes: 2MiB\n"+
		"detectors: {rules: [{name: critical, signal: critical, count: 1, within: 10s, class: error, severity: error}]}\n")
	b.file("agent.yaml", "role: agent\ndir: agent\ntls: "+files("a1")+"\nrelays: [\""+relayAddr+"\"]\napi: "+agentAPI+"\nsegment_bytes: 2MiB\n"+
		"sources: [{name: in, type: syslog, listen: \""+syslog+"\", entity: \"payments/{appname}\","+
		" match: [{pattern: CRITICAL, signal: critical, severity: fatal, criticality: 0}]}]\n")
	b.file("context.yaml", "{api: [\""+rootAPI+"\"], ca: certs/ca.pem, cert: certs/me.pem, key: certs/me-key.pem}\n")
	context := b.path("context.yaml")
	for _, role := range []string{"root", "relay", "agent"} {
		b.must("config", "check", b.path(role+".yaml"))
		b.background(io.Discard, role, "--config", b.path(role+".yaml"))
	}
	until(t, "a tree in which all three nodes are well", func() bool {
		out, code := b.pando("tree", "--context", context)
		return code == exitOK && strings.Count(out, " live ") == 2 && strings.Contains(out, " leader ")
	})

	var tapped lines
	b.background(&tapped, "tap", "--context", context, "--entity", "payments/*", "-o", "json")
	var agentTap lines
	b.background(&agentTap, "tap", "--context", context, "--node", agentAPI, "--signal", "probe", "-o", "json")
	send(t, syslog, &agentTap, &tapped)

	var list struct {
		Incidents []incident.Summary `json:"incidents"`
	}
	until(t, "an incident", func() bool {
		out, code := b.pando("incident", "list", "--context", context, "-o", "json")
		return code == exitOK && json.Unmarshal([]byte(out), &list) == nil && len(list.Incidents) > 0
	})
	if len(list.Incidents) != 1 || list.Incidents[0].First != "payments/swift-gateway" {
		t.Fatalf("incidents %+v", list.Incidents)
	}
	out, code := b.pando("incident", "show", list.Incidents[0].ID, "--context", context)
	for _, want := range []string{"onset", "payments/swift-gateway", "rule critical", "fra/a1@"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("incident show: exit code %d, want %q in\n%s", code, want, out)
		}
	}
	out, _ = b.pando("series", "--context", context, "--signal", "critical")
	if !strings.Contains(out, "payments/swift-gateway  critical  1      1") {
		t.Errorf("series:\n%s", out)
	}
	until(t, "a ledger that adds up", func() bool {
		var ledger ledgerView
		out, code := b.pando("ledger", "--context", context, "--origin", "fra/*", "-o", "json")
		total := &ledger.Total
		return code == exitOK && json.Unmarshal([]byte(out), &ledger) == nil && len(ledger.Accounts) == 2 && ledger.Accounts[0].AsOf != 0 &&
			total.Settled > 0 && total.Accepted == total.Settled+total.Held && total.Dropped == 0
	})
	out, code = b.pando("incident", "show", "INC-AAAAAAAAAA", "--context", context)
	if code != exitFailure || !strings.Contains(out, "no such incident") {
		t.Errorf("an incident that is not: exit code %d\n%s", code, out)
	}
	out, code = b.pando("incident", "list", "--context", context, "--at", "relay", "-o", "json")
	if code != exitOK || !strings.Contains(out, `"incidents": []`) {
		t.Errorf("incidents of a relay that the roots have all of: exit code %d\n%s", code, out)
	}
	out, code = b.pando("incident", "list", "--context", context, "--at", "mars/r9")
	if code != exitFailure || !strings.Contains(out, "no node of that name") {
		t.Errorf("incidents of a relay that is not: exit code %d\n%s", code, out)
	}
	strangers(t, b, rootAPI)
	reload(t, b, context, agentAPI, relayAPI)
}

// reload changes what may change while nodes run, and tries what may not.
func reload(t *testing.T, b *bench, context, agentAPI, relayAPI string) {
	change := func(name, old, new string) {
		t.Helper()
		text, err := os.ReadFile(b.path(name))
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatalf("%s: %v, want %q in it", name, err, old)
		}
		b.file(name, strings.Replace(string(text), old, new, 1))
	}
	apply := func(node string, want int, says ...string) {
		t.Helper()
		out, code := b.pando("config", "apply", "--context", context, "--node", node)
		for _, s := range says {
			if code != want || !strings.Contains(out, s) {
				t.Errorf("config apply: exit code %d, want %d, and %q in\n%s", code, want, s, out)
			}
		}
	}
	apply(agentAPI, exitOK, "changed            nothing")
	change("agent.yaml", "{pattern: CRITICAL,", "{pattern: FATAL,")
	apply(agentAPI, exitOK, "sources", "touched            in")
	change("agent.yaml", "segment_bytes: 2MiB", "segment_bytes: 4MiB")
	apply(agentAPI, exitFailure, "segment_bytes: cannot change while the node runs", "hint: restart the node")
	change("agent.yaml", "segment_bytes: 4MiB", "segmnt_bytes: 2MiB")
	apply(agentAPI, exitFailure, "segmnt_bytes", "the old one stays in force")
	change("relay.yaml", "count: 1", "count: 2")
	apply(relayAPI, exitOK, "touched            detectors")
}

// send writes harmless lines until both taps are seen to run, then the one
// critical line, and waits until it is tapped.
func send(t *testing.T, addr string, agentTap, tapped *lines) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	write := func(msgid, text string) {
		if _, err := fmt.Fprintf(conn, "<14>1 - host swift-gateway - %s - %s\n", msgid, text); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "an event at both taps", func() bool {
		write("probe", "hello")
		return strings.Contains(agentTap.String(), "hello") && strings.Contains(tapped.String(), "hello")
	})
	write("x", "CRITICAL: no session")
	until(t, "the critical line at the relay's tap", func() bool { return strings.Contains(tapped.String(), "CRITICAL: no session") })
	for line := range strings.Lines(tapped.String()) {
		var it tap.Item
		if err := json.Unmarshal([]byte(line), &it); err != nil {
			t.Fatalf("tap's line %q: %v", line, err)
		}
	}
}

// strangers are refused: another domain by TLS, an agent by its role.
func strangers(t *testing.T, b *bench, api string) {
	b.must("ca", "init", "--dir", b.path("other"), "--domain", "other.example")
	b.must("ca", "issue", "--dir", b.path("other"), "--role", "operator", "--region", "core", "--name", "me")
	b.file("other.yaml", "{api: [\""+api+"\"], ca: other/ca.pem, cert: other/me.pem, key: other/me-key.pem}\n")
	if out, code := b.pando("tree", "--context", b.path("other.yaml")); code != exitFailure || !strings.Contains(out, "certificate") {
		t.Errorf("another domain: exit code %d\n%s", code, out)
	}
	b.file("agentcontext.yaml", "{api: [\""+api+"\"], ca: certs/ca.pem, cert: certs/a1.pem, key: certs/a1-key.pem}\n")
	if out, code := b.pando("tree", "--context", b.path("agentcontext.yaml")); code != exitFailure || !strings.Contains(out, "operator's certificate") {
		t.Errorf("an agent's certificate: exit code %d\n%s", code, out)
	}
}
