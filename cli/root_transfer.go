//go:build !zos

package cli

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newRootTransfer(e *env) *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "transfer [REGION/NAME]",
		Short: "Hand leadership over, to a root by name or to the most current one",
		Long: `Have another root lead: the one that is named, or else the one that is most up to
date. Nothing is lost; relays go to the new leader. Before a root is stopped it
hands leadership over by itself, so this is for a leader that is to stay up.`,
		Example: `  pando root transfer
  pando root transfer core/root2`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			to := map[string]string{"name": ""}
			if len(args) > 0 {
				to["name"] = args[0]
			}
			q, err := jsonRequest(http.MethodPost, "/v1/root/transfer", to)
			if err != nil {
				return err
			}
			var done struct {
				From   string `json:"from"`
				Leader string `json:"leader"` // empty: the election goes on
			}
			if err := c.patient(changeTimeout).send(cmd.Context(), q, &done); err != nil {
				return err
			}
			t := table{}
			t.add("from", done.From)
			t.add("leader", done.Leader)
			return e.render(done, t)
		},
	}
	addClientFlags(cmd, &flags)
	return cmd
}
