//go:build !zos

package root

import (
	"fmt"
	"log/slog"

	"pando/root/consensus"
)

// RecoverOptions say which stopped root becomes which group.
type RecoverOptions struct {
	Dir     string             // the root's data folder; the root must not run
	Store   consensus.Store    // empty: the default
	Name    string             // the root's name
	Members []consensus.Member // the new group, this root included
	Logger  *slog.Logger
}

// Survey tells what a stopped root's folder holds.
func Survey(o RecoverOptions) (consensus.Recovery, error) {
	return consensus.Survey(raftDir(o.Dir), o.store(), o.Logger)
}

// Recover makes a stopped root the beginning of another group, after the
// majority of its group was lost. All entries that it has are kept. See
// [consensus.Recover].
func Recover(o RecoverOptions) (consensus.Recovery, error) {
	f, err := NewFSM()
	if err != nil {
		return consensus.Recovery{}, err
	}
	rec, err := consensus.Recover(raftDir(o.Dir), o.store(), f, o.Name, o.Members, o.Logger)
	if err != nil {
		return rec, fmt.Errorf("root %s: %w", o.Name, err)
	}
	return rec, nil
}

func (o *RecoverOptions) store() consensus.Store {
	if o.Store == "" {
		return consensus.DefaultOptions().Store
	}
	return o.Store
}
