//go:build !zos

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

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
		Unknown  uint64 `json:"unknown"`

		Unaccounted int64 `json:"unaccounted"`
	} `json:"total"`
}

func newLedger(e *env) *cobra.Command {
	var flags readFlags
	var origin string
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Account for every event: accepted = settled + held + dropped + unknown",
		Long: `Account for every event that the agents accepted from their sources, by agent,
WAL id and lane:

  ACCEPTED = SETTLED at the root + HELD on the agent's disk + DROPPED for good
             + UNKNOWN, gone with an agent's disk at most + UNACCOUNTED

ACCEPTED is the agent's count, SETTLED what relays counted, HELD the agent's word
on its log. UNACCOUNTED is what these leave unexplained. It is 0; if it is not,
the command looks again for some seconds, in which a root that was restored
learns what its agents have no more, and if it stays, ends with exit code 3.
UNKNOWN is what an agent had reported when its disk was lost, and nobody has
settled since: a relay may still settle some of it, files are read again under
the next WAL id and count there, and the rest is lost. A leader knows it as long
as its process lives.

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
			view, err := settledView(cmd.Context(), func() (view ledgerView, err error) {
				var all ledgerView
				err = c.get(cmd.Context(), "/v1/ledger", flags.query(), &all)
				view.Accounts, view.Unreported, view.Note = []root.Account{}, all.Unreported, all.Note
				for _, a := range all.Accounts {
					if stream.Match(origin, a.Origin) {
						view.add(a)
					}
				}
				return view, err
			})
			if err != nil {
				return err
			}
			if err := e.render(view, view.table()); err != nil {
				return err
			}
			if view.Note != "" && e.output == outputTable {
				fmt.Fprintf(e.stderr, "note: %s\n", view.Note)
			}
			return view.fault()
		},
	}
	addReadFlags(cmd, &flags)
	cmd.Flags().StringVar(&origin, "origin", "", "only agents that match this pattern (* and ?)")
	return cmd
}

// Looks at a ledger in which something is unaccounted for.
const (
	ledgerLooks = 4
	ledgerPause = time.Second
)

// settledView looks until everything is accounted for, or often enough.
func settledView(ctx context.Context, look func() (ledgerView, error)) (v ledgerView, err error) {
	for range ledgerLooks {
		if v, err = look(); err != nil || v.fault() == nil {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(ledgerPause):
		}
	}
	return v, nil
}

// fault is errDegraded if something is unaccounted for.
func (v *ledgerView) fault() error {
	for i := range v.Accounts {
		if a := &v.Accounts[i]; a.Unaccounted != 0 {
			return withHint(fmt.Errorf("%w: %d events of %s, WAL id %s, lane %s are unaccounted for", errDegraded, a.Unaccounted, a.Origin, a.WAL, a.Lane),
				"keep the folders of the agent, its relays and the roots, and report it")
		}
	}
	return nil
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
	v.Total.Unknown += a.Unknown
	v.Total.Unaccounted += a.Unaccounted
}

func (v *ledgerView) table() table {
	t := table{columns: []string{"agent", "wal", "lane", "accepted", "settled", "held", "dropped", "unknown", "unaccounted", "lost"}}
	for _, a := range v.Accounts {
		wal := a.WAL
		if a.Closed {
			wal += " (closed)"
		}
		held := fmt.Sprint(a.Held)
		if a.AsOf == 0 && !a.Closed {
			held = "?"
		}
		t.add(a.Origin, wal, a.Lane, a.Accepted, a.Settled, held, a.Dropped, a.Unknown, a.Unaccounted, lostWords(a.Lost))
	}
	t.add("all", "", "", v.Total.Accepted, v.Total.Settled, v.Total.Held, v.Total.Dropped, v.Total.Unknown, v.Total.Unaccounted, "")
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
