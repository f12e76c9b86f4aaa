//go:build !zos

package consensus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

// identity is a self-signed certificate for 127.0.0.1 that is its own
// authority.
func identity(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// With TLS a group works, and a stranger is refused before Raft reads a byte.
func TestMembersProveWhoTheyAre(t *testing.T) {
	ours, pool := identity(t)
	g := newGroup(t, 3, func(o *Options) {
		o.TLSServer = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ours}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		o.TLSClient = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ours}, RootCAs: pool}
	})
	g.load("a", 4, 5)
	g.agree(20)
	theirs, _ := identity(t)
	for name, cfg := range map[string]*tls.Config{
		"another authority": {RootCAs: pool, Certificates: []tls.Certificate{theirs}},
		"no certificate":    {RootCAs: pool},
	} {
		c, err := tls.Dial("tcp", g.servers[0].Addr, cfg)
		if err != nil {
			continue // refused in the handshake
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte{0})
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("%s: the connection was taken: %v", name, err)
		}
		_ = c.Close()
	}
}

// Strangers who only connect must not keep members out, nor pile up.
func TestConnectionsAreBounded(t *testing.T) {
	g := newGroup(t, 1, nil)
	g.leader()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range maxConns + 20 {
		c, err := net.Dial("tcp", g.servers[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	_ = conns[len(conns)-1].SetReadDeadline(time.Now().Add(patience))
	if _, err := conns[len(conns)-1].Read(make([]byte, 1)); err != io.EOF && !isReset(err) {
		t.Errorf("the last of too many: %v, want it closed", err)
	}
}

func isReset(err error) bool {
	op, ok := err.(*net.OpError)
	return ok && !op.Timeout()
}

// Somebody else listens at the address that a member had: entries must not go
// there, and the member is found at its other address, from then on at once.
func TestDialFindsTheMemberItself(t *testing.T) {
	ours, pool := identity(t)
	server := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ours}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	var addrs []string
	for range 2 {
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.(*tls.Conn).HandshakeContext(t.Context())
				defer c.Close()
			}
		}()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stranger, dialled := addrs[0], []string(nil)
	s, err := newStream(Options{Listener: l, TLSClient: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ours}, RootCAs: pool},
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			dialled = append(dialled, addr)
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
		// Both show the same certificate here; the order of the dials tells them apart.
		Verify: func(id string, _ tls.ConnectionState) error {
			if id != "b" || dialled[len(dialled)-1] == stranger {
				return errors.New("it is another member")
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.whereIs = func(string) []string { return slices.Clone(addrs) }
	for range 2 {
		c, err := s.Dial("b", patience)
		if err != nil || c.RemoteAddr().String() != addrs[1] {
			t.Fatalf("%v, %v", c, err)
		}
	}
	if want := []string{addrs[0], addrs[1], addrs[1]}; !slices.Equal(dialled, want) {
		t.Errorf("dialled %v, want %v", dialled, want)
	}
	if _, err := s.Dial("c", patience); err == nil {
		t.Error("another member was taken for c")
	}
}
