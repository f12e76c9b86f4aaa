package journal

import (
	"context"
	"errors"
	"time"

	"pando/internal/pack"
	"pando/wal"
)

// easePause is how long to wait between the checkpoints by which a full log
// gets room again.
const easePause = time.Second

func (j *Journal) checkpointIfDue(ctx context.Context, always bool) error {
	j.mu.Lock()
	if j.err != nil || !always && j.grown < j.opts.CheckpointBytes && !j.easeLocked() {
		j.mu.Unlock()
		return nil
	}
	// Also if nothing was said: two checkpoints of one record would be one. But
	// one that the disk had no room for leaves its hash to the next: a full log
	// must not fill up with them.
	if j.sum.count > 0 || j.log.Last() == j.kept {
		if err := j.hashLocked(); err != nil {
			j.mu.Unlock()
			return j.passFull(err)
		}
	}
	w := pack.NewWriter()
	w.Bin(j.sum.from)
	j.core.AppendState(w)
	c := wal.Checkpoint{Format: stateFormat, Logic: j.core.Logic(), Seq: j.log.Last(), State: w.Bytes()}
	oldest := j.core.Oldest()
	j.grown = 0
	j.mu.Unlock()
	if err := j.log.WriteCheckpoint(ctx, c); err != nil {
		return j.passFull(err)
	}
	j.mu.Lock()
	// Whoever starts from the older checkpoint fetches what was needed there.
	needed := earlier(oldest, j.oldest)
	j.oldest, j.kept = oldest, c.Seq
	j.mu.Unlock()
	return j.trim(needed)
}

// easeLocked reports whether a checkpoint is due because the log is full and
// begins with a segment that the core does not need any more.
func (j *Journal) easeLocked() bool {
	if j.log.Full() == nil || time.Since(j.eased) < easePause {
		return false
	}
	j.eased = time.Now()
	oldest, segs := j.core.Oldest(), j.log.Segments()
	return len(segs) > 1 && (oldest == 0 || segs[0].Last < oldest)
}

// passFull passes over a full disk: the checkpoint is tried again.
func (j *Journal) passFull(err error) error {
	if !errors.Is(err, wal.ErrFull) {
		return err
	}
	j.opts.Logger.Warn("no room for a checkpoint", "error", err)
	return nil
}

// earlier is the lower of two sequences of which 0 means none.
func earlier(a, b wal.Seq) wal.Seq {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// trim frees what neither the older checkpoint nor the core, there or now,
// needs.
func (j *Journal) trim(needed wal.Seq) error {
	list, err := wal.Checkpoints(j.opts.WAL.FS, j.opts.WAL.Dir)
	if err != nil || len(list) < 2 {
		return err
	}
	to := list[len(list)-1].Seq + 1
	if needed != 0 {
		to = min(to, needed)
	}
	return j.log.TrimBefore(to)
}
