//go:build !zos

package consensus

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/hashicorp/raft"
)

// Replayed is what [Replay] went through.
type Replayed struct {
	From     uint64 // index of the snapshot it began with; 0: the log's beginning
	To       uint64 // last entry
	Entries  uint64 // with commands
	Commands uint64
}

// Replay brings a fresh state machine from the oldest state on disk of a
// member that does not run to the end of its log: from nothing if the log
// goes back to its beginning, else from the oldest snapshot that the log
// continues. The last entries may be ones that no quorum had when the member
// stopped. An error of the state machine is returned as it is, wrapped, with
// what was gone through until then.
func Replay(dir string, store Store, fsm FSM, log *slog.Logger) (rep Replayed, err error) {
	s, err := openExisting(dir, store, log)
	if err != nil {
		return rep, fmt.Errorf("replay: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	first, err := s.logs.FirstIndex()
	if err != nil {
		return rep, fmt.Errorf("replay: %w", err)
	}
	if rep.To, err = s.logs.LastIndex(); err != nil {
		return rep, fmt.Errorf("replay: %w", err)
	}
	if rep.From, err = s.restoreOldest(first, fsm); err != nil {
		return rep, fmt.Errorf("replay: %w", err)
	}
	rep.To = max(rep.To, rep.From)
	a := newApplier(fsm, func(error) {})
	for i := rep.From + 1; i <= rep.To; i++ {
		var l raft.Log
		if err := s.logs.GetLog(i, &l); err != nil {
			return rep, fmt.Errorf("replay: entry %d: %w", i, err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		results, err := a.applyEntry(&l)
		rep.Entries++
		rep.Commands += uint64(len(results))
		if err != nil {
			return rep, fmt.Errorf("replay: entry %d: %w", i, err)
		}
	}
	return rep, nil
}

// restoreOldest restores the oldest snapshot that the log, which begins at
// first, continues, and returns its index; 0 without restoring anything if
// the log goes back to its beginning.
func (s *stores) restoreOldest(first uint64, fsm FSM) (uint64, error) {
	list, err := s.snapshots.List() // newest first
	if err != nil {
		return 0, err
	}
	if first == 1 || first == 0 && len(list) == 0 {
		return 0, nil
	}
	for i := len(list) - 1; i >= 0; i-- {
		// An empty log continues only the newest.
		if first == 0 && i > 0 || list[i].Index+1 < first {
			continue
		}
		_, r, err := s.snapshots.Open(list[i].ID)
		if err != nil {
			return 0, fmt.Errorf("snapshot %s: %w", list[i].ID, err)
		}
		if err := errors.Join(fsm.Restore(r), r.Close()); err != nil {
			return 0, fmt.Errorf("snapshot %s: %w", list[i].ID, err)
		}
		return list[i].Index, nil
	}
	return 0, fmt.Errorf("the log begins at entry %d, and no snapshot reaches there", first)
}
