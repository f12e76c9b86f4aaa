package transport_test

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pando/transport"
	"pando/transport/ca"
)

func TestHandshakeTellsBothSidesWhoAndWhat(t *testing.T) {
	var samples []transport.Sample
	e := newEdge(t, func(listen, dial *transport.Options) {
		listen.Time.Root = func() (int64, int64, bool) { return 5000, 7, true }
		listen.Answer = func(peer transport.Identity, h transport.Hello) (transport.Welcome, error) {
			return transport.Welcome{Body: append([]byte(peer.Node()+" said "), h.Body...)}, nil
		}
		dial.Time.Now = func() int64 { return 100 }
		dial.Sample = func(_ *transport.Session, s transport.Sample) {
			if len(samples) == 0 {
				samples = append(samples, s)
			}
		}
		dial.Heartbeat = time.Second // the first sample is the handshake's
	})
	term := transport.Term{Epoch: 3, Session: 9}
	body := strings.Repeat("x", transport.MaxBody-100) // more than one frame
	child, parent := e.open(transport.Hello{Term: term, Body: []byte(body), Want: "eu/r1"})
	if got := child.Peer().String(); got != "spiffe://bank.example/relay/eu/r1" {
		t.Errorf("child sees %s", got)
	}
	if got := parent.Peer().String(); got != "spiffe://bank.example/agent/eu/a1" {
		t.Errorf("parent sees %s", got)
	}
	if parent.Term() != term || child.Term() != term {
		t.Errorf("terms %s and %s, want %s", parent.Term(), child.Term(), term)
	}
	if string(parent.Hello().Body) != body || string(child.Welcome().Body) != "eu/a1 said "+body {
		t.Error("the bodies of HELLO and WELCOME changed")
	}
	want := transport.Sample{T1: 100, T2: 5000, T3: 5000, T4: 100, Bound: 7, OK: true}
	if len(samples) != 1 || samples[0] != want {
		t.Errorf("samples %+v, want %+v", samples, want)
	}
}

func TestListenerRefusesStrangers(t *testing.T) {
	home := newAuthority(t)
	foreign := newAuthority(t)
	for name, c := range map[string]struct {
		files transport.Files
		hello transport.Hello
		want  transport.Code
	}{
		"another region":     {home.files("agent/asia/a1"), transport.Hello{}, transport.CodeIdentity},
		"a root below relay": {home.files("root/eu/a1"), transport.Hello{}, transport.CodeIdentity},
		"an operator":        {home.files("operator/eu/a1"), transport.Hello{}, transport.CodeIdentity},
		"another authority":  {foreign.files("agent/eu/a1"), transport.Hello{}, transport.CodeAuthority},
		"expired":            {home.filesFor(node("agent/eu/a1"), time.Nanosecond), transport.Hello{}, transport.CodeExpired},
		"unknown version":    {home.files("agent/eu/a1"), transport.Hello{Versions: transport.Versions{Min: 7, Max: 9}}, transport.CodeVersion},
	} {
		t.Run(name, func(t *testing.T) {
			a := authority{t, home.dir}
			e := a.edge(a.credentials("relay/eu/r1 us"), a.load(c.files), "127.0.0.1:0", func(_, dial *transport.Options) {
				dial.Admit = func(transport.Identity, transport.Hello) error { return nil } // let the listener decide
				dial.Credentials = trustingToo(t, c.files, filepath.Join(home.dir, ca.CertFile))
			})
			s, err := transport.Dial(within(t), e.addr(), c.hello, e.dial)
			if err == nil {
				s.Close("unexpected")
				t.Fatal("let in")
			}
			e.wantRefusal(c.want)
			var refusal *transport.Refusal
			if told := errors.As(err, &refusal); told && refusal.Code != c.want {
				t.Errorf("told %v, want code %s", err, c.want)
			} else if !told && c.want != transport.CodeAuthority && c.want != transport.CodeExpired {
				t.Errorf("not told why: %v", err)
			}
			if !strings.Contains(e.log.String(), "address=127.0.0.1:") {
				t.Errorf("the log names no address:\n%s", e.log)
			}
		})
	}
}

func TestFallbackRegionIsLetIn(t *testing.T) {
	a := newAuthority(t)
	e := a.edge(a.credentials("relay/eu/r1 us"), a.credentials("agent/us/a1"), "127.0.0.1:0", nil)
	_, parent := e.open(transport.Hello{})
	if got := parent.Peer().Node(); got != "us/a1" {
		t.Errorf("peer %s", got)
	}
}

func TestDialRefusesTheWrongParent(t *testing.T) {
	e := newEdge(t, nil)
	if _, err := transport.Dial(within(t), e.addr(), transport.Hello{Want: "eu/r2"}, e.dial); !errors.Is(err, transport.ErrIdentity) {
		t.Errorf("wrong name: %v", err)
	}
	a := newAuthority(t)
	other := a.edge(a.credentials("relay/asia/r1"), a.credentials("agent/eu/a1"), "127.0.0.1:0", nil)
	if _, err := transport.Dial(within(t), other.addr(), transport.Hello{}, other.dial); !errors.Is(err, transport.ErrIdentity) {
		t.Errorf("wrong region: %v", err)
	}
	foreign := newAuthority(t)
	stranger := foreign.edge(foreign.credentials("relay/eu/r1"), a.credentials("agent/eu/a1"), "127.0.0.1:0", nil)
	_, err := transport.Dial(within(t), stranger.addr(), transport.Hello{}, stranger.dial)
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("wrong authority: %v", err)
	}
}

func TestAnswerRefusesAndRedirects(t *testing.T) {
	answer := func(w transport.Welcome, err error) func(_, _ *transport.Options) {
		return func(listen, _ *transport.Options) {
			listen.Answer = func(transport.Identity, transport.Hello) (transport.Welcome, error) { return w, err }
		}
	}
	no := &transport.Refusal{Code: "wal-in-use", Reason: "one WAL id in two sessions\x1b[2J", Hint: "stop the clone"}
	e := newEdge(t, answer(transport.Welcome{}, no))
	_, err := transport.Dial(within(t), e.addr(), transport.Hello{}, e.dial)
	var refusal *transport.Refusal
	if !errors.As(err, &refusal) || refusal.Code != no.Code || refusal.Hint != no.Hint || refusal.Reason != "one WAL id in two sessions[2J" {
		t.Errorf("refusal came as %v", err)
	}
	e.wantRefusal("wal-in-use")

	e = newEdge(t, answer(transport.Welcome{Redirect: "10.0.0.7:7000", Body: []byte("full")}, nil))
	_, err = transport.Dial(within(t), e.addr(), transport.Hello{}, e.dial)
	var redirect *transport.RedirectError
	if !errors.As(err, &redirect) || redirect.Addr != "10.0.0.7:7000" || string(redirect.Body) != "full" || redirect.Peer.Node() != "eu/r1" {
		t.Errorf("redirect came as %v", err)
	}
}

// dialTLS connects as a's node and stops after the TLS handshake.
func (e *edge) dialTLS() *tls.Conn {
	e.t.Helper()
	conn, err := tls.Dial("tcp", e.addr(), e.dial.Credentials.ClientConfig(transport.Protocol))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func TestSecondConnectionNeedsTermAndToken(t *testing.T) {
	e := newEdge(t, nil)
	older, newer := transport.Term{Epoch: 1, Session: 1}, transport.Term{Epoch: 1, Session: 2}
	wantCode := func(what string, err error, want transport.Code) {
		t.Helper()
		var refusal *transport.Refusal
		if !errors.As(err, &refusal) || refusal.Code != want {
			t.Errorf("%s: %v, want code %s", what, err, want)
		}
	}
	wantCode("without HELLO", transport.Attach(e.dialTLS(), older, make([]byte, 16)), transport.CodeToken)
	oldToken, err := transport.Greet(e.dialTLS(), transport.Hello{Term: older})
	if err != nil {
		t.Fatal(err)
	}
	wantCode("guessed token", transport.Attach(e.dialTLS(), older, make([]byte, 16)), transport.CodeToken)
	first := e.dialTLS()
	token, err := transport.Greet(first, transport.Hello{Term: newer})
	if err != nil {
		t.Fatal(err)
	}
	wantCode("connection of the older session", transport.Attach(e.dialTLS(), older, oldToken), transport.CodeTerm)
	_, err = transport.Greet(e.dialTLS(), transport.Hello{Term: older})
	wantCode("HELLO of an older term", err, transport.CodeTerm)
	if err := transport.Attach(e.dialTLS(), newer, token); err != nil {
		t.Errorf("the right token: %v", err)
	}
	s, err := e.listener.Accept(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.Term() != newer {
		t.Errorf("accepted term %s, want %s", s.Term(), newer)
	}
	first.Close()
	s.Close("enough")
}

func TestHandshakesAreBounded(t *testing.T) {
	a := newAuthority(t)
	e := a.edge(a.credentials("relay/eu/r1"), a.credentials("agent/eu/a1"), "127.0.0.1:0",
		func(listen, _ *transport.Options) { listen.MaxPending = 1 })
	if _, err := transport.Greet(e.dialTLS(), transport.Hello{}); err != nil {
		t.Fatal(err)
	}
	e.dial.Credentials = a.credentials("agent/eu/a2")
	_, err := transport.Dial(within(t), e.addr(), transport.Hello{}, e.dial)
	var refusal *transport.Refusal
	if !errors.As(err, &refusal) || refusal.Code != transport.CodeBusy || refusal.Hint == "" {
		t.Errorf("second handshake: %v, want busy and what to do", err)
	}
}

func TestReloadedCertificateServesNewSessions(t *testing.T) {
	a := newAuthority(t)
	files := a.files("relay/eu/r1")
	creds := a.load(files)
	e := a.edge(creds, a.credentials("agent/eu/a1"), "127.0.0.1:0", nil)
	child, _ := e.open(transport.Hello{})

	copyFile(t, a.files("relay/eu/r1").Cert, files.Cert)
	if err := creds.Reload(); err == nil {
		t.Error("a certificate without its key was loaded")
	}
	other := a.files("relay/eu/r2")
	copyFile(t, other.Cert, files.Cert)
	copyFile(t, other.Key, files.Key)
	if err := creds.Reload(); !errors.Is(err, transport.ErrIdentity) {
		t.Errorf("a certificate of another node: %v", err)
	}
	if got := creds.Identity().Node(); got != "eu/r1" {
		t.Errorf("after failed reloads the node is %s", got)
	}

	e.dial.Credentials = a.credentials("agent/us/a1")
	if _, err := transport.Dial(within(t), e.addr(), transport.Hello{}, e.dial); !errors.Is(err, transport.ErrIdentity) {
		t.Errorf("before the reload, another region: %v", err)
	}
	wider := a.files("relay/eu/r1 us")
	copyFile(t, wider.Cert, files.Cert)
	copyFile(t, wider.Key, files.Key)
	if err := creds.Reload(); err != nil {
		t.Fatal(err)
	}
	e.open(transport.Hello{})
	if child.Err() != nil {
		t.Errorf("the open session ended: %v", child.Err())
	}
}

// trustingToo loads credentials that trust one more authority: a stranger
// that is willing to talk.
func trustingToo(t *testing.T, own transport.Files, trusted string) *transport.Credentials {
	t.Helper()
	var bundle []byte
	for _, path := range []string{own.CA, trusted} {
		pem, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, pem...)
	}
	own.CA = filepath.Join(t.TempDir(), "both.pem")
	if err := os.WriteFile(own.CA, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := transport.LoadCredentials(own)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
