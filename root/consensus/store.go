//go:build !zos

package consensus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pando/root/raftlog"
	"pando/wal"
)

// logCache is how many of the newest entries stay in memory, so that sending
// them to followers reads no disk: at most logCache × MaxEntry, 32 MiB.
const logCache = 64

// The files of a member's folder.
const (
	walDir     = "log"       // the log on the project's write-ahead log
	boltLog    = "raft.db"   // the log in raft-boltdb
	stableFile = "stable.db" // term and vote
)

// stores are the three things Raft keeps on disk.
type stores struct {
	logs      raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	closers   []io.Closer
}

func openStores(o Options, logger hclog.Logger, m *metrics, fail func(error)) (_ *stores, err error) {
	s := &stores{}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := refuseOtherStore(o); err != nil {
		return nil, err
	}
	watch := raftlog.NewWatch(o.StallLimit, func(d time.Duration) { m.store.Observe(d.Seconds()) }, fail)
	stable, err := raftlog.OpenBolt(filepath.Join(o.Dir, stableFile))
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, stable)
	s.stable = watch.Stable(stable)

	logs, err := s.openLog(o)
	if err != nil {
		return nil, err
	}
	if o.disk != nil {
		logs = o.disk(logs)
	}
	if s.logs, err = raft.NewLogCache(logCache, watch.Logs(logs)); err != nil {
		return nil, err
	}
	s.snapshots, err = raft.NewFileSnapshotStoreWithLogger(o.Dir, o.SnapshotRetain, logger.Named("snapshot"))
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	return s, nil
}

func (s *stores) openLog(o Options) (raft.LogStore, error) {
	if o.Store == Bolt {
		b, err := raftlog.OpenBolt(filepath.Join(o.Dir, boltLog))
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, b)
		return b, nil
	}
	l, recovery, err := raftlog.Open(raftlog.Options{
		Dir: filepath.Join(o.Dir, walDir), FS: o.FS, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, l)
	if recovery.CutBytes > 0 {
		o.Logger.Warn("cut a torn end off the raft log", "bytes", recovery.CutBytes, "copy", recovery.BrokenCopy)
	}
	return l, nil
}

// refuseOtherStore keeps a changed setting from starting an empty log beside
// a full one, by which this member would forget what it acknowledged.
func refuseOtherStore(o Options) error {
	other, name := boltLog, Bolt
	if o.Store == Bolt {
		other, name = walDir, WAL
	}
	switch _, err := os.Stat(filepath.Join(o.Dir, other)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("the folder holds a raft log of store %q, but %q is configured: set it back, or give this member a new id and an empty folder", name, o.Store)
}

// close closes what is open, last opened first.
func (s *stores) close() error {
	var faults []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		faults = append(faults, ignoreClosed(s.closers[i].Close()))
	}
	return errors.Join(faults...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) || errors.Is(err, wal.ErrClosed) {
		return nil
	}
	return err
}
