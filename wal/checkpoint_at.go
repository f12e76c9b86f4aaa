package wal

import (
	"path/filepath"

	"pando/internal/durable"
)

// ReadCheckpointAt returns the checkpoint that covers the log up to seq.
func ReadCheckpointAt(fsys durable.FS, dir string, seq Seq) (Checkpoint, error) {
	return readCheckpointFile(fsys, filepath.Join(dir, checkpointName(seq)))
}
