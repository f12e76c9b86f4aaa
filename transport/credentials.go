package transport

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Files are the PEM files of a node: the certificates of the CAs it trusts,
// its own certificate (followed by intermediates, if any) and the key of it.
type Files struct{ CA, Cert, Key string }

// Credentials are what a node shows and whom it trusts. [Credentials.Reload]
// exchanges them under running configurations: new handshakes use the new
// files, open sessions stay. Safe for concurrent use.
type Credentials struct {
	files   Files
	reload  sync.Mutex // one Reload at a time
	current atomic.Pointer[material]
}

type material struct {
	roots    *x509.CertPool
	pair     tls.Certificate
	identity Identity
}

// LoadCredentials reads and checks the files.
func LoadCredentials(files Files) (*Credentials, error) {
	c := &Credentials{files: files}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again. If anything is wrong with them it returns an
// error and the old credentials stay in force. A new certificate must name
// the same node: a node does not change its name while it runs.
func (c *Credentials) Reload() error {
	c.reload.Lock()
	defer c.reload.Unlock()
	use, err := c.Prepare()
	if err != nil {
		return err
	}
	use()
	return nil
}

// Prepare reads and checks the files as [Credentials.Reload] does, and leaves
// it to use, which cannot fail, to put them into force: for a caller that has
// other things to change with them, or not at all.
func (c *Credentials) Prepare() (use func(), err error) {
	next, err := c.files.read()
	if err != nil {
		return nil, fmt.Errorf("load credentials: %w", err)
	}
	if old := c.current.Load(); old != nil && old.identity.String() != next.identity.String() {
		return nil, fmt.Errorf("load credentials: %w: %s names %s, this node runs as %s; restart it to change its name",
			ErrIdentity, c.files.Cert, next.identity, old.identity)
	}
	return func() { c.current.Store(next) }, nil
}

func (f Files) read() (*material, error) {
	m := &material{roots: x509.NewCertPool()}
	bundle, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, err
	}
	if err := addRoots(m.roots, bundle); err != nil {
		return nil, fmt.Errorf("%s: %w", f.CA, err)
	}
	if m.pair, err = tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, fmt.Errorf("%s with %s: %w", f.Cert, f.Key, err)
	}
	if m.identity, err = ParseIdentity(m.pair.Leaf); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	// A pair of another CA is found here and not at every peer. Validity is
	// left to the peers: this node's clock may be the one that is wrong.
	chain := []*x509.Certificate{m.pair.Leaf}
	for _, der := range m.pair.Certificate[1:] {
		intermediate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Cert, err)
		}
		chain = append(chain, intermediate)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if err := verifyChain(chain, m.roots, m.pair.Leaf.NotBefore, usage); err != nil {
			return nil, fmt.Errorf("%s against %s: %w", f.Cert, f.CA, err)
		}
	}
	return m, nil
}

// addRoots adds every certificate of a PEM bundle, and unlike
// AppendCertsFromPEM refuses a bundle with a damaged one.
func addRoots(pool *x509.CertPool, bundle []byte) error {
	found := false
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		pool.AddCert(cert)
		found = true
	}
	if !found {
		return errors.New("holds no certificate in PEM form")
	}
	return nil
}

// verifyChain verifies chain[0] by the rest of the chain and the roots. Now
// is the time to judge by; zero is the system's.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time, usage x509.ExtKeyUsage) error {
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// Identity is the node's own, from its certificate.
func (c *Credentials) Identity() Identity { return c.current.Load().identity }

// Expires is when the node's certificate ends.
func (c *Credentials) Expires() time.Time { return c.current.Load().pair.Leaf.NotAfter }

// ServerConfig is for the side that listens: TLS 1.3, and a client must show a
// certificate of this domain. Protocols are offered by ALPN, so that a
// connection meant for another port is refused; without any ALPN is unused.
// The config follows every Reload.
func (c *Credentials) ServerConfig(protocols ...string) *tls.Config {
	config := c.config(x509.ExtKeyUsageClientAuth, protocols)
	// The pool is checked in VerifyConnection, which sees the newest one;
	// RequireAnyClientCert only makes sure that there is a certificate.
	config.ClientAuth = tls.RequireAnyClientCert
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &c.current.Load().pair, nil
	}
	return config
}

// ClientConfig is for the side that dials; see ServerConfig. No DNS name is
// verified, because a node's name is its URI and not its address: what the
// TLS layer ensures is a certificate of this domain, and the caller judges
// the role, region and name in it (ParseIdentity, Hello.Want).
func (c *Credentials) ClientConfig(protocols ...string) *tls.Config {
	config := c.config(x509.ExtKeyUsageServerAuth, protocols)
	config.InsecureSkipVerify = true // replaced by VerifyConnection
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &c.current.Load().pair, nil
	}
	return config
}

func (c *Credentials) config(peerUsage x509.ExtKeyUsage, protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		// A resumed session would carry a judgement of the past.
		SessionTicketsDisabled: true,
		// Sessions live long and carry frames as large as a record.
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return c.verify(state, peerUsage, len(protocols) > 0)
		},
	}
}

// verify judges the peer of a handshake by the credentials of the moment.
func (c *Credentials) verify(state tls.ConnectionState, usage x509.ExtKeyUsage, alpn bool) error {
	current := c.current.Load()
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("%w: peer shows no certificate", ErrIdentity)
	}
	if err := verifyChain(state.PeerCertificates, current.roots, time.Time{}, usage); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	peer, err := ParseIdentity(state.PeerCertificates[0])
	if err != nil {
		return err
	}
	if peer.Domain != current.identity.Domain {
		return fmt.Errorf("%w: %s is of another domain than %s", ErrIdentity, peer, current.identity)
	}
	// TLS lets a peer through that offers no ALPN at all.
	if alpn && state.NegotiatedProtocol == "" {
		return fmt.Errorf("%w: %s speaks another protocol", ErrProtocol, peer)
	}
	return nil
}
