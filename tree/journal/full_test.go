package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"pando/internal/pack"
	"pando/wal"
)

// limited is a log of at most three small segments.
func limited(dir string) wal.Options {
	o := wal.DefaultOptions(dir)
	o.SegmentBytes, o.MaxBytes = 16<<10, 3*16<<10
	return o
}

// A log that gets full between a record and its hash must neither lose the
// hash nor deny that it took the record: the caller would append it again, or
// the log could never be opened again.
func TestFullLogOpensAgainWithWhatItAccepted(t *testing.T) {
	for pad := range 8 {
		dir := t.TempDir()
		core := &adder{}
		opts := Options{WAL: limited(dir), CheckpointBytes: 1 << 40, Deliver: func([]Output) {},
			Core: func(uint64, Fetch) (Core, error) { return core, nil }}
		j, _, err := Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		var accepted uint64
		fill := func(size int) {
			for err = nil; err == nil; {
				j.since = HashEvery // a hash is due with every record
				if _, err = j.Append(1, append([]byte{1}, make([]byte, size)...), false); err == nil {
					accepted++
				}
			}
		}
		fill(200 + pad)
		fill(0)
		if !errors.Is(err, wal.ErrFull) {
			t.Fatal(err)
		}
		if core.total != accepted {
			t.Fatalf("with %d bytes of padding the core stepped %d records, %d were accepted", pad, core.total, accepted)
		}
		if err := j.log.Close(); err != nil { // as after a crash
			t.Fatal(err)
		}
		core = &adder{}
		if j, _, err = Open(opts); err != nil && !errors.Is(err, wal.ErrFull) {
			t.Fatalf("with %d bytes of padding: %v", pad, err)
		}
		if err == nil {
			if core.total != accepted {
				t.Errorf("%d records after reopening, %d were accepted", core.total, accepted)
			}
			_ = j.log.Close()
		}
	}
}

// window is a core that needs every record until another one lets go of it,
// and reads it again then.
type window struct {
	adder
	fetch Fetch
	held  []uint64
}

const (
	hold  = 1
	letGo = 2
)

func (c *window) Step(at wal.Seq, kind uint8, _ []byte, say func(Output)) error {
	if kind == hold {
		c.held = append(c.held, uint64(at))
		return nil
	}
	for _, seq := range c.held {
		_, body, err := c.fetch(wal.Seq(seq))
		if err != nil {
			return err
		}
		say(Output{To: "all", Kind: 1, Body: body})
	}
	c.held = nil
	return nil
}

func (c *window) Oldest() wal.Seq {
	if len(c.held) == 0 {
		return 0
	}
	return wal.Seq(c.held[0])
}

func (c *window) AppendState(w *pack.Writer) {
	w.Array(len(c.held))
	for _, seq := range c.held {
		w.Uint(seq)
	}
}

func (c *window) ReadState(r *pack.Reader) error {
	c.held = nil
	for range r.Array("held", 1<<20) {
		c.held = append(c.held, r.Uint("record", 1<<62))
	}
	return r.Err()
}

func ranked(kind uint8) Rank {
	if kind == hold {
		return Data
	}
	return Last
}

func newWindow(_ uint64, fetch Fetch) (Core, error) { return &window{fetch: fetch}, nil }

// While space is short, what brings data is refused, and what lets go of it
// still gets in and makes the log usable again.
func TestFullLogIsEased(t *testing.T) {
	j, _, err := Open(Options{WAL: limited(t.TempDir()), CheckpointBytes: 1 << 40, Deliver: func([]Output) {},
		Core: newWindow, Rank: ranked})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	for err == nil {
		_, err = j.Append(hold, make([]byte, 200), false)
	}
	if !errors.Is(err, wal.ErrFull) {
		t.Fatal(err)
	}
	if _, err := j.Append(letGo, nil, true); err != nil {
		t.Fatalf("what frees space is refused: %v", err)
	}
	for err != nil && ctx.Err() == nil {
		_, err = j.Append(hold, nil, false)
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Errorf("the log stays full: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// The older of two checkpoints may be all that a start or a replay has. What
// was still needed there must not be trimmed because it is not needed now.
func TestOlderCheckpointKeepsItsRecords(t *testing.T) {
	dir := t.TempDir()
	o := wal.DefaultOptions(dir)
	o.SegmentBytes = 4 << 10
	j, _, err := Open(Options{WAL: o, Deliver: func([]Output) {}, Core: newWindow})
	if err != nil {
		t.Fatal(err)
	}
	put := func(kind uint8, n int) {
		t.Helper()
		for range n {
			if _, err := j.Append(kind, binary.AppendUvarint(nil, 7), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		put(hold, 1000)
		if err := j.checkpointIfDue(context.Background(), true); err != nil {
			t.Fatal(err)
		}
		put(letGo, 1)
	}
	if j.log.First() == 1 {
		t.Error("nothing was trimmed")
	}
	if err := j.log.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Replay(o, newWindow); err != nil || !r.Identical || r.From == 0 {
		t.Errorf("replay: %+v, %v", r, err)
	}
}
