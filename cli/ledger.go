//go:build !zos

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pando/root"
	"pando/stream"
)

// ledgerView accounts for the units of a tree, and for all of them together.
type ledgerView struct {
	root.Ledger
	Total struct {
		Accepted uint64 `json:"accepted"`
		Settled  uint64 `json:"settled"`
		Held     uint64 `json:"held"`
		Dropped  uint64 `json:"dropped"`
	} `json:"total"`
}

func newLedger(e *env) *cobra.Command {
	var flags readFlags
	var origin string
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Account for every event: accepted = settled + held + dropped",
		Long: `Account for every event that the agents accepted from their sources, by agent,
WAL id and lane:

  ACCEPTED = SETTLED at the root + HELD on the agent's disk + DROPPED for good

The numbers include the agents' own heartbeats. LOST says why events were
dropped: overflow (the agent's disk was full, and the lane's policy is
drop_newest), replaced (the agent's log was replaced, and what it had not handed
over cannot be read again), restored (the roots were restored from an older
snapshot), forgotten (the agent's log was replaced too often). The sequence
numbers and times of each are in the JSON.

What agents accepted is what they last reported to the leader, a second or two
ago. Where the root that answers has no report, it says so, HELD is "?", and the
sums leave out what is held there: with --stale at a root that does not lead, or
for a moment after a change of leader.`,
		Example: `  pando ledger --context tree.yaml
  pando ledger --origin 'eu/*' -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			var all, view ledgerView
			if err := c.get(cmd.Context(), "/v1/ledger", flags.query(), &all); err != nil {
				return err
			}
			view.Accounts, view.Note = []root.Account{}, all.Note
			for _, a := range all.Accounts {
				if stream.Match(origin, a.Origin) {
					view.add(a)
				}
			}
			if err := e.render(view, view.table()); err != nil || view.Note == "" || e.output != outputTable {
				return err
			}
			_, err = fmt.Fprintf(e.stderr, "note: %s\n", view.Note)
			return err
		},
	}
	addReadFlags(cmd, &flags)
	cmd.Flags().StringVar(&origin, "origin", "", "only agents that match this pattern (* and ?)")
	return cmd
}

func (v *ledgerView) add(a root.Account) {
	v.Accounts = append(v.Accounts, a)
	if a.AsOf == 0 && !a.Closed {
		v.Unreported++
	}
	v.Total.Accepted += a.Accepted
	v.Total.Settled += a.Settled
	v.Total.Held += a.Held
	v.Total.Dropped += a.Dropped
}

func (v *ledgerView) table() table {
	t := table{columns: []string{"agent", "wal", "lane", "accepted", "settled", "held", "dropped", "lost"}}
	for _, a := range v.Accounts {
		wal := a.WAL
		if a.Closed {
			wal += " (closed)"
		}
		held := fmt.Sprint(a.Held)
		if a.AsOf == 0 && !a.Closed {
			held = "?"
		}
		t.add(a.Origin, wal, a.Lane, a.Accepted, a.Settled, held, a.Dropped, lostWords(a.Lost))
	}
	t.add("all", "", "", v.Total.Accepted, v.Total.Settled, v.Total.Held, v.Total.Dropped, "")
	return t
}

// lostWords says how much is missing for which reason.
func lostWords(list []root.Loss) string {
	var words []string
	for _, l := range list {
		words = append(words, fmt.Sprintf("%s %d", l.Reason, l.Count))
	}
	return strings.Join(words, ", ")
}
