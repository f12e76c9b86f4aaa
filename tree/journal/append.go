package journal

import (
	"bytes"
	"errors"
	"fmt"

	"pando/wal"
)

// Append writes one record, lets the core step it, and returns its sequence.
// The outputs are delivered once the record is synced. An urgent record does
// not wait behind bulk. [wal.ErrFull] means that nothing was accepted; after
// any other error the journal takes nothing more. The body of a record that the core
// prepares must not change from now on.
func (j *Journal) Append(kind uint8, body []byte, urgent bool) (wal.Seq, error) {
	rank := Last
	if j.opts.Rank != nil {
		rank = j.opts.Rank(kind)
	}
	return j.AppendAs(rank, kind, body, urgent)
}

// AppendAs is Append for a record that is worth more, or less, than its kind.
func (j *Journal) AppendAs(rank Rank, kind uint8, body []byte, urgent bool) (wal.Seq, error) {
	rec := record{kind: kind, body: body}
	if p, ok := j.core.(Preparer); ok && p.Prepares(kind) {
		if err := j.Short(rank); err != nil {
			return 0, fmt.Errorf("append: %w", err)
		}
		turn := j.turns[0]
		if urgent {
			turn = j.turns[1]
		}
		turn <- struct{}{}
		defer func() { <-turn }()
		rec.prepared = p.Prepare(kind, body)
	} else {
		rec.body = bytes.Clone(body) // the core may keep it
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.err == nil && j.running && j.queued >= maxQueued {
		j.room.Wait()
	}
	if j.err != nil {
		return 0, j.err
	}
	if err := j.spare(rank, 1+len(body)); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	if err := j.appendLocked(rec, urgent); err != nil {
		return 0, err
	}
	at := j.log.Last()
	if j.since >= HashEvery {
		// The record is in the log: a hash that finds no room comes later.
		if j.sum.count == 0 {
			j.since = 0
		} else if err := j.hashLocked(); err != nil && !errors.Is(err, wal.ErrFull) {
			return 0, err
		}
	}
	return at, nil
}

// spare reports, as an error that wraps [wal.ErrFull], that there is no room for
// n bytes of a rank.
func (j *Journal) spare(rank Rank, n int) error {
	if rank == Last {
		return nil
	}
	if rank > Vital {
		if err := j.log.Over(); err != nil {
			return err
		}
	}
	return j.log.Spare(n, leaves[rank])
}

// Short tells why records of a rank are refused, or nil.
func (j *Journal) Short(rank Rank) error { return j.spare(rank, 0) }

// record is one on its way into the log.
type record struct {
	kind     uint8
	body     []byte
	prepared any // of a Preparer's records
}

func (j *Journal) appendLocked(rec record, urgent bool) error {
	at, err := j.log.AppendParts(urgent, []byte{rec.kind}, rec.body)
	if err != nil {
		return err // nothing was accepted; a failed log says so to every call
	}
	j.grown += int64(1 + len(rec.body))
	j.since++
	if rec.kind > MaxKind {
		return nil
	}
	say := func(o Output) { j.sayLocked(at, o) }
	if p, ok := j.core.(Preparer); ok {
		err = p.StepPrepared(at, rec.kind, rec.body, rec.prepared, say)
	} else {
		err = j.core.Step(at, rec.kind, rec.body, say)
	}
	if err != nil {
		return j.failLocked(fmt.Errorf("step record %d: %w", at, err))
	}
	return nil
}

func (j *Journal) sayLocked(at wal.Seq, o Output) {
	j.sum.add(o)
	j.queue = append(j.queue, pending{at, o})
	j.queued += len(o.Body) + len(o.Payload) + outputOverhead
}

// hashLocked records the hash of the outputs since the last one. The stretch
// ends only if its record is accepted: a replay ends it there, too.
func (j *Journal) hashLocked() error {
	if err := j.appendLocked(record{kind: KindHash, body: j.sum.value()}, false); err != nil {
		return err
	}
	j.sum.fold()
	j.since = 0
	return nil
}
