package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"pando/internal/pack"
	"pando/wal"
)

// stepper steps the records of a log and compares the outputs with the
// recorded hashes.
type stepper struct {
	core    Core
	sum     outputHash
	logic   uint32
	since   int
	records int64
	hashes  int64
}

// start brings the core to a checkpoint, or to its zero state.
func (s *stepper) start(c wal.Checkpoint) error {
	if c.Seq == 0 {
		s.sum = newOutputHash(nil)
		return nil
	}
	if c.Format != stateFormat {
		return fmt.Errorf("checkpoint at %d has state format %d, this program reads %d", c.Seq, c.Format, stateFormat)
	}
	r := pack.NewReader(c.State)
	prev := r.Bin("output hash", 64)
	if r.Err() == nil {
		if err := s.core.ReadState(r); err != nil {
			return fmt.Errorf("checkpoint at %d: %w", c.Seq, err)
		}
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("checkpoint at %d: %w", c.Seq, err)
	}
	s.sum, s.logic = newOutputHash(prev), c.Logic
	return nil
}

// aheadPerProc bounds the records, by processor, that are read and prepared before
// their turn. Each may hold a batch, decoded: more would only push what the core
// works with out of the processors' caches.
const aheadPerProc = 3

// ahead is a record that waits for its turn.
type ahead struct {
	seq      wal.Seq
	kind     uint8
	body     []byte
	err      error       // of the log: it ends here
	taken    atomic.Bool // somebody prepares it
	prepared any
	ready    chan struct{} // closed once prepared
}

// prepare prepares the record, unless somebody else does.
func (a *ahead) prepare(p Preparer) {
	if a.taken.CompareAndSwap(false, true) {
		a.prepared = p.Prepare(a.kind, a.body)
		close(a.ready)
	}
}

// await returns once the record is prepared, and rather prepares it, or those
// behind it, than waits.
func (a *ahead) await(p Preparer, work <-chan *ahead) {
	a.prepare(p)
	for {
		select {
		case <-a.ready:
			return
		case b, more := <-work:
			if !more {
				<-a.ready
				return
			}
			b.prepare(p)
		}
	}
}

// run steps to the end of the log.
func (s *stepper) run(r *wal.Reader) error {
	stop := make(chan struct{})
	most := aheadPerProc * runtime.GOMAXPROCS(0)
	queue := make(chan *ahead, most)
	var work chan *ahead // nil if nothing is to be prepared
	p, prepares := s.core.(Preparer)
	if prepares {
		work = make(chan *ahead, most)
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer close(stop)
	helpers.Go(func() { readAhead(r, queue, work, stop) })
	for i := 1; prepares && i < runtime.GOMAXPROCS(0); i++ {
		helpers.Go(func() {
			for a := range work {
				a.prepare(p)
			}
		})
	}
	for a := range queue {
		if prepares {
			a.await(p, work)
		}
		if a.err != nil {
			return a.err
		}
		s.records++
		s.since++
		if err := s.step(a); err != nil {
			return err
		}
	}
	return nil
}

// readAhead reads to the end of the log, and hands each record to the queue and,
// if it is the core's, to those who prepare it.
func readAhead(r *wal.Reader, queue, work chan<- *ahead, stop <-chan struct{}) {
	defer close(queue)
	if work != nil {
		defer close(work)
	}
	for {
		seq, b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		a := &ahead{seq: seq, ready: make(chan struct{})}
		switch {
		case err != nil:
			a.err = fmt.Errorf("replay: %w", err)
		case len(b) == 0:
			a.err = fmt.Errorf("replay: record %d is empty: %w", seq, wal.ErrCorrupt)
		default:
			a.kind, a.body = b[0], bytes.Clone(b[1:])
		}
		if a.err != nil || a.kind > MaxKind {
			a.taken.Store(true)
			close(a.ready)
		} else if work != nil {
			select {
			case work <- a:
			default: // those who prepare have enough to do
			}
		}
		select {
		case queue <- a:
		case <-stop:
			return
		}
		if a.err != nil {
			return
		}
	}
}

func (s *stepper) step(a *ahead) error {
	seq, kind, body := a.seq, a.kind, a.body
	switch {
	case kind == KindLogic:
		v, n := binary.Uvarint(body)
		if n <= 0 {
			return fmt.Errorf("replay: record %d holds no logic version: %w", seq, wal.ErrCorrupt)
		}
		s.logic = uint32(v)
	case kind == KindHash:
		s.since = 0
		sum := s.sum.fold()
		if s.logic != s.core.Logic() {
			s.sum = newOutputHash(body) // said by other logic; not comparable
			return nil
		}
		s.hashes++
		if !bytes.Equal(sum, body) {
			return fmt.Errorf("outputs up to record %d: %w", seq, ErrDiverged)
		}
	case kind > MaxKind:
		return fmt.Errorf("replay: record %d has the unknown kind %#x: %w", seq, kind, wal.ErrCorrupt)
	default:
		var err error
		if p, ok := s.core.(Preparer); ok {
			err = p.StepPrepared(seq, kind, body, a.prepared, s.sum.add)
		} else {
			err = s.core.Step(seq, kind, body, s.sum.add)
		}
		if err != nil {
			return fmt.Errorf("replay: step record %d: %w", seq, err)
		}
	}
	return nil
}

// Report is what a replay found.
type Report struct {
	From      uint64 `json:"from"`    // record of the checkpoint it started from; 0: the beginning
	Records   int64  `json:"records"` // stepped
	Hashes    int64  `json:"hashes"`  // compared
	Identical bool   `json:"identical"`
	Fault     string `json:"fault,omitempty"` // the first difference
}

// Replay steps the log again and compares every recorded output hash: from its
// beginning if that is still there, else from its oldest checkpoint, and in
// any case not before the present logic came into force. The node that owns
// the log must not run. An error means that the log could not
// be read; a difference is in the report.
func Replay(opts wal.Options, build func(id uint64, fetch Fetch) (Core, error)) (_ Report, err error) {
	log, _, err := wal.Open(opts)
	if err != nil {
		return Report{}, fmt.Errorf("replay: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	core, err := build(log.ID(), fetchFrom(log))
	if err != nil {
		return Report{}, err
	}
	after, err := lastChange(log)
	if err != nil {
		return Report{}, err
	}
	var from wal.Checkpoint
	if log.First() > 1 || after > 1 {
		if from, err = oldestState(opts, log, max(after, log.First()-1)); err != nil {
			return Report{}, err
		}
	}
	s := stepper{core: core}
	if err := s.start(from); err != nil {
		return Report{}, err
	}
	err = s.run(log.Reader(from.Seq + 1))
	rep := Report{From: uint64(from.Seq), Records: s.records, Hashes: s.hashes, Identical: err == nil}
	if errors.Is(err, ErrDiverged) {
		rep.Fault, err = err.Error(), nil
	}
	return rep, err
}

// lastChange returns the record at which the logic last changed; 1 means that
// it never did, since the first record of a journal names its logic.
func lastChange(log *wal.Log) (wal.Seq, error) {
	last := wal.Seq(0)
	r := log.Reader(log.First())
	for {
		seq, b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return 0, fmt.Errorf("replay: %w", err)
		}
		if len(b) > 0 && b[0] == KindLogic {
			last = seq
		}
	}
}

// oldestState returns the oldest checkpoint at or after a record.
func oldestState(opts wal.Options, log *wal.Log, after wal.Seq) (wal.Checkpoint, error) {
	list, err := wal.Checkpoints(opts.FS, opts.Dir)
	if err != nil {
		return wal.Checkpoint{}, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Err == nil && list[i].Log == log.ID() && list[i].Seq >= after {
			return wal.ReadCheckpointAt(opts.FS, opts.Dir, list[i].Seq)
		}
	}
	return wal.Checkpoint{}, fmt.Errorf("replay %s: there is no checkpoint at or after record %d to start from", opts.Dir, after)
}
