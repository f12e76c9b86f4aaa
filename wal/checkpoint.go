package wal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pando/internal/durable"
	"pando/internal/pack"
)

const (
	// MaxCheckpoint is the largest state in bytes. The root's is the largest
	// of all, and tens of megabytes; a gigabyte still loads in seconds.
	MaxCheckpoint = 1 << 30

	checkpointFormat   = 1
	checkpointSuffix   = ".ckpt"
	checkpointsKept    = 2       // the newest, and one to fall back to
	checkpointHeadMax  = 4 << 10 // of its header; the real one has under 100 bytes
	checkpointHeadLead = 12      // magic and header length
)

var checkpointMagic = [8]byte{'P', 'A', 'N', 'D', 'O', 'C', 'K', 'P'}

// Checkpoint is the state of a deterministic core after the record Seq.
type Checkpoint struct {
	Log    uint64 // id of the log it belongs to; set by WriteCheckpoint
	Format uint32 // version of the state's encoding
	Logic  uint32 // version of the core's logic that made it
	Seq    Seq    // last record it covers; 0: none
	State  []byte
	// Skipped tells, after a read, why a newer checkpoint was passed over;
	// nil if the newest one was good.
	Skipped error
}

// CheckpointInfo describes one checkpoint file by its header. Err is not nil
// if the header is damaged; the state itself is not read.
type CheckpointInfo struct {
	Name          string
	Log           uint64
	Format, Logic uint32
	Seq           Seq
	StateBytes    int64
	Err           error
}

// WriteCheckpoint waits until the log is synced up to c.Seq, then writes c
// atomically into the log's folder and removes all but the last two. The log
// then refuses to open if it ever ends before c.Seq. Records the older of the
// two does not cover should be kept, so that falling back to it can replay.
func (l *Log) WriteCheckpoint(ctx context.Context, c Checkpoint) error {
	if len(c.State) > MaxCheckpoint {
		return fmt.Errorf("write checkpoint %d: state of %d bytes is above the limit of %d", c.Seq, len(c.State), MaxCheckpoint)
	}
	if c.Seq > l.Last() {
		return fmt.Errorf("write checkpoint %d: the log ends with record %d", c.Seq, l.Last())
	}
	if err := l.Wait(ctx, c.Seq); err != nil {
		return fmt.Errorf("write checkpoint %d: %w", c.Seq, err)
	}
	l.checkpointMu.Lock()
	defer l.checkpointMu.Unlock()
	if err := l.Err(); err != nil {
		return fmt.Errorf("write checkpoint %d: %w", c.Seq, err)
	}
	c.Log = l.id
	head := c.encodeHead()
	sum := sha256.New()
	sum.Write(head)
	sum.Write(c.State)
	path := filepath.Join(l.opts.Dir, checkpointName(c.Seq))
	if err := durable.WriteFile(l.opts.FS, path, head, c.State, sum.Sum(nil)); err != nil {
		if durable.Full(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("write checkpoint %d: %w", c.Seq, err)
	}
	return l.pruneCheckpoints(c.Seq)
}

// pruneCheckpoints removes what is older than the last two of this log, and
// those of other logs.
func (l *Log) pruneCheckpoints(newest Seq) error {
	list, err := Checkpoints(l.opts.FS, l.opts.Dir)
	if err != nil {
		return fmt.Errorf("prune checkpoints: %w", err)
	}
	kept, removed := 0, false
	for _, c := range list { // newest first
		if c.Err == nil && c.Log == l.id && c.Seq <= newest && kept < checkpointsKept {
			kept++
			continue
		}
		if err := l.opts.FS.Remove(filepath.Join(l.opts.Dir, c.Name)); err != nil {
			return fmt.Errorf("prune checkpoints: %w", err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	if err := l.opts.FS.SyncDir(l.opts.Dir); err != nil {
		return fmt.Errorf("prune checkpoints: %w", err)
	}
	return nil
}

// ReadCheckpoint returns the newest valid checkpoint of the log in dir. If a
// newer one is damaged, Skipped of the result says so. [ErrNoCheckpoint]
// means that there is none; an error that wraps [ErrCorrupt] that all are
// damaged. A caller that has the log open checks Log against [Log.ID]: a
// folder whose segments were lost may still hold checkpoints of the old log.
func ReadCheckpoint(fsys durable.FS, dir string) (Checkpoint, error) {
	list, err := Checkpoints(fsys, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, err
	}
	if len(list) == 0 {
		return Checkpoint{}, fmt.Errorf("read checkpoint in %s: %w", dir, ErrNoCheckpoint)
	}
	var skipped []error
	for _, info := range list {
		c, err := readCheckpointFile(fsys, filepath.Join(dir, info.Name))
		if err == nil {
			c.Skipped = errors.Join(skipped...)
			return c, nil
		}
		skipped = append(skipped, err)
	}
	return Checkpoint{}, fmt.Errorf("read checkpoint in %s: %w", dir, errors.Join(skipped...))
}

// Checkpoints lists the checkpoint files in dir, newest first.
func Checkpoints(fsys durable.FS, dir string) ([]CheckpointInfo, error) {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var list []CheckpointInfo
	for _, name := range names {
		seq, ok := checkpointSeq(name)
		if !ok {
			continue
		}
		info, err := readCheckpointHead(fsys, filepath.Join(dir, name))
		if err == nil && info.Seq != seq {
			err = corruptCheckpoint(name, fmt.Sprintf("it covers record %d, its name says otherwise", info.Seq))
		}
		info.Name, info.Seq, info.Err = name, seq, err
		list = append(list, info)
	}
	slices.Reverse(list) // names sort by sequence
	return list, nil
}

func checkpointName(seq Seq) string { return fmt.Sprintf("%020d%s", uint64(seq), checkpointSuffix) }

func checkpointSeq(name string) (Seq, bool) {
	digits, ok := strings.CutSuffix(name, checkpointSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return Seq(n), err == nil
}

func corruptCheckpoint(name, reason string) error {
	return &CorruptError{
		Segment: name, Reason: reason,
		Advice: "remove the file if an older checkpoint and the records after it are still there; otherwise restore it",
	}
}

// encodeHead is everything before the state: magic, header length, header.
func (c Checkpoint) encodeHead() []byte {
	w := pack.NewWriter()
	w.Array(6)
	w.Uint(checkpointFormat)
	w.Uint(c.Log)
	w.Uint(uint64(c.Format))
	w.Uint(uint64(c.Logic))
	w.Uint(uint64(c.Seq))
	w.Uint(uint64(len(c.State)))
	head := make([]byte, checkpointHeadLead, checkpointHeadLead+w.Len())
	copy(head, checkpointMagic[:])
	binary.LittleEndian.PutUint32(head[8:], uint32(w.Len()))
	return append(head, w.Bytes()...)
}

// decodeCheckpointHead reads the header from the start of a file and returns
// its length in bytes.
func decodeCheckpointHead(b []byte) (CheckpointInfo, int, error) {
	if len(b) < checkpointHeadLead || [8]byte(b[:8]) != checkpointMagic {
		return CheckpointInfo{}, 0, errors.New("the file does not begin like a checkpoint")
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if n > checkpointHeadMax || int(n) > len(b)-checkpointHeadLead {
		return CheckpointInfo{}, 0, fmt.Errorf("header of %d bytes", n)
	}
	r := pack.NewReader(b[checkpointHeadLead : checkpointHeadLead+int(n)])
	if r.Array("checkpoint", 6) != 6 {
		r.Fail("checkpoint", errors.New("not six fields"))
	}
	if v := r.Uint("format", math.MaxUint32); r.Err() == nil && v != checkpointFormat {
		return CheckpointInfo{}, 0, fmt.Errorf("format %d is unknown, this program reads format %d", v, checkpointFormat)
	}
	c := CheckpointInfo{
		Log:    r.Uint("log", math.MaxUint64),
		Format: uint32(r.Uint("state format", math.MaxUint32)),
		Logic:  uint32(r.Uint("logic", math.MaxUint32)),
		Seq:    Seq(r.Uint("sequence", math.MaxUint64)),
	}
	c.StateBytes = int64(r.Uint("state length", MaxCheckpoint))
	return c, checkpointHeadLead + int(n), r.Done()
}

func readCheckpointHead(fsys durable.FS, path string) (info CheckpointInfo, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return info, fmt.Errorf("read checkpoint: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return info, fmt.Errorf("read checkpoint: %w", err)
	}
	head := make([]byte, min(size, checkpointHeadLead+checkpointHeadMax))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return info, fmt.Errorf("read checkpoint: %w", err)
	}
	info, n, err := decodeCheckpointHead(head)
	if err == nil && int64(n)+info.StateBytes+hashSize != size {
		err = fmt.Errorf("the file has %d bytes, its header promises %d", size, int64(n)+info.StateBytes+hashSize)
	}
	if err != nil {
		return info, corruptCheckpoint(filepath.Base(path), err.Error())
	}
	return info, nil
}

func readCheckpointFile(fsys durable.FS, path string) (Checkpoint, error) {
	name := filepath.Base(path)
	data, err := durable.ReadFile(fsys, path, MaxCheckpoint+checkpointHeadLead+checkpointHeadMax+hashSize)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	info, n, err := decodeCheckpointHead(data)
	if err != nil {
		return Checkpoint{}, corruptCheckpoint(name, err.Error())
	}
	body, sum := data[:max(0, len(data)-hashSize)], data[max(0, len(data)-hashSize):]
	if int64(len(body)-n) != info.StateBytes || checkpointName(info.Seq) != name {
		return Checkpoint{}, corruptCheckpoint(name, "length or sequence do not fit the file")
	}
	if sha256.Sum256(body) != [hashSize]byte(sum) {
		return Checkpoint{}, corruptCheckpoint(name, "SHA-256 does not match")
	}
	return Checkpoint{
		Log: info.Log, Format: info.Format, Logic: info.Logic, Seq: info.Seq, State: body[n:],
	}, nil
}
