package wal

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"pando/internal/durable/faulty"
)

func TestCheckpointsKeepTwoAndFallBack(t *testing.T) {
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	defer l.Close()
	if _, err := ReadCheckpoint(disk, dir); !errors.Is(err, ErrNoCheckpoint) {
		t.Fatalf("without any: %v", err)
	}
	mustAppend(t, l, 9)
	for _, seq := range []Seq{0, 3, 6, 9} {
		c := Checkpoint{Format: 1, Logic: 2, Seq: seq, State: content(seq)}
		if err := l.WriteCheckpoint(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	list := must(Checkpoints(disk, dir))
	if len(list) != 2 || list[0].Seq != 9 || list[1].Seq != 6 || list[0].Err != nil || list[0].StateBytes != int64(len(content(9))) {
		t.Fatalf("checkpoints %+v", list)
	}
	c := must(ReadCheckpoint(disk, dir))
	if c.Seq != 9 || c.Format != 1 || c.Logic != 2 || c.Log != l.ID() || !bytes.Equal(c.State, content(9)) || c.Skipped != nil {
		t.Fatalf("newest checkpoint %+v", c)
	}
	if err := l.WriteCheckpoint(t.Context(), Checkpoint{Seq: 10}); err == nil {
		t.Error("a checkpoint beyond the log was accepted")
	}

	newest := filepath.Join(dir, list[0].Name)
	for off := range int64(len(disk.Bytes(newest))) {
		damaged := disk.Clone()
		damaged.Flip(newest, off, 0x10)
		c, err := ReadCheckpoint(damaged, dir)
		if err != nil || c.Seq != 6 || !errors.Is(c.Skipped, ErrCorrupt) || !bytes.Equal(c.State, content(6)) {
			t.Fatalf("byte %d flipped: %+v, %v", off, c, err)
		}
		if err := Verify(damaged, dir); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d flipped: verify %v", off, err)
		}
		damaged.Flip(filepath.Join(dir, list[1].Name), off%50, 0x10)
		if _, err := ReadCheckpoint(damaged, dir); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("both damaged: %v", err)
		}
	}
}
