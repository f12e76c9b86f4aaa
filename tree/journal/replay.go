package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

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

// aheadPerHand is how many records each hand may have read and prepared before
// their turn, and maxHands bounds the hands. Each record may hold a batch, decoded:
// more of them would only push what the core works with out of the processors'
// caches. Since one hand steps, some more prepare faster than it can.
const (
	aheadPerHand = 3
	maxHands     = 6
)

// ahead is a record that waits for its turn.
type ahead struct {
	seq      wal.Seq
	kind     uint8
	body     []byte
	err      error // of the log: it ends here
	prepared any
	ready    bool
}

// crew steps the records of a log in their order, all hands doing whatever is next:
// stepping the record whose turn it is, or reading and preparing one of those
// behind it. So nobody waits while there is work, nor has to be woken for it.
type crew struct {
	stepper  *stepper
	reader   *wal.Reader
	preparer Preparer // nil: nothing is to be prepared
	most     int      // records in line

	mu       sync.Mutex
	changed  *sync.Cond
	line     []*ahead // in their order
	reading  bool
	ended    bool // all is read
	stepping bool
	err      error // why it ended before its time
}

// smallRecord is the size below which a record gets memory of its own: what a core
// keeps of it would hold on to all that was read with it.
const smallRecord = 4 << 10

// run steps to the end of the log.
func (s *stepper) run(r *wal.Reader) error {
	r.Retain()
	c := &crew{stepper: s, reader: r}
	c.changed = sync.NewCond(&c.mu)
	hands := 2 // one reads while the other steps
	if p, ok := s.core.(Preparer); ok {
		c.preparer, hands = p, maxHands
	}
	hands = min(hands, runtime.GOMAXPROCS(0))
	c.most = aheadPerHand * hands
	var others sync.WaitGroup
	for range hands - 1 {
		others.Go(c.work)
	}
	c.work()
	others.Wait()
	return c.err
}

// work does what is next until nothing is.
func (c *crew) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.err != nil, c.ended && len(c.line) == 0:
			c.changed.Broadcast()
			return
		case !c.stepping && len(c.line) > 0 && c.line[0].ready:
			c.stepNext()
		case !c.reading && !c.ended && len(c.line) < c.most:
			c.readNext()
		default:
			c.changed.Wait()
		}
	}
}

// stepNext steps the first record in line. It lets go of the lock meanwhile.
func (c *crew) stepNext() {
	a := c.line[0]
	c.line, c.stepping = slices.Delete(c.line, 0, 1), true
	c.mu.Unlock()
	err := a.err
	if err == nil {
		c.stepper.records++
		c.stepper.since++
		err = c.stepper.step(a)
	}
	c.mu.Lock()
	c.stepping = false
	if c.err == nil {
		c.err = err
	}
	c.changed.Signal()
}

// readNext reads a record, puts it in line and prepares it. It lets go of the lock
// meanwhile.
func (c *crew) readNext() {
	c.reading = true
	c.mu.Unlock()
	a := next(c.reader)
	c.mu.Lock()
	c.reading = false
	if a == nil || a.err != nil {
		c.ended = true
	}
	if a != nil {
		c.line = append(c.line, a)
		if a.err == nil && a.kind <= MaxKind && c.preparer != nil {
			c.changed.Signal() // somebody else may read on
			c.mu.Unlock()
			a.prepared = c.preparer.Prepare(a.kind, a.body)
			c.mu.Lock()
		}
		a.ready = true
	}
	c.changed.Signal()
}

// next reads a record; nil at the end.
func next(r *wal.Reader) *ahead {
	seq, b, err := r.Next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	a := &ahead{seq: seq}
	switch {
	case err != nil:
		a.err = fmt.Errorf("replay: %w", err)
	case len(b) == 0:
		a.err = fmt.Errorf("replay: record %d is empty: %w", seq, wal.ErrCorrupt)
	default:
		a.kind, a.body = b[0], b[1:]
		if len(b) < smallRecord {
			a.body = bytes.Clone(a.body)
		}
	}
	return a
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
