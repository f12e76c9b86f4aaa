package journal

import (
	"sync/atomic"
	"testing"

	"pando/internal/durable/faulty"
	"pando/wal"
)

// What the core says stays here until an fsync covers the record: whoever
// hears it may act on it, and a crash may take the record.
func TestNothingIsSaidBeforeTheSync(t *testing.T) {
	disk := faulty.New()
	stall, stalled := make(chan struct{}), make(chan struct{}, 1)
	var on atomic.Bool
	disk.Fault = func(op faulty.Op) error {
		if on.Load() && op.Kind == faulty.Sync {
			select {
			case stalled <- struct{}{}:
			default:
			}
			<-stall
		}
		return nil
	}
	o := wal.DefaultOptions("log")
	o.FS, o.SegmentBytes = disk, 16<<10
	said := 0
	j, _, err := Open(Options{WAL: o, CheckpointBytes: 1 << 40, Core: newWindow,
		Deliver: func(outs []Output) { said += len(outs) }})
	if err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	var at wal.Seq
	for _, kind := range []uint8{hold, letGo} {
		if at, err = j.Append(kind, []byte{1}, true); err != nil {
			t.Fatal(err)
		}
	}
	<-stalled
	if err := j.deliver(); err != nil || said != 0 {
		t.Errorf("%d outputs while the sync is under way, %v", said, err)
	}
	close(stall)
	if err := j.log.Wait(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if err := j.deliver(); err != nil || said != 1 {
		t.Errorf("%d outputs after the sync, want 1, %v", said, err)
	}
	if err := j.log.Close(); err != nil {
		t.Fatal(err)
	}
}
