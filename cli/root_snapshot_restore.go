//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"pando/root"
)

func newSnapshotRestore(e *env) *cobra.Command {
	var flags clientFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put the state of a running group back to a saved snapshot",
		Long: `Put the state of a running group of roots back to a saved snapshot, on all of
them. What was settled and which incidents there were since then is forgotten:
the roots count again what agents still have, and what they have no more is
missing. It is for a group that was begun anew, or whose state is wrong; a lost
root needs no restore, see "pando root add". The group's members stay.

The snapshot is checked as a whole before anything changes. --yes is needed.`,
		Example: `  pando root snapshot restore roots.snap --yes`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, b, err := openBackup(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if !yes {
				return &usageError{err: fmt.Errorf("this puts all roots back to %s, entry %d, and forgets what came after it", moment(b.Time), b.Index),
					suggestion: "save the present state first (pando root snapshot save); then give --yes"}
			}
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			q := request{method: http.MethodPost, path: "/v1/root/snapshot", kind: "application/octet-stream", size: b.Bytes,
				body: func() (io.ReadCloser, error) { return os.Open(args[0]) }}
			var done root.Backup
			if err := c.patient(0).send(cmd.Context(), q, &done); err != nil {
				return fmt.Errorf("restore snapshot: %w", err)
			}
			if done.SHA256 != b.SHA256 {
				return errors.New("restore snapshot: the file has changed meanwhile, and something else was restored")
			}
			return e.render(done, backupTable(args[0], done))
		},
	}
	addClientFlags(cmd, &flags)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it: what came after the snapshot is forgotten")
	return cmd
}
