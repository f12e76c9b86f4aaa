package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func newConfigApply(e *env) *cobra.Command {
	var flags clientFlags
	var at string
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Have a running node read its configuration file and certificates again",
		Long: `Have a running node read its own configuration file and certificates again, as
SIGHUP does, and say what came of it. No session ends and nothing is lost. What
may change while a node runs:

  agent  sources, relays, heartbeat, pending_bytes, when_full
  relay  detectors, parents, the content of gossip.key_file
  root   tick
  all    the content of the certificate files

A file that is wrong, or that changes anything else, changes nothing: the old
configuration stays in force, and the error says why.`,
		Example: `  pando config apply --node 10.0.0.9:7443
  pando config apply --at eu/relay1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.node == "" && at == "" {
				return &usageError{err: errNoNode, suggestion: "give --node HOST:PORT, the node's API, or --at and its name"}
			}
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.narrow(cmd.Context(), at); err != nil {
				return err
			}
			var out reloaded
			if err := c.post(cmd.Context(), "/v1/reload", &out); err != nil {
				return err
			}
			t := table{}
			t.add("node", out.Node)
			t.add("changed", orNothing(out.Keys))
			t.add("touched", orNothing(out.Touched))
			t.add("certificate until", out.Expires)
			return e.render(out, t)
		},
	}
	addClientFlags(cmd, &flags)
	addAtFlag(cmd, &at)
	return cmd
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
