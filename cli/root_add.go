//go:build !zos

package cli

import (
	"net/http"

	"github.com/spf13/cobra"

	"pando/root"
)

// memberBody is what the API takes for a new root.
type memberBody struct {
	Name string `json:"name"`
	Raft string `json:"raft"`
	Addr string `json:"addr"`
	API  string `json:"api,omitempty"`
}

func newRootAdd(e *env) *cobra.Command {
	var flags clientFlags
	var m memberBody
	cmd := &cobra.Command{
		Use:   "add REGION/NAME --raft HOST:PORT --addr HOST:PORT",
		Short: "Add a root to the group; it gets its vote when it has caught up",
		Long: `Add a root to the group. It should run already, with bootstrap_expect: 0 and an
empty data folder: it waits until it is added. At first it has no vote, so that
a slow or mistyped root cannot take the majority away; it gets its vote by itself
once it has caught up. See "pando root members". Adding it again is harmless.

The addresses are those by which the other roots and the relays reach it. They
go into the group's address book; a root that has its own line in raft.servers
corrects them when it moves.`,
		Example: `  pando root add core/root4 --raft 10.0.0.4:7072 --addr 10.0.0.4:7070 --api 10.0.0.4:7443`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			m.Name = args[0]
			q, err := jsonRequest(http.MethodPost, "/v1/root/members", m)
			if err != nil {
				return err
			}
			var added root.Member
			if err := c.patient(changeTimeout).send(cmd.Context(), q, &added); err != nil {
				return err
			}
			return e.render(added, membersTable([]root.Member{added}))
		},
	}
	addClientFlags(cmd, &flags)
	cmd.Flags().StringVar(&m.Raft, "raft", "", "host:port of its Raft listener (required)")
	cmd.Flags().StringVar(&m.Addr, "addr", "", "host:port of its transport listener (required)")
	cmd.Flags().StringVar(&m.API, "api", "", "host:port of its API, to which the others redirect when it leads")
	require(cmd, "raft", "addr")
	return cmd
}
