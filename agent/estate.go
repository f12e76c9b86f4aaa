package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"pando/event"
	"pando/internal/durable"
	"pando/internal/pack"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// An estate must not be lost while the agent has no log that knows it: between
// two logs, which may be minutes, it is in a file beside them. The file is on
// the disk before the old log goes, and goes when the new one has it on the
// disk; a crash in between leaves it for the next start.
//
//	old log in place → file → old log aside → pause → new log, record → no file
//
// The root enters an estate by its WAL id, once, so saying it again is harmless.
const (
	estateName  = "wal.estate"
	estateLimit = 1 << 10
)

func (a *Agent) estatePath() string { return filepath.Join(a.opts.Dir, estateName) }

// bequeath finds out what a log leaves behind that is about to be replaced,
// and keeps it. Files are read again from where they are settled; what came
// over the network and is not settled may be with a relay, and otherwise is
// lost.
func (a *Agent) bequeath(j *journal.Journal) error {
	e, err := estateOf(j)
	if err != nil {
		return fmt.Errorf("agent: look through the log that is replaced: %w", err)
	}
	w := pack.NewWriter()
	wire.AppendEstate(w, e)
	sum := crc32.Checksum(w.Bytes(), castagnoli)
	if err := durable.WriteFile(a.opts.FS, a.estatePath(), binary.BigEndian.AppendUint32(nil, sum), w.Bytes()); err != nil {
		return fmt.Errorf("agent: keep account of the log that is replaced: %w", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bequest is the estate that no log may know yet; its WAL id is 0 if there is
// none.
func (a *Agent) bequest() (e wire.Estate, err error) {
	b, err := durable.ReadFile(a.opts.FS, a.estatePath(), estateLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		err = errors.New("its checksum is another")
	} else {
		r := pack.NewReader(b[4:])
		e = wire.ReadEstate(r)
		err = r.Done()
	}
	if err != nil {
		return e, fmt.Errorf("%s, which counts what a replaced log left behind: %w: %w; remove it to go on without", a.estatePath(), wal.ErrCorrupt, err)
	}
	return e, nil
}

// inherit puts into a log what the one before it left behind, and lets go of
// the file once that is on the disk.
func (a *Agent) inherit(ctx context.Context, j *journal.Journal) error {
	e, err := a.bequest()
	if err != nil || e.WAL == 0 {
		return err
	}
	var own event.WALID
	var known wire.Estate
	j.View(func(c journal.Core) { own, known = c.(*Core).wal, c.(*Core).estate })
	// Under its own id the log was not set aside after all: it goes on, and
	// what it leaves behind is counted when it is replaced.
	if e.WAL != own {
		at := j.Log().Last()
		if e.WAL != known.WAL {
			if at, err = appendRecord(j, EstateRecord(e)); err != nil {
				return err
			}
		}
		if err := j.Log().Wait(ctx, at); err != nil {
			return err
		}
	}
	if err := a.opts.FS.Remove(a.estatePath()); err != nil {
		return err
	}
	return a.opts.FS.SyncDir(a.opts.Dir)
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
