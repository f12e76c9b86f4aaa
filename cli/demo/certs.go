//go:build !zos

package demo

import (
	"os"
	"path/filepath"
	"time"

	"pando/transport"
	"pando/transport/ca"
)

// The tree's names. All agents and their relays are in one region, so that each
// relay can take over from the other; a second tier is in the region above it.
const (
	domain      = "pando.demo"
	region      = "fra"
	upperRegion = "eu"
	lowerRegion = "eu.fra"
	operator    = "operator"
)

// validity of the certificates: longer than anyone lets a demonstration run.
const validity = 7 * 24 * time.Hour

// authority issues the tree's certificates into one folder.
type authority struct{ dir string }

func newAuthority(dir string) (authority, error) {
	a := authority{dir: dir}
	return a, ca.Init(dir, domain, validity)
}

// issue makes a node's certificate and key and returns their files.
func (a authority) issue(role transport.Role, region, name string) (transport.Files, error) {
	id := transport.Identity{Domain: domain, Role: role, Region: region, Name: name}
	cert, key, err := ca.Issue(a.dir, id, []string{"127.0.0.1", "localhost"}, validity)
	if err != nil {
		return transport.Files{}, err
	}
	files := transport.Files{CA: filepath.Join(a.dir, ca.CertFile), Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+"-key.pem")}
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return transport.Files{}, err
	}
	return files, ca.Save(files.Cert, files.Key, cert, key)
}

func (a authority) credentials(role transport.Role, region, name string) (*transport.Credentials, error) {
	files, err := a.issue(role, region, name)
	if err != nil {
		return nil, err
	}
	return transport.LoadCredentials(files)
}
