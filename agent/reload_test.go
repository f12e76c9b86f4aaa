package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pando/agent/input"
	"pando/internal/durable/faulty"
)

// While lines come, a source's rules change again and again, another source
// comes and goes, and wrong options are refused: each line is settled once, in
// one session under one WAL id.
func TestReconfigureLosesAndDoublesNothing(t *testing.T) {
	r := newRig(t)
	second := filepath.Join(t.TempDir(), "second.log")
	if err := os.WriteFile(second, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	more := r.opts.Sources[0]
	more.Name, more.Path = "more", second
	r.write(100)
	round, started := 0, map[string]int{}
	r.live(faulty.New(), func() bool {
		if r.led.settledLines() < r.lines*9/10 || r.agent.Status().State != "live" {
			return round > 20 && r.led.settledLines() == r.lines
		}
		if round++; round > 20 {
			return r.led.settledLines() == r.lines
		}
		next := r.opts
		next.Sources = []input.Spec{r.opts.Sources[0]}
		next.Sources[0].Criticality = []input.CritRule{{Text: fmt.Sprintf("n=[0-9]*%d$", round%10), Level: 0}}
		if round%3 == 0 {
			next.Sources = append(next.Sources, more)
		}
		changed, err := r.agent.Reconfigure(next)
		if err != nil {
			t.Error(err)
		}
		for _, name := range changed {
			started[name]++
		}
		wrong := next
		wrong.Sources = []input.Spec{{Name: "app", Type: "carrier pigeon"}}
		if _, err := r.agent.Reconfigure(wrong); err == nil {
			t.Error("options that are not valid came into force")
		}
		r.write(50)
		return false
	})
	r.exact()
	if started["app"] != 20 || started["more"] < 10 {
		t.Errorf("sources exchanged: %v", started)
	}
	if r.led.opens != 1 {
		t.Errorf("%d sessions were opened, want the one", r.led.opens)
	}
	if !slices.Equal(r.agent.settings().relays, r.opts.Relays) {
		t.Error("the relays changed")
	}
}

// stuck is a disk whose syncs wait until it is freed.
func stuck() (disk *faulty.Disk, free func()) {
	disk, gate := faulty.New(), make(chan struct{})
	disk.Fault = func(op faulty.Op) error {
		if op.Kind == faulty.Sync && filepath.Base(filepath.Dir(op.Path)) == "wal" {
			<-gate
		}
		return nil
	}
	return disk, sync.OnceFunc(func() { close(gate) })
}

// While the log is being opened, which may take minutes, and between two logs,
// new options are taken, and count for the log that is opened.
func TestReconfigureWhileTheLogIsOpened(t *testing.T) {
	r := newRig(t)
	disk, free := stuck()
	defer free()
	second := filepath.Join(t.TempDir(), "second.log")
	if err := os.WriteFile(second, []byte("line n=1\nline n=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.lines = 2
	asked := false
	relays := r.opts.Relays
	r.opts.Relays = []string{"127.0.0.1:1"} // nobody
	r.live(disk, func() bool {
		if !asked && r.agent.Status().State == "starting" {
			asked = true
			next := r.opts
			next.Relays = relays
			next.Sources = slices.Clone(next.Sources)
			next.Sources[0].Path = second
			if touched, err := r.agent.Reconfigure(next); err != nil || !slices.Equal(touched, []string{"app"}) {
				t.Errorf("touched %v: %v", touched, err)
			}
			next.Sources = slices.Clone(next.Sources)
			next.Sources[0].Type = "carrier pigeon"
			if _, err := r.agent.Reconfigure(next); err == nil {
				t.Error("options that are not valid came into force")
			}
			free()
		}
		return r.led.settledLines() == 2
	})
	r.exact()
}

// An agent that is told to stop while its log is being opened does not wait
// for it, and its folder is free once that has ended.
func TestStopWhileTheLogIsOpened(t *testing.T) {
	r := newRig(t)
	disk, free := stuck()
	defer free()
	r.opts.FS = disk
	a, err := New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	time.Sleep(20 * time.Millisecond)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the stop failed: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the agent waits for its log")
	}
	free()
	r.write(10)
	for {
		lock, err := disk.Lock("/agent/wal/LOCK")
		if err == nil {
			_ = lock.Close()
			break
		}
		time.Sleep(time.Millisecond)
	}
	r.finish(disk)
}
