//go:build !zos

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pando/root"
)

// rootPlace are the addresses of one root of a test.
type rootPlace struct{ name, addr, raft, api string }

// rootBench is a bench with roots that can be started and stopped.
type rootBench struct {
	*bench
	places []rootPlace
	ctx    string // the context file
}

func newRootBench(t *testing.T, n int) *rootBench {
	b := &rootBench{bench: &bench{t: t, dir: t.TempDir()}}
	p := ports(t, 3*n)
	certs := b.path("certs")
	b.must("ca", "init", "--dir", certs, "--domain", "test.example")
	b.must("ca", "issue", "--dir", certs, "--role", "operator", "--region", "core", "--name", "me")
	b.must("ca", "issue", "--dir", certs, "--role", "relay", "--region", "core", "--name", "r1")
	var apis []string
	for i := range n {
		at := rootPlace{fmt.Sprintf("t%d", i+1), p[3*i], p[3*i+1], p[3*i+2]}
		b.must("ca", "issue", "--dir", certs, "--role", "root", "--region", "core", "--name", at.name)
		b.places = append(b.places, at)
		apis = append(apis, fmt.Sprintf("%q", at.api))
	}
	for _, who := range []string{"me", "r1"} {
		b.file(who+".yaml", fmt.Sprintf("{api: [%s], ca: certs/ca.pem, cert: certs/%s.pem, key: certs/%s-key.pem}\n", strings.Join(apis, ", "), who, who))
	}
	b.ctx = b.path("me.yaml")
	return b
}

// configure writes a root's configuration; servers are those that it lists.
func (b *rootBench) configure(i, expect int, servers ...int) string {
	at := b.places[i]
	text := fmt.Sprintf("role: root\ndir: data-%s\ntls: {ca: certs/ca.pem, cert: certs/%s.pem, key: certs/%s-key.pem}\nlisten: %q\napi: %q\n"+
		"raft:\n  bind: %q\n  bootstrap_expect: %d\n  servers:\n", at.name, at.name, at.name, at.addr, at.api, at.raft, expect)
	for _, s := range servers {
		p := b.places[s]
		text += fmt.Sprintf("    - {name: core/%s, raft: %q, addr: %q, api: %q}\n", p.name, p.raft, p.addr, p.api)
	}
	b.file(at.name+".yaml", text)
	return b.path(at.name + ".yaml")
}

// process is a node at work.
type process struct {
	stop func() int // ends it and returns the exit code
	code chan int
	diag *lines
}

func (b *rootBench) start(config string) *process { return b.role("root", config) }

// role starts a node.
func (b *bench) role(role, config string) *process {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	p := &process{code: make(chan int, 1), diag: &lines{}}
	go func() {
		p.code <- Run(ctx, []string{role, "--config", config}, strings.NewReader(""), io.Discard, p.diag)
	}()
	p.stop = func() int {
		cancel()
		code := <-p.code
		p.code <- code
		return code
	}
	b.t.Cleanup(func() {
		p.stop()
		if b.t.Failed() {
			b.t.Logf("%s:\n%s", filepath.Base(config), p.diag.String())
		}
	})
	return p
}

// members asks for the group; nil while nobody can tell.
func (b *rootBench) members() *root.Members {
	out, code := b.pando("root", "members", "--context", b.ctx, "-o", "json")
	var m root.Members
	if code != exitOK && code != exitDegraded || json.NewDecoder(strings.NewReader(out)).Decode(&m) != nil {
		return nil
	}
	return &m
}

// voters waits until the group has these voters and nobody else, all well.
func (b *rootBench) voters(names ...string) *root.Members {
	b.t.Helper()
	var m *root.Members
	until(b.t, fmt.Sprintf("the voters %v", names), func() bool {
		m = b.members()
		if m == nil || len(m.Members) != len(names) {
			return false
		}
		for i, x := range m.Members {
			if x.Name != "core/"+names[i] || x.Suffrage != "voter" || x.State != "leader" && x.State != "follower" {
				return false
			}
		}
		return true
	})
	return m
}

// The life of a group, by nothing but commands and configuration files: a
// fourth root is added and promoted, leads, another one is removed and stops;
// the state is saved, checked and put back; and at the end, when only one root
// is left, it is recovered as a group of its own.
func TestGroupOfRootsIsManaged(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four roots")
	}
	b := newRootBench(t, 4)
	processes := make([]*process, 4)
	for i := range 3 {
		processes[i] = b.start(b.configure(i, 3, 0, 1, 2))
	}
	b.voters("t1", "t2", "t3")
	fourth := b.places[3]
	processes[3] = b.start(b.configure(3, 0, 0, 1, 2)) // it does not list itself
	b.must("root", "add", "core/t4", "--raft", fourth.raft, "--addr", fourth.addr, "--api", fourth.api, "--context", b.ctx)
	b.voters("t1", "t2", "t3", "t4")
	until(t, "the fourth root leads", func() bool {
		_, code := b.pando("root", "transfer", "core/t4", "--context", b.ctx)
		return code == exitOK
	})

	b.refusals()
	saved := b.path("roots.snap")
	b.must("root", "snapshot", "save", saved, "--context", b.ctx)
	if out, code := b.pando("root", "snapshot", "inspect", saved); code != exitOK || !strings.Contains(out, "core/t1, core/t2, core/t3, core/t4") {
		t.Errorf("inspect: exit code %d\n%s", code, out)
	}
	if out, code := b.pando("root", "snapshot", "restore", saved, "--context", b.ctx); code != exitUsage || !strings.Contains(out, "--yes") {
		t.Errorf("restore without --yes: exit code %d\n%s", code, out)
	}
	// Through a follower, which redirects the upload.
	b.must("root", "snapshot", "restore", saved, "--yes", "--context", b.ctx, "--node", b.places[0].api)
	if m := b.voters("t1", "t2", "t3", "t4"); m.Restores != 1 {
		t.Errorf("%d restores are counted", m.Restores)
	}
	b.damaged(saved)

	b.must("root", "remove", "core/t4", "--context", b.ctx) // which leads
	if code := <-processes[3].code; code != exitUsage || !strings.Contains(processes[3].diag.String(), "was removed from its group") {
		t.Errorf("the removed root ended with %d", code)
	}
	processes[3].code <- exitUsage
	b.voters("t1", "t2", "t3")
	b.recovered(processes)
}

// refusals are what the group does not let be done to it.
func (b *rootBench) refusals() {
	b.t.Helper()
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "REGION/NAME", []string{"root", "add", "t9", "--raft", "h:1", "--addr", "h:2", "--context", b.ctx}},
		{exitUsage, "core/t1 has the address", []string{"root", "add", "core/t9", "--raft", b.places[0].raft, "--addr", "h:2", "--context", b.ctx}},
		{exitFailure, "no such member", []string{"root", "remove", "core/t9", "--context", b.ctx}},
		{exitUsage, "leads already", []string{"root", "transfer", "core/t4", "--context", b.ctx}},
		{exitFailure, "only an operator", []string{"root", "remove", "core/t1", "--context", b.path("r1.yaml")}},
		{exitFailure, "only an operator", []string{"root", "snapshot", "save", b.path("no.snap"), "--context", b.path("r1.yaml")}},
	} {
		if out, code := b.pando(c.args...); code != c.code || !strings.Contains(out, c.want) {
			b.t.Errorf("pando %s: exit code %d, want %d and %q in\n%s", strings.Join(c.args, " "), code, c.code, c.want, out)
		}
	}
	if _, err := os.Stat(b.path("no.snap")); err == nil {
		b.t.Error("a snapshot that was refused left a file")
	}
	if out, code := b.pando("root", "members", "--context", b.path("r1.yaml"), "--stale", "--node", b.places[1].api); code != exitOK {
		b.t.Errorf("a relay may look: exit code %d\n%s", code, out)
	}
}

// damaged flips a bit of a saved snapshot.
func (b *rootBench) damaged(saved string) {
	b.t.Helper()
	text, err := os.ReadFile(saved)
	if err != nil {
		b.t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	b.file("damaged.snap", string(text))
	for _, args := range [][]string{{"inspect", b.path("damaged.snap")}, {"restore", b.path("damaged.snap"), "--yes", "--context", b.ctx}} {
		if out, code := b.pando(append([]string{"root", "snapshot"}, args...)...); code != exitIntegrity || !strings.Contains(out, "SHA-256") {
			b.t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
}

// recovered loses two of three roots, and begins anew from the third.
func (b *rootBench) recovered(processes []*process) {
	b.t.Helper()
	for i := range 3 {
		if code := processes[i].stop(); code != exitOK {
			b.t.Errorf("root %d ended with %d", i+1, code)
		}
	}
	config := b.path("t2.yaml")
	out, code := b.pando("root", "recover", "--config", config)
	if code != exitUsage || !strings.Contains(out, "core/t1 at "+b.places[0].raft) || !strings.Contains(out, "nothing was changed") {
		b.t.Errorf("recover without --yes: exit code %d\n%s", code, out)
	}
	b.must("root", "recover", "--config", config, "--yes")
	alone := b.start(config)
	m := b.voters("t2")
	if m.Restores != 1 {
		b.t.Errorf("after the recovery %d restores are counted: the state is another one", m.Restores)
	}
	if out, code := b.pando("root", "recover", "--config", config, "--yes"); code != exitFailure || !strings.Contains(out, "must be stopped") {
		b.t.Errorf("recovering a root that runs: exit code %d\n%s", code, out)
	}
	if code := alone.stop(); code != exitOK {
		b.t.Errorf("the recovered root ended with %d", code)
	}
}
