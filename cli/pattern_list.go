//go:build !zos

package cli

import (
	"github.com/spf13/cobra"

	"pando/stream/cep"
)

func newPatternList(e *env) *cobra.Command {
	var flags readFlags
	var at string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the patterns in force, and what runs of them",
		Long: `List the patterns in force: how many matches have begun (runs) in how many keys,
how many were completed, ran out of time, or were dropped by a limit. A pattern
runs on the tier that its scope names; the roots know all of them, and only run
their own. Late are events that came after their time, of all patterns together:
relays drop them, roots take them as of now.

With --at relay, or --at and a relay's name, list those that run on a relay,
which may be of a set before if it is cut off.`,
		Example: `  pando pattern list --context tree.yaml
  pando pattern list --at eu/relay1
  pando pattern list -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.narrow(cmd.Context(), at); err != nil {
				return err
			}
			var l cep.Listing
			if err := c.get(cmd.Context(), "/v1/patterns", flags.query(), &l); err != nil {
				return err
			}
			return e.render(l, listedPatterns(&l))
		},
	}
	addReadFlags(cmd, &flags)
	addAtFlag(cmd, &at)
	return cmd
}

func listedPatterns(l *cep.Listing) table {
	t := table{columns: []string{"pattern", "scope", "hash", "keys", "runs", "matched", "expired", "dropped", "late", "bytes"}}
	var keys, runs int
	var matched, expired, dropped uint64
	for _, p := range l.Patterns {
		if !p.Here {
			t.add(p.Name, p.Scope, p.Hash, "", "", "", "", "", "", "")
			continue
		}
		t.add(p.Name, p.Scope, p.Hash, p.Keys, p.Runs, p.Matched, p.Expired, p.Dropped, "", p.Bytes)
		keys, runs = keys+p.Keys, runs+p.Runs
		matched, expired, dropped = matched+p.Matched, expired+p.Expired, dropped+p.Dropped
	}
	if len(l.Patterns) > 0 {
		t.add("all here", "", "", keys, runs, matched, expired, dropped, l.Late+l.Moved, l.Bytes+l.Shared)
	}
	return t
}
