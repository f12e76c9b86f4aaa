//go:build !zos

package root

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pando/root/consensus"
)

// A member that must have seen an entry has seen it when all its commands are
// applied, not when the first is: the leader answers for all of them.
func TestReadWaitsForTheWholeEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := NewFSM()
		if err != nil {
			t.Fatal(err)
		}
		tick := func(at consensus.At) {
			if _, err := f.Apply(at, command(cmdTick, epoch+int64(at.Item)).Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		var got *view
		var failed error
		read := func(index uint64) {
			got, failed = nil, nil
			go func() { got, failed = f.await(t.Context(), index) }()
			synctest.Wait()
		}
		tick(consensus.At{Index: 5, Term: 1, Items: 1})
		if read(5); got == nil || got.count != 1 {
			t.Fatalf("a whole entry: %v, %v", got, failed)
		}
		tick(consensus.At{Index: 7, Term: 1, Item: 0, Items: 3})
		read(7)
		for item := range 2 {
			if got != nil || failed != nil {
				t.Fatalf("read with %d of 3 commands: %v", item+1, failed)
			}
			tick(consensus.At{Index: 7, Term: 1, Item: item + 1, Items: 3})
			synctest.Wait()
		}
		if got == nil || got.count != 4 {
			t.Fatalf("three of three: %v, %v", got, failed)
		}
		again := restored(t, snapshot(t, f))
		if v, err := again.await(t.Context(), 7); err != nil || v.count != 4 {
			t.Fatalf("after a restore: %v, %v", v, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.await(ctx, 8); err != context.DeadlineExceeded {
			t.Fatalf("an entry that never comes: %v", err)
		}
	})
}
