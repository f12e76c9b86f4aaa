//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"pando/tree/gossip"
)

func newGossip(e *env) *cobra.Command {
	group := newGroup("gossip", "Make the keys that keep strangers out of the relays' gossip", newGossipKeygen(e))
	return group
}

func newGossipKeygen(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Write a new gossip key to a file",
		Long: `Write a new gossip key, 32 random bytes, to a file that only its owner can read.
All relays of a region need the same file. An existing file is never
overwritten. To rotate, put the new key's line before the old one's on every
relay, restart them one by one, then remove the old line in the same way.`,
		Example: `  pando gossip keygen /etc/pando/gossip.key`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := writeKey(args[0]); err != nil {
				return fmt.Errorf("write gossip key: %w", err)
			}
			made := struct {
				Key string `json:"key_file"`
			}{args[0]}
			return e.render(made, table{rows: [][]string{{"key file", made.Key}}})
		},
	}
}

func writeKey(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return withHint(err, "move it away first; a key in use is never overwritten")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(gossip.FormatKeys([][]byte{gossip.NewKey()}))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
