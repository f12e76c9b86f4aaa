//go:build !zos

package raftlog

import (
	"fmt"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// lockWait is how long OpenBolt waits for another process's lock: long enough
// for one that is just exiting, short enough for an operator.
const lockWait = 2 * time.Second

// OpenBolt opens or creates a raft-boltdb file. It keeps term and vote, and,
// if so configured, the log too. The free list is not written with each
// commit but rebuilt at open, and kept as a map: both make small commits
// cheaper (etcd does the same).
func OpenBolt(path string) (*raftboltdb.BoltStore, error) {
	s, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        lockWait,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}
