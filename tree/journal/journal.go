// Package journal drives a deterministic core from a write-ahead log: every
// input becomes a record, the core steps it, and what the core says leaves
// only after an fsync covers the record. So a tier is a function of its
// checkpoint and its log, and [Replay] can prove it.
//
// A hash of all outputs is written into the log every [HashEvery] records; a
// replay computes it again and compares. Opening a journal is a replay too: a
// core that does not say what it said before refuses to start.
package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"pando/internal/durable"
	"pando/internal/pack"
	"pando/wal"
)

// ErrDiverged reports a core that, stepped again, said something else.
var ErrDiverged = errors.New("replay differs from the recorded outputs")

// Record kinds of the journal itself; a core's own kinds are below them.
const (
	KindLogic uint8 = 0xfe // the version of the logic that stepped what follows
	KindHash  uint8 = 0xff // hash of all outputs up to here
	MaxKind   uint8 = 0xf0 // highest kind of a core
)

const (
	// stateFormat also rises when a core lays its state out anew.
	stateFormat = 1
	// HashEvery is the number of records between two output hashes: a
	// difference is pinned down to so many records.
	HashEvery = 256
	// maxQueued bounds the outputs, in bytes, that wait for the disk. It is
	// some seconds of a relay's outputs; Append blocks at it.
	maxQueued = 64 << 20
	// turnsEach is how many records are prepared at a time, for each processor.
	turnsEach = 2
	// outputOverhead is the memory of an output beside its body.
	outputOverhead = 128
)

// Output is something that a core says. The hash covers To, Kind and Body.
type Output struct {
	To      string // whom it is for; the shell knows the name
	Kind    uint8
	Body    []byte
	Payload []byte // bytes of the record itself, which the hash need not cover again
}

// Core is a tier's deterministic part. Its methods are called by one
// goroutine at a time.
type Core interface {
	// Step applies the record at. It may keep body, and must not change it.
	// An error means a fault of the program or of the log, never of a peer:
	// it ends the process.
	Step(at wal.Seq, kind uint8, body []byte, say func(Output)) error
	// AppendState writes the whole state; equal states give equal bytes.
	AppendState(w *pack.Writer)
	// ReadState replaces the state.
	ReadState(r *pack.Reader) error
	// Logic is the version of Step: it rises whenever the same records may
	// give other outputs.
	Logic() uint32
	// Oldest is the first record that Step may still fetch, or 0 for none.
	Oldest() wal.Seq
}

// Preparer is a Core that leaves a part of Step to be done ahead of it: what
// depends on a record's bytes alone. Whoever appends a record prepares it while
// others are stepped, and when a log is stepped again, other goroutines prepare the
// next ones.
type Preparer interface {
	Core
	// Prepares reports whether there is anything to prepare for a kind.
	Prepares(kind uint8) bool
	// Prepare may be called by several goroutines at once, also while the core
	// steps, and depends on nothing but its arguments, except for what decides
	// nothing. It may keep body, and must not change it. Errors are left for
	// StepPrepared to find.
	Prepare(kind uint8, body []byte) any
	// StepPrepared is Step with what Prepare returned for the record.
	StepPrepared(at wal.Seq, kind uint8, body []byte, prepared any, say func(Output)) error
}

// Options configure a journal.
type Options struct {
	WAL wal.Options
	// Core builds the core. fetch reads a record of this log again: its body
	// is a function of the log, so using it keeps the core deterministic.
	Core func(id uint64, fetch Fetch) (Core, error)
	// Deliver takes outputs, in order, after an fsync covers their records.
	// It must not call Append.
	Deliver func([]Output)
	// Rank says what a kind of records is worth when space is short. Nil: all
	// are [Last].
	Rank func(kind uint8) Rank
	// CheckpointBytes is how much log may pass between checkpoints.
	CheckpointBytes int64
	Logger          *slog.Logger
}

// Rank orders records by how much of the last segment they must leave free when
// no further one can be had: what lets the log be trimmed still gets in after
// what fills it is refused. Without that a full log would stay full for ever.
type Rank uint8

const (
	Last   Rank = iota // may fill the log: without it the log could not be opened
	Vital              // lets the log be trimmed
	Upkeep             // can wait, or be left out
	Data               // brings what the log is kept for
)

// leaves are the parts of a segment that the ranks leave free, as divisors.
var leaves = [...]int64{Vital: 16, Upkeep: 8, Data: 4}

// Leaves is how much of a segment of this size a record of the rank must leave
// free when no further one can be had.
func (r Rank) Leaves(segment int64) int64 {
	if r == Last {
		return 0
	}
	return segment / leaves[r]
}

// Fetch returns the kind and body of a record.
type Fetch func(seq wal.Seq) (kind uint8, body []byte, err error)

// DefaultCheckpointBytes keeps recovery to seconds.
const DefaultCheckpointBytes = 32 << 20

// Journal is an open journal. Its methods are safe for concurrent use.
type Journal struct {
	opts Options
	log  *wal.Log
	wake chan struct{} // capacity 1: outputs or bytes for Run

	// turns bound the records, of bulk and urgent ones, that are prepared and not
	// stepped: there are as many appenders as there are sessions.
	turns [2]chan struct{}

	mu      sync.Mutex
	room    *sync.Cond
	running bool // Run delivers; nobody else makes room in the queue
	core    Core
	sum     outputHash
	since   int // records since the last hash record
	queue   []pending
	queued  int
	grown   int64     // bytes since the last checkpoint
	oldest  wal.Seq   // what the core needed at the last checkpoint; 0: nothing
	eased   time.Time // when a full log was last given a checkpoint
	kept    wal.Seq   // of the newest checkpoint
	err     error
}

type pending struct {
	at  wal.Seq
	out Output
}

// Open opens the log and brings the core to its end.
func Open(opts Options) (_ *Journal, rec wal.Recovery, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.CheckpointBytes <= 0 {
		opts.CheckpointBytes = DefaultCheckpointBytes
	}
	log, rec, err := wal.Open(opts.WAL)
	if err != nil {
		return nil, rec, fmt.Errorf("open journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, log.Close())
		}
	}()
	j := &Journal{opts: opts, log: log, wake: make(chan struct{}, 1)}
	j.room = sync.NewCond(&j.mu)
	for i := range j.turns {
		j.turns[i] = make(chan struct{}, turnsEach*runtime.GOMAXPROCS(0))
	}
	if j.core, err = opts.Core(log.ID(), fetchFrom(log)); err != nil {
		return nil, rec, err
	}
	from, err := newestState(opts.WAL.FS, opts.WAL.Dir, log)
	if err != nil {
		return nil, rec, err
	}
	s := stepper{core: j.core}
	if err := s.start(from); err != nil {
		return nil, rec, err
	}
	if j.kept = from.Seq; from.Seq != 0 {
		j.oldest = j.core.Oldest()
	}
	if err := s.run(log.Reader(from.Seq + 1)); err != nil {
		return nil, rec, err
	}
	j.sum, j.since = s.sum, s.since
	if s.logic != j.core.Logic() {
		if err := j.appendLocked(record{kind: KindLogic, body: binary.AppendUvarint(nil, uint64(j.core.Logic()))}, false); err != nil {
			return nil, rec, err
		}
		j.grown = opts.CheckpointBytes // a change of logic is followed by a checkpoint
	}
	return j, rec, nil
}

func fetchFrom(log *wal.Log) Fetch {
	return func(seq wal.Seq) (uint8, []byte, error) {
		b, err := log.Read(seq)
		if err != nil || len(b) == 0 {
			return 0, nil, fmt.Errorf("fetch record %d: %w", seq, err)
		}
		return b[0], b[1:], nil
	}
}

// newestState returns the checkpoint to start from, the zero one if the log
// can be stepped from its beginning.
func newestState(fsys durable.FS, dir string, log *wal.Log) (wal.Checkpoint, error) {
	c, err := wal.ReadCheckpoint(fsys, dir)
	switch {
	case err == nil && c.Log == log.ID():
		return c, nil
	case err == nil || errors.Is(err, wal.ErrNoCheckpoint):
		if log.First() > 1 {
			return wal.Checkpoint{}, fmt.Errorf("the log in %s begins at record %d and has no checkpoint to start from: %w", dir, log.First(), wal.ErrCorrupt)
		}
		return wal.Checkpoint{}, nil
	}
	return wal.Checkpoint{}, err
}

// Log is the journal's log, for readers and waiters.
func (j *Journal) Log() *wal.Log { return j.log }

func (j *Journal) failLocked(err error) error {
	if j.err == nil {
		j.err = err
		j.room.Broadcast()
		j.nudge()
	}
	return err
}

func (j *Journal) nudge() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// View calls f with the core while nothing steps it. f must be quick and must
// not keep what it sees.
func (j *Journal) View(f func(Core)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(j.core)
}

// Run delivers outputs and writes checkpoints until ctx is done or the log or
// the core fails; the failure is the result.
func (j *Journal) Run(ctx context.Context) error {
	j.setRunning(true)
	defer j.setRunning(false)
	ease := time.NewTicker(easePause) // nothing else may happen while the log is full
	defer ease.Stop()
	for {
		if err := j.deliver(); err != nil {
			return err
		}
		if err := j.checkpointIfDue(ctx, false); err != nil && ctx.Err() == nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.failLocked(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-j.log.Notify():
		case <-j.wake:
		case <-ease.C:
		}
	}
}

func (j *Journal) setRunning(yes bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.running = yes
	j.room.Broadcast()
}

// deliver hands out what the disk covers.
func (j *Journal) deliver() error {
	if err := j.log.Err(); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.failLocked(err)
	}
	synced := j.log.Synced()
	j.mu.Lock()
	n := 0
	for n < len(j.queue) && j.queue[n].at <= synced {
		n++
	}
	outs := make([]Output, n)
	for i := range n {
		outs[i] = j.queue[i].out
		j.queued -= len(outs[i].Body) + len(outs[i].Payload) + outputOverhead
	}
	rest := copy(j.queue, j.queue[n:])
	clear(j.queue[rest:])
	j.queue = j.queue[:rest]
	err := j.err
	j.room.Broadcast()
	j.mu.Unlock()
	if n > 0 && err == nil {
		j.opts.Deliver(outs)
	}
	return err
}

// Close writes a last checkpoint and closes the log.
func (j *Journal) Close() error {
	err := j.checkpointIfDue(context.Background(), true)
	return errors.Join(err, j.log.Close())
}
