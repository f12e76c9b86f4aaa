package transport_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pando/transport"
	"pando/transport/ca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "bank.example"

// patience bounds what a test waits for; it decides nothing.
const patience = 20 * time.Second

// authority issues the credentials of a test's nodes.
type authority struct {
	t   testing.TB
	dir string
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	a := authority{t, filepath.Join(t.TempDir(), "ca")}
	if err := ca.Init(a.dir, domain, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	return a
}

// node parses role/region/name and, after a space, fallback regions.
func node(name string) transport.Identity {
	words := strings.Fields(name)
	parts := strings.Split(words[0], "/")
	return transport.Identity{Domain: domain, Role: transport.Role(parts[0]), Region: parts[1], Name: parts[2], Fallback: words[1:]}
}

// files issues a certificate for a node and writes it.
func (a authority) files(name string) transport.Files {
	a.t.Helper()
	return a.filesFor(node(name), time.Hour)
}

func (a authority) filesFor(id transport.Identity, validity time.Duration) transport.Files {
	a.t.Helper()
	certPEM, keyPEM, err := ca.Issue(a.dir, id, nil, validity)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	files := transport.Files{CA: filepath.Join(a.dir, ca.CertFile), Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "node-key.pem")}
	if err := ca.Save(files.Cert, files.Key, certPEM, keyPEM); err != nil {
		a.t.Fatal(err)
	}
	return files
}

func (a authority) load(files transport.Files) *transport.Credentials {
	a.t.Helper()
	c, err := transport.LoadCredentials(files)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a authority) credentials(name string) *transport.Credentials {
	a.t.Helper()
	return a.load(a.files(name))
}

// options of a node with patience, since the machine may be busy: tests of
// silence set their own.
func options(c *transport.Credentials) transport.Options {
	o := transport.DefaultOptions()
	o.Credentials = c
	o.Timeout = patience
	o.HandshakeTimeout = patience
	return o
}

// edge is a listener and what dials it.
type edge struct {
	t        testing.TB
	listener *transport.Listener
	registry *prometheus.Registry // of the listener
	log      *lines
	dial     transport.Options
}

// newEdge listens over TCP as relay/eu/r1 with children agent/eu/a1; change
// may adapt both sides' options.
func newEdge(t testing.TB, change func(listen, dial *transport.Options)) *edge {
	t.Helper()
	a := newAuthority(t)
	return a.edge(a.credentials("relay/eu/r1 us"), a.credentials("agent/eu/a1"), "127.0.0.1:0", change)
}

func (a authority) edge(parent, child *transport.Credentials, addr string, change func(listen, dial *transport.Options)) *edge {
	a.t.Helper()
	e := &edge{t: a.t, registry: prometheus.NewRegistry(), log: &lines{}}
	listen, dial := options(parent), options(child)
	listen.Registerer = e.registry
	listen.Logger = slog.New(slog.NewTextHandler(e.log, nil))
	if change != nil {
		change(&listen, &dial)
	}
	listener, err := transport.Listen(addr, listen)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			a.t.Error(err)
		}
	})
	e.listener, e.dial = listener, dial
	return e
}

func (e *edge) addr() string { return e.listener.Addr().String() }

// open opens a session and returns both ends.
func (e *edge) open(hello transport.Hello) (child, parent *transport.Session) {
	e.t.Helper()
	child, err := transport.Dial(e.t.Context(), e.addr(), hello, e.dial)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { child.Close("test over") })
	parent, err = e.listener.Accept(within(e.t))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { parent.Close("test over") })
	return child, parent
}

// refusals is what the listener has counted under a reason.
func (e *edge) refusals(reason transport.Code) float64 {
	e.t.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "pando_transport_refused_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == string(reason) {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// wantRefusal waits until the listener has logged and counted a refusal.
func (e *edge) wantRefusal(reason transport.Code) {
	e.t.Helper()
	for deadline := time.Now().Add(patience); e.refusals(reason) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("no refusal counted as %q; log:\n%s", reason, e.log)
		}
	}
	e.log.wait(e.t, "reason="+string(reason))
}

// within is a context for one step of a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ended waits for a session's end and returns why.
func ended(t testing.TB, s *transport.Session) error {
	t.Helper()
	select {
	case <-s.Done():
		return s.Err()
	case <-time.After(patience):
		t.Fatal("the session lives on")
		return nil
	}
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) wait(t testing.TB, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(l.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("log does not say %q:\n%s", text, l)
		}
	}
}

// message number i of size bytes, recognisable.
func message(i, size int) transport.Message {
	body := make([]byte, size)
	for j := range body {
		body[j] = byte(i + j*7)
	}
	return transport.Message{Kind: uint8(i), Body: body}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("copy %s: %w", from, err))
	}
}
