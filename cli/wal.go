package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pando/internal/durable"
	"pando/wal"
)

func newWAL(e *env) *cobra.Command {
	group := newGroup("wal", "Look at, check and repair write-ahead logs",
		newWALInspect(e),
		newWALVerify(e),
		newWALRepair(e),
	)
	group.Long = fmt.Sprintf(`Look at, check and repair the write-ahead log in a node's data folder.

Writes that a crash interrupted are no damage: nobody was told that they are
safe, and the next start cuts them. Damage in bytes that were acknowledged keeps
a node from starting; these commands then end with exit code %d.`, exitIntegrity)
	return group
}

func newWALInspect(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect DIR",
		Short: "Show what a log holds, even while a node uses it",
		Long: `Show a log's identity, records, segments, checkpoints and damage. Nothing is
changed or locked, so the log may be in use.`,
		Example: `  pando wal inspect /var/lib/pando/wal
  pando wal inspect -o json /var/lib/pando/wal`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			report, err := inspectLog(args[0])
			if err != nil {
				return err
			}
			view := viewLog(report)
			if err := e.render(view, view.table()); err != nil {
				return err
			}
			if report.Damage != nil {
				return report.Damage
			}
			return nil
		},
	}
}

func newWALVerify(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Check every byte of a log against its checksums and hashes",
		Long: `Check what a start checks, and beyond it the SHA-256 of every sealed segment and
of every checkpoint. Nothing is changed. All that is found is reported, not only
the first fault.`,
		Example: `  pando wal verify /var/lib/pando/wal && echo intact`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := wal.Verify(durable.OS(), args[0]); err != nil {
				return err
			}
			report, err := inspectLog(args[0])
			if err != nil {
				return err
			}
			view := viewLog(report)
			return e.render(view, table{rows: [][]string{{
				fmt.Sprintf("intact: log %s, records %d to %d, %d segments, %d checkpoints",
					view.ID, view.First, view.Last, len(view.Segments), len(view.Checkpoints)),
			}}})
		},
	}
}

func newWALRepair(e *env) *cobra.Command {
	var opts wal.RepairOptions
	cmd := &cobra.Command{
		Use:   "repair DIR",
		Short: "Make a log fit to be opened, without losing acknowledged bytes",
		Long: `Cut writes that a crash interrupted, after copying them, and remove unfinished
files: what a start does too. The node must be stopped.

Damage in acknowledged bytes is left alone, unless --force is given: then the
whole folder is moved aside, where it can still be read, and the node begins a
new log.`,
		Example: `  pando wal repair /var/lib/pando/wal
  pando wal repair --force /var/lib/pando/wal`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := inspectLog(args[0]); err != nil {
				return err // rather than make a log where there was none
			}
			report, err := wal.Repair(durable.OS(), args[0], opts)
			if errors.Is(err, wal.ErrLocked) {
				return withHint(err, "stop the node first")
			}
			if err != nil {
				return err
			}
			view := viewLog(report)
			return e.render(view, view.table())
		},
	}
	cmd.Flags().BoolVar(&opts.Force, "force", false, "move a damaged log aside, so that the node begins a new one")
	return cmd
}

// inspectLog reads the log in dir; a folder without one is an error, because
// "nothing is wrong" would be a dangerous answer to a mistyped path.
func inspectLog(dir string) (wal.Report, error) {
	report, err := wal.Inspect(durable.OS(), dir)
	if err != nil {
		return wal.Report{}, err
	}
	if report.ID == 0 && report.Damage == nil && len(report.Checkpoints) == 0 {
		return wal.Report{}, withHint(fmt.Errorf("no log in %s", dir), "give the folder that holds the segment files")
	}
	return report, nil
}
