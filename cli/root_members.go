//go:build !zos

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"pando/root"
)

// lateLag is how many entries a root may be behind and still count as well: a
// busy group has a few hundred on their way.
const lateLag = 10_000

func newRootMembers(e *env) *cobra.Command {
	var flags readFlags
	cmd := &cobra.Command{
		Use:   "members",
		Short: "Show the roots: vote, state, last contact, applied entries, lag",
		Long: fmt.Sprintf(`Show the members of the group of roots, as the leader knows them. CONTACT is how
long ago a root heard the leader; LAG counts committed entries that it has not
applied yet. A nonvoter was added lately; it gets its vote by itself when it has
caught up. LOGIC is the newest version that a root's program knows; the version
in force rises when all of them know a higher one.

With --stale the root that answers tells what it has; of the others it then
knows little. The exit code is %d if a root is not well.`, exitDegraded),
		Example: `  pando root members --context tree.yaml
  pando root members -o json
  pando root members --stale --node 10.0.0.1:7443`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			var m root.Members
			if err := c.get(cmd.Context(), "/v1/root/members", flags.query(), &m); err != nil {
				return err
			}
			if err := e.render(m, membersTable(m.Members)); err != nil {
				return err
			}
			return membersFault(&m, flags.stale)
		},
	}
	addReadFlags(cmd, &flags)
	return cmd
}

func membersTable(list []root.Member) table {
	t := table{columns: []string{"root", "raft", "suffrage", "state", "contact", "applied", "lag", "logic", "addr", "api"}}
	for _, m := range list {
		contact, applied, lag, logic := "", "", "", ""
		if m.Contact >= 0 {
			contact = fmt.Sprintf("%.0fms", m.Contact)
		}
		if m.Lag >= 0 {
			applied, lag = fmt.Sprint(m.Applied), fmt.Sprint(m.Lag)
		}
		if m.Logic > 0 {
			logic = fmt.Sprint(m.Logic)
		}
		t.add(m.Name, m.Raft, m.Suffrage, m.State, contact, applied, lag, logic, m.Addr, m.API)
	}
	return t
}

// membersFault is errDegraded if a member is not well. A stale answer knows
// nothing of most of them.
func membersFault(m *root.Members, stale bool) error {
	if m.Leader == "" {
		return fmt.Errorf("%w: no leader is known", errDegraded)
	}
	for _, x := range m.Members {
		switch {
		case x.State == "silent":
			return fmt.Errorf("%w: %s is silent", errDegraded, x.Name)
		case x.Lag > lateLag && !stale:
			return fmt.Errorf("%w: %s is %d entries behind", errDegraded, x.Name, x.Lag)
		}
	}
	return nil
}
