package ops

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running starts a server and stops it, and sees it stop cleanly, at the end.
func running(t *testing.T, opts Options, mount func(*Server)) *Server {
	t.Helper()
	reg, err := NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	opts.Addr, opts.Registry, opts.Logger = "127.0.0.1:0", reg, slog.New(slog.DiscardHandler)
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	mount(s)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("Run after its context ended: %v", err)
		}
	})
	return s
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadinessNamesTheFailedCheckAndLivenessDoesNotCare(t *testing.T) {
	s := running(t, Options{Checks: []Check{
		{Name: "wal", Probe: func(context.Context) error { return nil }},
	}}, func(s *Server) {
		s.Check(Check{Name: "parent", Probe: func(context.Context) error { return errors.New("no relay answers") }})
	})
	base := "http://" + s.Addr().String()

	code, body := get(t, base+"/readyz")
	var got readiness
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if code != http.StatusServiceUnavailable || got.Status != "not ready" || len(got.Checks) != 2 ||
		got.Checks[0] != (checkResult{Name: "parent", Error: "no relay answers"}) ||
		got.Checks[1] != (checkResult{Name: "wal", OK: true}) {
		t.Errorf("readyz: %d %+v", code, got)
	}
	if code, _ := get(t, base+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d", code)
	}
	code, body = get(t, base+"/metrics")
	for _, name := range []string{"pando_build_info{", "go_goroutines "} {
		if code != http.StatusOK || !strings.Contains(body, name) {
			t.Errorf("metrics: %d, %s missing", code, name)
		}
	}
}

func TestStopEndsAStreamThatWouldNeverFinish(t *testing.T) {
	entered := make(chan struct{})
	s := running(t, Options{}, func(s *Server) {
		s.Handle("GET /stream", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		}))
	})
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered // the clean-up stops the server, and would hang if the stream did not end
}

func TestBodyBeyondTheLimitIsRefused(t *testing.T) {
	s := running(t, Options{}, func(s *Server) {
		s.Handle("POST /x", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var tooLong *http.MaxBytesError
			if _, err := io.Copy(io.Discard, r.Body); errors.As(err, &tooLong) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
		}))
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+s.Addr().String()+"/x", "text/plain", bytes.NewReader(make([]byte, MaxBody+1)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestAPIListenerDemandsAClientCertificate(t *testing.T) {
	cert, pool := selfSigned(t)
	s := running(t, Options{APIAddr: "127.0.0.1:0", APITLS: &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}}, func(s *Server) {
		s.Handle("GET /api", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	})
	ask := func(certs ...tls.Certificate) (*http.Response, error) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs, ServerName: "127.0.0.1"}}}
		resp, err := client.Get("https://" + s.APIAddr().String() + "/api")
		if err == nil {
			_ = resp.Body.Close()
		}
		return resp, err
	}
	if _, err := ask(); err == nil {
		t.Error("a client without a certificate was served")
	}
	if resp, err := ask(cert); err != nil || resp.StatusCode != http.StatusTeapot {
		t.Errorf("a client with a certificate: %v, %v", resp, err)
	}
	if code, _ := get(t, "http://"+s.Addr().String()+"/api"); code != http.StatusNotFound {
		t.Errorf("the API answers in plain text: %d", code)
	}
}

func TestNewFreesItsAddressWhenTheSecondCannotBeHad(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := probe.Addr().String()
	_ = probe.Close()
	reg, err := NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Options{Addr: addr, APIAddr: taken.Addr().String(), APITLS: &tls.Config{},
		Registry: reg, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatal("New succeeded on a taken address")
	}
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the first address is still held: %v", err)
	}
	_ = again.Close()
}

func TestTextLogLine(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log, err := NewLogger(LogOptions{Writer: &out, Level: level, Format: LogText})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("unseen")
	log.Info("node started")
	log.With("region", "eu").WithGroup("peer").Warn("frame refused", "name", "a b", "msg", "kept")
	level.Set(slog.LevelDebug)
	log.Debug("seen")
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	want := []string{"INFO  node started", `WARN  frame refused region=eu peer.name="a b" peer.msg=kept`, "DEBUG seen"}
	if len(lines) != len(want) {
		t.Fatalf("lines %q", lines)
	}
	for i := range want {
		if _, rest, _ := strings.Cut(lines[i], " "); rest != want[i] {
			t.Errorf("line %q, want %q after the time", lines[i], want[i])
		}
	}
}

func TestLogsAreJSONWhereNobodyLooks(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(LogOptions{Writer: &out})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("node started", "role", "agent")
	var record map[string]any
	if err := json.Unmarshal(out.Bytes(), &record); err != nil || record["role"] != "agent" {
		t.Errorf("%q: %v", out.String(), err)
	}
}

func TestVersionOfABuild(t *testing.T) {
	v := versionOf(&debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}})
	if !strings.HasPrefix(v.String(), "pando devel (0123456789ab+changes, unknown)") {
		t.Error(v.String())
	}
}

// selfSigned is a certificate for both ends on 127.0.0.1, and a pool with it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
