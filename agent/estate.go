package agent

import (
	"errors"
	"fmt"
	"io"

	"pando/event"
	"pando/tree/journal"
	"pando/tree/wire"
)

// bequeath finds out what a log leaves behind that is about to be replaced.
// Files are read again from where they are settled; what came over the network
// and is not settled may be with a relay, and otherwise is lost.
func (a *Agent) bequeath(j *journal.Journal) error {
	e, err := estateOf(j)
	if err != nil {
		return fmt.Errorf("agent: look through the log that is replaced: %w", err)
	}
	a.mu.Lock()
	a.estate = e
	a.mu.Unlock()
	return nil
}

func estateOf(j *journal.Journal) (e wire.Estate, err error) {
	r := j.Log().Reader(j.Log().First())
	j.View(func(c journal.Core) {
		e, err = EstateOf(c.(*Core), func() ([]byte, error) {
			_, b, err := r.Next()
			return b, err
		})
	})
	return e, err
}

// EstateOf finds out what the log of a core leaves behind. Next returns one
// record of it after the other, kind and body, and then [io.EOF].
func EstateOf(c *Core, next func() ([]byte, error)) (wire.Estate, error) {
	e := wire.Estate{WAL: c.wal}
	for l := range c.lanes {
		e.Last[l] = c.lanes[l].last
	}
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			return e, nil
		}
		if err != nil {
			return e, err
		}
		if len(b) == 0 || b[0] != recBatch {
			continue
		}
		h, err := event.DecodeHeader(b[1:])
		if err != nil {
			return e, err
		}
		if h.Last() <= c.lanes[h.Unit.Lane].settled {
			continue
		}
		batch, err := event.Decode(b[1:])
		if err != nil {
			return e, err
		}
		e.Unread[h.Unit.Lane] += unreadable(batch)
	}
}

// unreadable counts the events of a batch whose sources cannot be read again.
func unreadable(b *event.Batch) (n uint64) {
	replayable := map[string]bool{}
	for _, p := range b.Positions {
		replayable[p.SourceName()] = p.Replayable
	}
	for i := range b.Events {
		if e := &b.Events[i]; e.Kind != event.Heartbeat && !replayable[e.Source] {
			n++
		}
	}
	return n
}
