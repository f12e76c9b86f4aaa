//go:build !zos

package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pando/tree/journal"
	"pando/wal"
)

// When the log is short of room, batches and opens are refused first, then what
// can wait, and what lets the log be trimmed has the rest; see [Rank]. What was
// refused is not lost:
//
//   - a tick brings only time, and the next one brings it, too; see pulse;
//   - an estimate of root time is followed by a better one;
//   - a vouch ends its session, and the agent says with the next Open what its
//     disk holds;
//   - the end of a session, the loss of the root, its grant and changed
//     detectors, windows and patterns are remembered here, and said as soon as
//     there is room. A restart says the first two by itself.

// debts are what the core has not been told. They are bounded: no session is
// let in before they are paid.
type debts struct {
	closed   []uint64 // sessions that ended
	config   []byte   // or nil
	patterns []byte   // or nil
}

const (
	// askPause is the pause between two questions after units that another
	// relay has, while their answers fill the rest of a full log.
	askPause = time.Minute
	// flapPause is how long a root that came back to a full log may have to
	// wait before the log is told, so that one that comes and goes does not
	// fill it: it doubles up to this from firstFlapPause.
	flapPause      = time.Minute
	firstFlapPause = time.Second
)

// close tells the core that a session ended, now or later. A relay that stops
// need not: its next start ends all sessions.
func (r *Relay) close(session uint64) error {
	r.owing.Lock()
	defer r.owing.Unlock()
	r.owed.closed = append(r.owed.closed, session)
	return r.payLocked()
}

// pay tells the core what it has not been told. An error that wraps
// [wal.ErrFull] says that something is left.
func (r *Relay) pay() error {
	r.owing.Lock()
	defer r.owing.Unlock()
	return r.payLocked()
}

func (r *Relay) payLocked() error {
	for len(r.owed.closed) > 0 {
		rec := CloseRecord(r.owed.closed[0])
		if _, err := r.journal.Append(rec.Kind, rec.Body, rec.Urgent); err != nil {
			return err
		}
		r.owed.closed = r.owed.closed[1:]
	}
	if r.owed.config != nil {
		if _, err := r.journal.AppendAs(journal.Upkeep, recConfig, r.owed.config, false); err != nil {
			return err
		}
		r.log.Info("changed detectors and windows are in force, the log has room again")
		r.owed.config = nil
	}
	if r.owed.patterns != nil {
		if _, err := r.journal.Append(recPatterns, r.owed.patterns, false); err != nil {
			return err
		}
		r.owed.patterns = nil
	}
	return nil
}

// begin writes what a log must have before anything else. A full one has it
// from the last start if nothing happened since; only changed detectors wait.
func (r *Relay) begin(c *core) error {
	if _, err := r.journal.Append(recStart, []byte(r.name), false); err != nil {
		rested := false
		r.journal.View(func(journal.Core) { rested = c.rested(r.name) })
		if !errors.Is(err, wal.ErrFull) || !rested {
			return err
		}
		r.log.Warn("the log is full", "error", err)
	}
	return nil
}

// analyse puts a configuration of detectors and windows into force, now or, on a full log
// that has one, later.
func (r *Relay) analyse(config []byte, first bool) error {
	_, err := r.journal.Append(recConfig, config, false)
	if errors.Is(err, wal.ErrFull) && !first {
		r.log.Warn("changed detectors and windows wait: the log is full", "error", err)
		r.owed.config = config
		return nil
	}
	return err
}

// pulse tells the core the time. While the log is short of room, only ticks get
// in by which something moves that can free it. The others are no loss: without
// new batches the detectors have nothing to see, and time catches up with the
// first tick that there is room for.
func (r *Relay) pulse(now int64) error {
	rec := TickRecord(now)
	_, err := r.journal.Append(rec.Kind, rec.Body, rec.Urgent)
	if !errors.Is(err, wal.ErrFull) {
		return err
	}
	mayAsk, moves, asks := time.Since(r.askedShort) >= askPause, false, false
	r.journal.View(func(k journal.Core) { moves, asks = k.(*core).frees(now) })
	if !moves && !(asks && mayAsk) {
		return nil
	}
	if asks && mayAsk {
		r.askedShort = time.Now()
	}
	_, err = r.journal.AppendAs(journal.Vital, rec.Kind, rec.Body, rec.Urgent)
	return err
}

// restrain holds back a root that came back while the log is short of room.
func (u *upstream) restrain(ctx context.Context, gone <-chan struct{}) {
	short := u.r.journal.Short(journal.Upkeep) != nil
	if !short || time.Since(u.flapped) > flapPause {
		u.flaps = 0
	}
	if !short {
		return
	}
	wait := u.flaps - time.Since(u.flapped)
	u.flaps = min(max(2*u.flaps, firstFlapPause), flapPause)
	if wait > 0 {
		u.r.log.Warn("the log is short of room: a root that comes and goes has to wait", "wait", wait)
		select {
		case <-ctx.Done():
		case <-gone:
		case <-time.After(wait):
		}
	}
	u.flapped = time.Now()
}

// lost tells the core that the root is gone, if it was not told for want of
// room. Until then it says to nobody what it will say again to the next root.
func (u *upstream) lost() error {
	u.word.Lock()
	defer u.word.Unlock()
	u.mu.Lock()
	due := u.said && !u.out.live
	u.mu.Unlock()
	if !due {
		return nil
	}
	return u.sayLocked(false, journal.Upkeep)
}

// sayLocked tells the core that the root came or went. The word is held.
func (u *upstream) sayLocked(up bool, rank journal.Rank) error {
	rec := UplinkRecord(up)
	if _, err := u.r.journal.AppendAs(rank, rec.Kind, rec.Body, rec.Urgent); err != nil {
		return fmt.Errorf("%w: %w", errLog, err)
	}
	u.said = up
	return nil
}
