//go:build chaos

package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pando/internal/durable"
)

// chaosFile is the environment variable that names the file by which
// scripts/chaos.sh reaches a node's clock and disk. The file has a line for
// each fault; without a line, or without the file, there is none:
//
//	clock +10m     the wall clock is this much ahead
//	disk stall     writes and syncs do not return until the line has gone
//	disk fail      writes and syncs fail with EIO
const chaosFile = "PANDO_CHAOS"

// chaosLook is how often the file is read: well below what is measured.
const chaosLook = 10 * time.Millisecond

// touched puts the hooks between a role and its file system and wall clock.
func touched(fsys durable.FS, wall func() int64) (durable.FS, func() int64) {
	path := os.Getenv(chaosFile)
	if path == "" {
		return fsys, wall
	}
	h := &chaosHooks{}
	h.free = sync.NewCond(&h.mu)
	go h.follow(path)
	return chaosFS{fsys, h}, func() int64 { return wall() + h.offset.Load() }
}

// chaosHooks is what the file says at present.
type chaosHooks struct {
	offset atomic.Int64 // of the wall clock, nanoseconds

	mu    sync.Mutex
	free  *sync.Cond // the disk's state has changed
	stall bool
	fail  bool
}

// follow reads the file for the life of the process.
func (h *chaosHooks) follow(path string) {
	var last []byte
	for ; ; time.Sleep(chaosLook) {
		text, err := os.ReadFile(path)
		if err != nil {
			text = nil
		}
		if !bytes.Equal(text, last) {
			h.set(string(text))
			last = text
		}
	}
}

func (h *chaosHooks) set(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stall, h.fail = false, false
	offset := time.Duration(0)
	for line := range strings.Lines(text) {
		switch word, value, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "clock":
			if d, err := time.ParseDuration(value); err == nil {
				offset = d
			}
		case "disk":
			h.stall, h.fail = value == "stall", value == "fail"
		}
	}
	h.offset.Store(int64(offset))
	h.free.Broadcast()
}

// pass waits while the disk stalls, and returns the error of one that fails.
func (h *chaosHooks) pass(op string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.stall {
		h.free.Wait()
	}
	if h.fail {
		return fmt.Errorf("%s: %w", op, syscall.EIO)
	}
	return nil
}

// chaosFS lets everything that changes the disk pass the hooks.
type chaosFS struct {
	durable.FS
	hooks *chaosHooks
}

func (c chaosFS) wrap(f durable.File, err error) (durable.File, error) {
	if err != nil {
		return nil, err
	}
	return chaosDisk{f, c.hooks}, nil
}

func (c chaosFS) Create(path string) (durable.File, error) {
	if err := c.hooks.pass("create"); err != nil {
		return nil, err
	}
	return c.wrap(c.FS.Create(path))
}

func (c chaosFS) OpenWrite(path string) (durable.File, error) { return c.wrap(c.FS.OpenWrite(path)) }

func (c chaosFS) SyncDir(dir string) error {
	if err := c.hooks.pass("sync folder"); err != nil {
		return err
	}
	return c.FS.SyncDir(dir)
}

type chaosDisk struct {
	durable.File
	hooks *chaosHooks
}

func (f chaosDisk) WriteAt(b []byte, at int64) (int, error) {
	if err := f.hooks.pass("write"); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

func (f chaosDisk) Datasync() error {
	if err := f.hooks.pass("fdatasync"); err != nil {
		return err
	}
	return f.File.Datasync()
}

func (f chaosDisk) Sync() error {
	if err := f.hooks.pass("fsync"); err != nil {
		return err
	}
	return f.File.Sync()
}
