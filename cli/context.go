package cli

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pando/transport"
)

// contextVariable names the context file for all commands of a shell.
const contextVariable = "PANDO_CONTEXT"

// contextConfig is a context file: which tree, and who asks. Relative paths
// are relative to the file's folder.
type contextConfig struct {
	API  []string `yaml:"api"` // host:port of nodes' APIs, tried in turn
	CA   string   `yaml:"ca"`
	Cert string   `yaml:"cert"` // of an operator: pando ca issue --role operator
	Key  string   `yaml:"key"`
}

// clientFlags are those of commands that ask a running tree.
type clientFlags struct {
	context string
	node    string
}

func addClientFlags(cmd *cobra.Command, f *clientFlags) {
	cmd.Flags().StringVar(&f.context, "context", "", "context file: which tree, and who asks (default: $"+contextVariable+")")
	cmd.Flags().StringVar(&f.node, "node", "", "host:port of the API to ask, instead of the context's")
}

// connect reads the context and returns a client.
func (f *clientFlags) connect() (*client, error) {
	path := f.context
	if path == "" {
		path = os.Getenv(contextVariable)
	}
	if path == "" {
		return nil, &usageError{err: fmt.Errorf("no context: which tree is meant?"),
			suggestion: "give --context FILE, or set " + contextVariable + "; the file holds api: [host:port], ca:, cert:, key:"}
	}
	var c contextConfig
	if err := loadYAML(path, &c); err != nil {
		return nil, err
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	faults := &configFaults{path: path}
	if f.node != "" {
		c.API = []string{f.node}
	}
	if len(c.API) == 0 {
		faults.add("api: is missing; give the API addresses of roots, such as [10.0.0.1:7443]")
	}
	faults.addresses("api", c.API)
	creds, err := transport.LoadCredentials(transport.Files{CA: under(base, c.CA), Cert: under(base, c.Cert), Key: under(base, c.Key)})
	if err != nil {
		faults.add("%w", err)
	}
	if err := faults.err(); err != nil {
		return nil, err
	}
	return newClient(creds, c.API), nil
}

// readFlags are those of commands that read the roots' state.
type readFlags struct {
	clientFlags
	stale bool
}

func addReadFlags(cmd *cobra.Command, f *readFlags) {
	addClientFlags(cmd, &f.clientFlags)
	cmd.Flags().BoolVar(&f.stale, "stale", false, "read what the node that answers has, even without a majority of roots")
}

func (f *readFlags) query() url.Values {
	q := url.Values{}
	if f.stale {
		q.Set("stale", "true")
	}
	return q
}
