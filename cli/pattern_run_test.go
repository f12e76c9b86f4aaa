//go:build !zos

package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"pando/incident"
	"pando/stream/cep"
)

// runningPatterns are one of each scope: two refusals of one component, and two
// components that break the same rule.
const runningPatterns = `patterns:
  - name: refused-twice
    scope: relay
    key: [entity]
    within: 5m
    steps: [{name: first, when: signal == "refused"}, {name: second, when: signal == "refused"}]
    finding: {summary: refused again, severity: error}
  - name: spreading
    scope: root
    key: [attr.rule]
    within: 5m
    where: attr["rule"] == "critical"
    steps: [{name: here, when: "true"}, {name: there, when: entity != here.entity}]
    finding: {summary: it spreads, severity: error, about: there}
`

// thicket is a root, a relay and an agent that reads syslog, set up by files.
type thicket struct {
	*bench
	relayAPI, rootAPI, syslog string
	relay                     *process
	context                   string
}

func newThicket(t *testing.T) *thicket {
	b := &bench{t: t, dir: t.TempDir()}
	p := ports(t, 6)
	g := &thicket{bench: b, rootAPI: p[2], relayAPI: p[4], syslog: p[5], context: b.path("context.yaml")}
	certs := b.path("certs")
	b.must("ca", "init", "--dir", certs, "--domain", "test.example")
	for _, id := range [][3]string{{"root", "core", "t1"}, {"relay", "fra", "r1"}, {"agent", "fra", "a1"}, {"operator", "core", "me"}} {
		b.must("ca", "issue", "--dir", certs, "--role", id[0], "--region", id[1], "--name", id[2])
	}
	files := func(name string) string {
		return fmt.Sprintf("{ca: certs/ca.pem, cert: certs/%s.pem, key: certs/%s-key.pem}", name, name)
	}
	b.file("root.yaml", fmt.Sprintf("role: root\ndir: root\ntls: %s\nlisten: %q\napi: %q\nraft: {bind: %q, bootstrap_expect: 1, servers: [{name: core/t1, raft: %q, addr: %q, api: %q}]}\n",
		files("t1"), p[0], p[2], p[1], p[1], p[0], p[2]))
	b.file("relay.yaml", fmt.Sprintf("role: relay\ndir: relay\ntls: %s\nlisten: %q\napi: %q\nparents: [%q]\nsegment_bytes: 2MiB\n"+
		"detectors: {rules: [{name: critical, signal: critical, count: 1, within: 10s, class: error, severity: error}]}\n", files("r1"), p[3], p[4], p[0]))
	b.file("agent.yaml", fmt.Sprintf("role: agent\ndir: agent\ntls: %s\nrelays: [%q]\nsegment_bytes: 2MiB\n"+
		"sources: [{name: in, type: syslog, listen: %q, entity: \"payments/{appname}\", match: ["+
		"{pattern: CRITICAL, signal: critical, severity: fatal, criticality: 0}, {pattern: REFUSED, signal: refused, severity: error, criticality: 0}]}]\n", files("a1"), p[3], p[5]))
	b.file("context.yaml", fmt.Sprintf("{api: [%q], ca: certs/ca.pem, cert: certs/me.pem, key: certs/me-key.pem}\n", p[2]))
	b.file("patterns.yaml", runningPatterns)
	b.role("root", b.path("root.yaml"))
	g.relay = b.role("relay", b.path("relay.yaml"))
	b.role("agent", b.path("agent.yaml"))
	return g
}

// write sends one line of a component.
func (g *thicket) write(app, text string) {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.syslog)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "<14>1 - host %s - x - %s\n", app, text); err != nil {
		g.t.Fatal(err)
	}
}

// patterns lists them; nil while nobody can tell.
func (g *thicket) patterns(args ...string) *cep.Listing {
	out, code := g.pando(append([]string{"pattern", "list", "--context", g.context, "-o", "json"}, args...)...)
	var l cep.Listing
	if code != exitOK || json.Unmarshal([]byte(out), &l) != nil {
		return nil
	}
	return &l
}

// found reports whether an incident has a finding of a pattern about a component.
func (g *thicket) found(rule, entity string) bool {
	out, code := g.pando("incident", "list", "--context", g.context, "-o", "json")
	var list struct {
		Incidents []incident.Summary `json:"incidents"`
	}
	if code != exitOK || json.Unmarshal([]byte(out), &list) != nil {
		return false
	}
	for _, i := range list.Incidents {
		out, code := g.pando("incident", "show", i.ID, "--context", g.context, "-o", "json")
		var d incident.Detail
		if code != exitOK || json.Unmarshal([]byte(out), &d) != nil {
			return false
		}
		for _, f := range d.Findings {
			if f.Detector == cep.DetectorPattern && f.Rule == rule && f.Entity == entity {
				return true
			}
		}
	}
	return false
}

// Patterns are applied by a command; a sequence of events completes one on the
// relay, across a restart of the relay, and findings complete one at the root:
// both end up in incidents.
func TestPatternsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes")
	}
	g := newThicket(t)
	apply := func(want int, args ...string) string {
		t.Helper()
		out, code := g.pando(append([]string{"pattern", "apply", g.path("patterns.yaml"), "--context", g.context}, args...)...)
		if code != want {
			t.Errorf("apply %v: exit code %d, want %d\n%s", args, code, want, out)
		}
		return out
	}
	until(t, "a root that takes patterns", func() bool {
		_, code := g.pando("pattern", "apply", g.path("patterns.yaml"), "--dry-run", "--context", g.context)
		return code == exitOK
	})
	if l := g.patterns(); l == nil || l.Version != 0 || len(l.Patterns) != 0 {
		t.Errorf("after a dry run there are %+v", l)
	}
	if out := apply(exitOK); !strings.Contains(out, "refused-twice         added") || !strings.Contains(out, "in force since entry") {
		t.Errorf("applied:\n%s", out)
	}
	if out := apply(exitOK); !strings.Contains(out, "unchanged") {
		t.Errorf("applied again:\n%s", out)
	}
	until(t, "patterns at the relay", func() bool {
		l := g.patterns("--node", g.relayAPI)
		return l != nil && len(l.Patterns) == 2 && l.Patterns[0].Here && !l.Patterns[1].Here
	})

	g.write("swift-gateway", "REFUSED once")
	until(t, "a match that has begun", func() bool {
		l := g.patterns("--at", "relay")
		return l != nil && l.Patterns[0].Runs == 1
	})
	if code := g.relay.stop(); code != exitOK {
		t.Fatalf("the relay ended with %d", code)
	}
	g.relay = g.role("relay", g.path("relay.yaml"))
	g.write("swift-gateway", "REFUSED twice")
	until(t, "the relay's match in an incident", func() bool { return g.found("refused-twice", "payments/swift-gateway") })

	g.write("ledger", "CRITICAL: no quorum")
	g.write("fraud", "CRITICAL: no model")
	until(t, "the root's match in an incident", func() bool { return g.found("spreading", "payments/fraud") || g.found("spreading", "payments/ledger") })
	if out, code := g.pando("pattern", "list", "--context", g.context); code != exitOK || !strings.Contains(out, "spreading") {
		t.Errorf("list: exit code %d\n%s", code, out)
	}
	g.refused()
}

// refused tries what must not go through, and what takes all away.
func (g *thicket) refused() {
	g.t.Helper()
	g.file("relay-context.yaml", fmt.Sprintf("{api: [%q], ca: certs/ca.pem, cert: certs/r1.pem, key: certs/r1-key.pem}\n", g.rootAPI))
	g.file("none.yaml", "patterns: []\n")
	g.file("greedy.yaml", strings.Replace(runningPatterns, "finding: {summary: it", "limits: {max_keys: 1000000, max_runs: 4096}\n    finding: {summary: it", 1))
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailure, "only an operator", []string{"patterns.yaml", "--context", g.path("relay-context.yaml")}},
		{exitUsage, "there is no pattern in it", []string{"none.yaml", "--context", g.context}},
		{exitUsage, "max_keys", []string{"greedy.yaml", "--context", g.context}},
		{exitOK, "removed", []string{"none.yaml", "--none", "--context", g.context}},
	} {
		args := append([]string{"pattern", "apply", g.path(c.args[0])}, c.args[1:]...)
		if out, code := g.pando(args...); code != c.code || !strings.Contains(out, c.want) {
			g.t.Errorf("pando %s: exit code %d, want %d and %q in\n%s", strings.Join(args, " "), code, c.code, c.want, out)
		}
	}
	until(g.t, "a relay without patterns", func() bool {
		l := g.patterns("--node", g.relayAPI)
		return l != nil && len(l.Patterns) == 0 && l.Version > 0
	})
}
