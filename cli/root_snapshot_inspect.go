//go:build !zos

package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pando/root"
)

func newSnapshotInspect(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a saved snapshot says of itself, and what is in it",
		Long: `Check a saved snapshot's SHA-256, read all of it, and show what it says of itself
and what is in it. No root is asked.`,
		Example: `  pando root snapshot inspect roots.snap
  pando root snapshot inspect -o json roots.snap`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, b, err := openBackup(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			_, contents, err := root.InspectBackup(f)
			if err != nil {
				return damagedBackup(args[0], err)
			}
			t := backupTable(args[0], b)
			t.add("commands", contents.Commands)
			t.add("events settled", contents.Settled)
			t.add("agents", contents.Agents)
			t.add("units", contents.Units)
			t.add("series", contents.Series)
			t.add("incidents", contents.Incidents)
			t.add("findings", contents.Findings)
			t.add("roots", strings.Join(contents.Roots, ", "))
			return e.render(struct {
				File string `json:"file"`
				root.Backup
				Contents root.Contents `json:"contents"`
			}{args[0], b, contents}, t)
		},
	}
}
