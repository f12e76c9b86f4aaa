// Package ca makes a development certificate authority and certificates for
// the nodes of a tree. It is meant for tests, demonstrations and small
// installations; a larger one lets its own PKI issue certificates with the
// same URI names (see [transport.Identity]).
//
// Keys are ECDSA P-256. The authority is two files in one folder, [CertFile]
// and [KeyFile]; the key file can be read by its owner only, and nothing is
// ever overwritten.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"pando/transport"
)

// The authority's files.
const (
	CertFile = "ca.pem"
	KeyFile  = "ca-key.pem"
)

// backdate lets a certificate be valid on a node whose clock is behind.
const backdate = time.Hour

// ErrExists says that a file is there already; nothing was changed.
var ErrExists = errors.New("already exists")

// Init makes an authority for a domain in dir, which it creates if need be.
func Init(dir, domain string, validity time.Duration) error {
	if err := initCA(dir, domain, validity); err != nil {
		return fmt.Errorf("init ca in %s: %w", dir, err)
	}
	return nil
}

func initCA(dir, domain string, validity time.Duration) error {
	probe := transport.Identity{Domain: domain, Role: transport.RoleOperator, Region: "any", Name: "any"}
	if err := probe.Validate(); err != nil {
		return err
	}
	if validity <= 0 {
		return fmt.Errorf("validity %s is not positive", validity)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Pando development CA of " + domain},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: domain}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	certPEM, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return Save(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile), certPEM, keyPEM)
}

// Issue makes a key and a certificate for a node, signed by the authority in
// dir. An empty domain is the authority's. Hosts are DNS names and IP
// addresses to be put in the certificate for programs that verify those;
// Pando's own nodes do not. The certificate does not outlive the authority.
func Issue(dir string, id transport.Identity, hosts []string, validity time.Duration) (certPEM, keyPEM []byte, err error) {
	certPEM, keyPEM, err = issue(dir, id, hosts, validity)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate for %s: %w", id.Node(), err)
	}
	return certPEM, keyPEM, nil
}

func issue(dir string, id transport.Identity, hosts []string, validity time.Duration) ([]byte, []byte, error) {
	authority, err := tls.LoadX509KeyPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
	if err != nil {
		return nil, nil, err
	}
	signer, ok := authority.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !authority.Leaf.IsCA || len(authority.Leaf.URIs) != 1 {
		return nil, nil, fmt.Errorf("%s is not an authority made by this program", filepath.Join(dir, CertFile))
	}
	domain := authority.Leaf.URIs[0].Host
	if id.Domain == "" {
		id.Domain = domain
	}
	if id.Domain != domain {
		return nil, nil, fmt.Errorf("domain %q, the authority is for %q", id.Domain, domain)
	}
	if err := id.Validate(); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	end := now.Add(validity)
	if end.After(authority.Leaf.NotAfter) {
		end = authority.Leaf.NotAfter
	}
	if validity <= 0 || !now.Before(end) {
		return nil, nil, fmt.Errorf("validity %s leaves no time before %s", validity, end.Format(time.RFC3339))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: id.Node()},
		URIs:        id.URIs(),
		NotBefore:   now.Add(-backdate),
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certPEM, err := sign(template, authority.Leaf, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := encodeKey(key)
	return certPEM, keyPEM, err
}

// sign gives the certificate a random serial number and signs it.
func sign(template, parent *x509.Certificate, key *ecdsa.PublicKey, signer *ecdsa.PrivateKey) ([]byte, error) {
	// RFC 5280 allows 20 bytes; 120 random bits do not collide.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Save writes a certificate and its key to new files, the key readable by the
// owner only. If either exists it returns an error that wraps [ErrExists] and
// writes neither.
func Save(certPath, keyPath string, certPEM, keyPEM []byte) error {
	if _, err := os.Lstat(certPath); err == nil {
		return fmt.Errorf("%s %w; move it away first", certPath, ErrExists)
	}
	if err := create(keyPath, keyPEM, 0o600); err != nil {
		return err
	}
	if err := create(certPath, certPEM, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyPath))
	}
	return nil
}

func create(path string, data []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w; move it away first", path, ErrExists)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
