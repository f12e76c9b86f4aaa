package ca_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pando/transport"
	"pando/transport/ca"
)

func TestIssuedCertificateNamesTheNode(t *testing.T) {
	dir := t.TempDir()
	if err := ca.Init(dir, "bank.example", time.Hour); err != nil {
		t.Fatal(err)
	}
	want := transport.Identity{Role: transport.RoleRelay, Region: "eu", Name: "r1", Fallback: []string{"asia", "us"}}
	certPEM, keyPEM, err := ca.Issue(dir, want, []string{"relay.example", "127.0.0.1"}, 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	files := transport.Files{CA: filepath.Join(dir, ca.CertFile), Cert: filepath.Join(dir, "r1.pem"), Key: filepath.Join(dir, "r1-key.pem")}
	if err := ca.Save(files.Cert, files.Key, certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{files.Key, filepath.Join(dir, ca.KeyFile)} {
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", key, info.Mode(), err)
		}
	}
	credentials, err := transport.LoadCredentials(files)
	if err != nil {
		t.Fatal(err)
	}
	got := credentials.Identity()
	if got.String() != "spiffe://bank.example/relay/eu/r1" || strings.Join(got.Fallback, " ") != "asia us" {
		t.Errorf("identity %s with fallbacks %v", got, got.Fallback)
	}
	if left := time.Until(credentials.Expires()); left > time.Hour {
		t.Errorf("the certificate outlives its authority: %s", left)
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	if err := ca.Init(dir, "bank.example", time.Hour); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, ca.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Init(dir, "bank.example", time.Hour); !errors.Is(err, ca.ErrExists) {
		t.Errorf("second init: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, ca.KeyFile)); err != nil || string(after) != string(before) {
		t.Error("the authority's key changed")
	}
	cert := filepath.Join(dir, "new.pem")
	if err := ca.Save(cert, filepath.Join(dir, ca.KeyFile), []byte("c"), []byte("k")); !errors.Is(err, ca.ErrExists) {
		t.Errorf("save over a key: %v", err)
	}
	if _, err := os.Stat(cert); !errors.Is(err, os.ErrNotExist) {
		t.Error("a certificate without its key was left behind")
	}
}

func TestIssueRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := ca.Init(dir, "bank.example", time.Hour); err != nil {
		t.Fatal(err)
	}
	good := transport.Identity{Role: transport.RoleAgent, Region: "eu", Name: "a1"}
	for name, c := range map[string]struct {
		change   func(*transport.Identity)
		validity time.Duration
		says     string
	}{
		"another domain": {func(id *transport.Identity) { id.Domain = "evil.example" }, time.Hour, "evil.example"},
		"a role unknown": {func(id *transport.Identity) { id.Role = "king" }, time.Hour, "king"},
		"a path in name": {func(id *transport.Identity) { id.Name = "../root" }, time.Hour, "region/name"},
		"upper case":     {func(id *transport.Identity) { id.Region = "EU" }, time.Hour, "lower-case"},
		"no validity":    {func(*transport.Identity) {}, 0, "validity"},
	} {
		id := good
		c.change(&id)
		if _, _, err := ca.Issue(dir, id, nil, c.validity); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, c.says)
		}
	}
}
