package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pando/internal/pack"
	"pando/wal"
)

// adder is a core that says the running total of the numbers in its records.
type adder struct {
	total  uint64
	logic  uint32
	skewed bool // says something else than it should
	oldest wal.Seq
}

func (a *adder) Step(_ wal.Seq, kind uint8, body []byte, say func(Output)) error {
	if kind != 1 {
		return fmt.Errorf("kind %d", kind)
	}
	n, _ := binary.Uvarint(body)
	a.total += n
	if a.skewed && a.total > 100 {
		a.total++
	}
	say(Output{To: "all", Kind: 1, Body: binary.AppendUvarint(nil, a.total)})
	return nil
}
func (a *adder) AppendState(w *pack.Writer)     { w.Uint(a.total) }
func (a *adder) ReadState(r *pack.Reader) error { a.total = r.Uint("total", 1<<62); return r.Err() }
func (a *adder) Logic() uint32                  { return max(a.logic, 1) }
func (a *adder) Oldest() wal.Seq                { return a.oldest }

// heard collects what a journal delivers.
type heard struct {
	mu     sync.Mutex
	totals []uint64
}

func (h *heard) deliver(outs []Output) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range outs {
		n, _ := binary.Uvarint(o.Body)
		h.totals = append(h.totals, n)
	}
}

func (h *heard) all() []uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.totals)
}

func small(dir string) wal.Options {
	o := wal.DefaultOptions(dir)
	o.SegmentBytes = 64 << 10
	return o
}

func open(t *testing.T, dir string, core *adder, h *heard, checkpoint int64) *Journal {
	t.Helper()
	j, _, err := Open(Options{WAL: small(dir), CheckpointBytes: checkpoint, Deliver: h.deliver,
		Core: func(uint64, Fetch) (Core, error) { return core, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// feed appends n numbers and runs the journal until all of them are delivered.
func feed(t *testing.T, j *Journal, h *heard, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	want := len(h.all()) + n
	for i := range n {
		if _, err := j.Append(1, binary.AppendUvarint(nil, uint64(i)), i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Log().Wait(ctx, j.Log().Last()); err != nil {
		t.Fatal(err)
	}
	for len(h.all()) < want {
		j.nudge()
		if err := j.Log().Err(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func replay(t *testing.T, dir string, core *adder) Report {
	t.Helper()
	r, err := Replay(small(dir), func(uint64, Fetch) (Core, error) { return core, nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCoreComesBackAsItWas(t *testing.T) {
	for name, checkpoint := range map[string]int64{"without checkpoints": 1 << 40, "with checkpoints": 4 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var h heard
			core := &adder{}
			j := open(t, dir, core, &h, checkpoint)
			feed(t, j, &h, 1000)
			want := core.total
			if checkpoint > 1<<30 { // as after a crash: no last checkpoint
				if err := j.log.Close(); err != nil {
					t.Fatal(err)
				}
			} else if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			again := &adder{}
			j = open(t, dir, again, &h, checkpoint)
			if again.total != want {
				t.Errorf("total %d after reopening, want %d", again.total, want)
			}
			feed(t, j, &h, 500)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if r := replay(t, dir, &adder{}); !r.Identical || r.Hashes == 0 {
				t.Errorf("replay: %+v", r)
			}
		})
	}
}

func TestOutputsAreDeliveredInOrderOnce(t *testing.T) {
	var h heard
	j := open(t, t.TempDir(), &adder{}, &h, 1<<40)
	feed(t, j, &h, 2000)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var total uint64
	got := h.all()
	for i := range 2000 {
		total += uint64(i)
		if got[i] != total {
			t.Fatalf("output %d is %d, want %d", i, got[i], total)
		}
	}
	if len(got) != 2000 {
		t.Errorf("%d outputs, want 2000", len(got))
	}
}

func TestReplaySeesAnotherOutput(t *testing.T) {
	dir := t.TempDir()
	var h heard
	j := open(t, dir, &adder{}, &h, 1<<40)
	feed(t, j, &h, 1000)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r := replay(t, dir, &adder{skewed: true}); r.Identical || r.Fault == "" {
		t.Errorf("replay by other logic under the same version: %+v", r)
	}
}

func TestOpenRefusesACoreThatSaysSomethingElse(t *testing.T) {
	dir := t.TempDir()
	var h heard
	j := open(t, dir, &adder{}, &h, 1<<40)
	feed(t, j, &h, 10) // with the checkpoint that follows a change of logic
	feed(t, j, &h, 1000)
	if err := j.log.Close(); err != nil { // no further checkpoint: opening steps the rest
		t.Fatal(err)
	}
	_, _, err := Open(Options{WAL: small(dir), Deliver: h.deliver, Core: func(uint64, Fetch) (Core, error) { return &adder{skewed: true}, nil }})
	if !errors.Is(err, ErrDiverged) {
		t.Errorf("open: %v, want ErrDiverged", err)
	}
}

func TestOtherLogicIsNotCompared(t *testing.T) {
	dir := t.TempDir()
	var h heard
	j := open(t, dir, &adder{}, &h, 1<<40)
	feed(t, j, &h, 1000)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, &adder{skewed: true, logic: 2}, &h, 1<<40)
	feed(t, j, &h, 1000)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r := replay(t, dir, &adder{skewed: true, logic: 2}); r.Fault != "" {
		t.Errorf("replay over a change of logic: %+v", r)
	}
}

func TestTrimmingKeepsWhatTheCoreNeeds(t *testing.T) {
	dir := t.TempDir()
	var h heard
	core := &adder{oldest: 700}
	j := open(t, dir, core, &h, 8<<10)
	for range 8 {
		feed(t, j, &h, 2000)
	}
	if first := j.Log().First(); first > 700 {
		t.Errorf("the log begins at %d, the core needs 700", first)
	}
	core.oldest = 0
	for range 8 {
		feed(t, j, &h, 2000)
	}
	if first := j.Log().First(); first <= 700 {
		t.Errorf("the log begins at %d: nothing was trimmed", first)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r := replay(t, dir, &adder{}); !r.Identical || r.From == 0 {
		t.Errorf("replay from a checkpoint: %+v", r)
	}
}
