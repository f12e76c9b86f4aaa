package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"pando/transport"
)

func newConfig(e *env) *cobra.Command {
	return newGroup("config", "Check configuration files, and apply them to a running node", newConfigApply(e), newConfigCheck(e))
}

func newConfigCheck(e *env) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a node's configuration file, and say everything that is wrong",
		Long: `Check a node's configuration file as the node itself would read it: syntax, keys,
values, and that certificates and keys can be loaded. Nothing is changed and
nothing is opened on the network. The role is taken from the file's "role", or
from --role.`,
		Example: `  pando config check /etc/pando/agent.yaml
  pando config check relay.yaml --role relay`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			checked, err := checkConfig(args[0], role)
			if err != nil {
				return err
			}
			return e.render(checked, table{rows: [][]string{{
				fmt.Sprintf("%s: good for %s %s", checked.File, checked.Role, checked.Node)}}})
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "agent, relay or root; default: what the file says")
	return cmd
}

// checkedConfig is what the command prints of a file without faults.
type checkedConfig struct {
	File string `json:"file"`
	Role string `json:"role"`
	Node string `json:"node"` // region/name, from the certificate
}

func checkConfig(path, role string) (checkedConfig, error) {
	var err error
	if role == "" {
		if role, err = roleOf(path); err != nil {
			return checkedConfig{}, err
		}
	}
	load, ok := configLoaders()[transport.Role(role)]
	if !ok {
		return checkedConfig{}, &usageError{err: fmt.Errorf("role %q: want %s", role, roleWords()), command: "pando config check"}
	}
	creds, err := load(path)
	if err != nil {
		return checkedConfig{}, err
	}
	return checkedConfig{File: path, Role: role, Node: creds.Identity().Node()}, nil
}

// roleOf reads only the role out of a file; whatever else is wrong with it is
// found when it is read for that role.
func roleOf(path string) (string, error) {
	text, err := readConfig(path)
	if err != nil {
		return "", err
	}
	var c struct {
		Role string `yaml:"role"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return "", located(path, text, err)
	}
	if c.Role == "" {
		return "", &configError{path: path, reason: "the file does not say its role",
			hint: "add a line such as \"role: agent\", or give --role"}
	}
	return c.Role, nil
}

func roleWords() string {
	var words []string
	for role := range configLoaders() {
		words = append(words, string(role))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}
