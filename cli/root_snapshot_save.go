//go:build !zos

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pando/internal/durable"
	"pando/root"
)

func newSnapshotSave(e *env) *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Save the roots' state to a file",
		Long: `Save the state to a file on this machine. The leader streams it: all that was
acknowledged before is in it. The file appears under its name only when it is
whole, checked and on the disk; an existing one is replaced then.`,
		Example: `  pando root snapshot save roots.snap
  pando root snapshot save -o json /backup/roots-$(date +%F).snap`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			b, err := saveSnapshot(cmd.Context(), c.patient(changeTimeout), args[0])
			if err != nil {
				return fmt.Errorf("save snapshot: %w", err)
			}
			return e.render(struct {
				File string `json:"file"`
				root.Backup
			}{args[0], b}, backupTable(args[0], b))
		},
	}
	addClientFlags(cmd, &flags)
	return cmd
}

func saveSnapshot(ctx context.Context, c *client, path string) (b root.Backup, err error) {
	resp, err := c.open(ctx, "/v1/root/snapshot", nil)
	if err != nil {
		return b, err
	}
	defer resp.Body.Close()
	temporary := path + durable.TempSuffix
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return b, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	b, err = root.CheckBackup(io.TeeReader(resp.Body, f))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return b, fmt.Errorf("%s: %w", resp.Request.URL.Host, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return b, err
	}
	return b, durable.OS().SyncDir(filepath.Dir(path))
}
