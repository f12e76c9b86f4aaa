//go:build !zos

package root

import (
	"errors"
	"fmt"
	"log/slog"

	"pando/root/consensus"
	"pando/tree/journal"
)

// ReplayOptions say what to replay.
type ReplayOptions struct {
	Dir    string          // a root's data folder; the root must not run
	Store  consensus.Store // empty: the default
	Logger *slog.Logger
}

// Replay applies a root's log again, from the oldest state that is still on
// disk, and compares with what the members voted while they ran: at each
// mark, every vote is the hash of one member's state and of all results so
// far. From is the snapshot's entry, Records counts commands, Hashes votes. An
// error means that the folder could not be read; a difference is in the
// report.
func Replay(o ReplayOptions) (journal.Report, error) {
	if o.Store == "" {
		o.Store = consensus.DefaultOptions().Store
	}
	f, err := NewFSM()
	if err != nil {
		return journal.Report{}, err
	}
	rep := journal.Report{}
	f.hooks.Voted = func(member string, number uint64, agrees bool) {
		rep.Hashes++
		if !agrees && rep.Fault == "" {
			rep.Fault = fmt.Sprintf("the state after %d commands is not the one that %s had: %v", number, member, ErrDiverged)
		}
	}
	done, err := consensus.Replay(raftDir(o.Dir), o.Store, f, o.Logger)
	rep.From, rep.Records = done.From, int64(done.Commands)
	if errors.Is(err, ErrDiverged) {
		rep.Fault, err = err.Error(), nil
	}
	if err != nil {
		return rep, fmt.Errorf("replay root in %s: %w", o.Dir, err)
	}
	rep.Identical = rep.Fault == ""
	return rep, nil
}
