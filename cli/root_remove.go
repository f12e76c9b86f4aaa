//go:build !zos

package cli

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func newRootRemove(e *env) *cobra.Command {
	var flags clientFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "remove REGION/NAME",
		Short: "Remove a root from the group; it stops by itself",
		Long: `Remove a root from the group. If it runs, it stops with a message as soon as it
learns of it; if it is the leader, another one leads first. A root that was
removed comes back only with an empty data folder, by "pando root add".

If the roots that remain and are well were no majority any more, nothing is
removed, unless --force is given: then the group may be unable to commit
anything, this removal included, until a lost root is back or "pando root
recover" is used.`,
		Example: `  pando root remove core/root2
  pando root remove core/root2 --force`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			q := request{method: http.MethodDelete, path: "/v1/root/members/" + args[0], query: url.Values{}}
			if force {
				q.query.Set("force", "true")
			}
			var done struct {
				Removed string `json:"removed"`
			}
			err = c.patient(changeTimeout).send(cmd.Context(), q, &done)
			var answer *answerError
			if errors.As(err, &answer) && answer.status == http.StatusConflict {
				return withHint(err, "bring the roots back that are not well (\"pando root members\"), or add one first; --force removes it all the same")
			}
			if err != nil {
				return err
			}
			t := table{}
			t.add("removed", done.Removed)
			return e.render(done, t)
		},
	}
	addClientFlags(cmd, &flags)
	cmd.Flags().BoolVar(&force, "force", false, "remove it though the rest is no majority")
	return cmd
}
