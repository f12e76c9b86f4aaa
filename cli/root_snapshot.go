//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"pando/root"
)

func newRootSnapshot(e *env) *cobra.Command {
	group := newGroup("snapshot", "Save the roots' state, look at a saved one, put it back",
		newSnapshotSave(e),
		newSnapshotInspect(e),
		newSnapshotRestore(e),
	)
	group.Long = `Save the state that the roots replicate, look at a saved one, and put it back.
A saved snapshot is one file with its index, term, format, logic version and
SHA-256. It holds what is settled and which incidents there are, not the group's
members, and no telemetry that agents and relays still keep.`
	return group
}

// openBackup opens a saved snapshot and checks it as a whole. The caller
// closes the file.
func openBackup(path string) (*os.File, root.Backup, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, root.Backup{}, err
	}
	b, err := root.CheckBackup(f)
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, b, damagedBackup(path, err)
	}
	return f, b, nil
}

// damagedBackup gives a file that is not whole its exit code.
func damagedBackup(path string, err error) error {
	switch {
	case errors.Is(err, root.ErrBackup):
		return withHint(fmt.Errorf("%s: %w: %w", path, errDamaged, err), "take another copy; of a damaged one nothing is restored")
	case errors.Is(err, root.ErrLogic):
		return &usageError{err: fmt.Errorf("%s: %w", path, err), suggestion: "use the program that the roots run, or a newer one"}
	}
	return fmt.Errorf("%s: %w", path, err)
}

func backupTable(path string, b root.Backup) table {
	t := table{}
	t.add("file", path)
	t.add("taken", moment(b.Time))
	t.add("index", b.Index)
	t.add("term", b.Term)
	t.add("format", b.Format)
	t.add("logic", b.Logic)
	t.add("bytes", b.Bytes)
	t.add("sha256", b.SHA256)
	return t
}
