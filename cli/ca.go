package cli

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pando/transport"
	"pando/transport/ca"
)

// Validity of what the development authority makes, unless a flag says
// otherwise: an authority that outlives a pilot, and certificates short
// enough that renewing them is practised.
const (
	authorityValidity   = 5 * 365 * 24 * time.Hour
	certificateValidity = 90 * 24 * time.Hour
)

func newCA(e *env) *cobra.Command {
	group := newGroup("ca", "Make a development authority and certificates for nodes",
		newCAInit(e),
		newCAIssue(e),
	)
	group.Long = `Make a development certificate authority, and certificates for the nodes of a
tree. A node's certificate says who it is: its role, region and name, and for a
relay the regions that it may stand in for. Regions are paths: relays of region
eu may have agents of eu and of eu.fra, and relays of eu.fra, below them.

A larger installation lets its own PKI issue certificates with the same URI
names, spiffe://DOMAIN/ROLE/REGION/NAME.`
	return group
}

// madeFiles is what both commands print.
type madeFiles struct {
	Identity    string `json:"identity,omitempty"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

func (m madeFiles) table() table {
	var t table
	if m.Identity != "" {
		t.add("identity", m.Identity)
	}
	t.add("certificate", m.Certificate)
	t.add("key", m.Key)
	return t
}

func newCAInit(e *env) *cobra.Command {
	var dir, domain string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make an authority",
		Long: `Make an authority: a self-signed certificate and its key, in a folder that is
created if need be. Existing files are never overwritten. Guard the key: who has
it can name any node of the tree.`,
		Example: `  pando ca init --dir ca --domain bank.example`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := ca.Init(dir, domain, validity); err != nil {
				return caError(cmd, err)
			}
			made := madeFiles{Certificate: filepath.Join(dir, ca.CertFile), Key: filepath.Join(dir, ca.KeyFile)}
			return e.render(made, made.table())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "folder of the authority (required)")
	flags.StringVar(&domain, "domain", "", "domain of the tree, the first part of every identity (required)")
	flags.DurationVar(&validity, "validity", authorityValidity, "how long the authority's certificate is valid")
	require(cmd, "dir", "domain")
	return cmd
}

func newCAIssue(e *env) *cobra.Command {
	var dir, out, role string
	var id transport.Identity
	var hosts []string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Make a certificate for one node",
		Long: `Make a key and a certificate for one node, signed by the authority in --dir, as
NAME.pem and NAME-key.pem. Existing files are never overwritten; a running node
takes up renewed files without a restart.`,
		Example: `  pando ca issue --dir ca --role agent --region eu --name lpar-a
  pando ca issue --dir ca --role relay --region eu --name relay-1 --fallback us --out /etc/pando
  pando ca issue --dir ca --role operator --region eu --name alice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id.Role = transport.Role(role)
			certPEM, keyPEM, err := ca.Issue(dir, id, hosts, validity)
			if err != nil {
				return caError(cmd, err)
			}
			if out == "" {
				out = dir
			}
			if err := os.MkdirAll(out, 0o755); err != nil {
				return err
			}
			made := madeFiles{
				Identity:    id.Node(),
				Certificate: filepath.Join(out, id.Name+".pem"),
				Key:         filepath.Join(out, id.Name+"-key.pem"),
			}
			if err := ca.Save(made.Certificate, made.Key, certPEM, keyPEM); err != nil {
				return err
			}
			return e.render(made, made.table())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "folder of the authority (required)")
	flags.StringVar(&out, "out", "", "folder for the node's files (default: the authority's)")
	flags.StringVar(&role, "role", "", "agent, relay, root or operator (required)")
	flags.StringVar(&id.Region, "region", "", "region of the node, a path such as eu.fra (required)")
	flags.StringVar(&id.Name, "name", "", "name of the node, unique within its region (required)")
	flags.StringSliceVar(&id.Fallback, "fallback", nil, "regions a relay may stand in for, with all below them")
	flags.StringSliceVar(&hosts, "host", nil, "DNS names and IP addresses, for programs that verify those; Pando's nodes do not")
	flags.DurationVar(&validity, "validity", certificateValidity, "how long the certificate is valid; never beyond the authority's")
	require(cmd, "dir", "role", "region", "name")
	return cmd
}

// caError tells a name that no certificate may carry, which is a mistake in
// the command line, from everything else.
func caError(cmd *cobra.Command, err error) error {
	if errors.Is(err, transport.ErrIdentity) {
		return &usageError{err: err, command: cmd.CommandPath()}
	}
	return err
}

// require marks flags as required. It fails only for a flag that the command
// does not have, which the command tree's test finds.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		_ = cmd.MarkFlagRequired(name)
	}
}
