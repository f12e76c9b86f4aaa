// Package faulty is a file system in memory that fails the way disks do: it
// loses, keeps or tears at a crash what was not synced, runs full, stalls,
// and returns errors where a test wants them.
//
// It keeps the contract of package durable and not a bit more. A write that
// was not synced may, sector by sector, be there after a crash or not, and
// one sector may be a mixture; a name that was not synced may be there or
// not, whatever happened to the names after it. After a failed sync the
// bytes are readable and count as clean, but are not on the disk, as on Linux
// (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
package faulty

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// ErrCrashed is returned by every call to a disk after its crash.
var ErrCrashed = errors.New("the machine has crashed")

// sector is what the disk writes atomically, or tears.
const sector = 512

// Kind is what an operation does.
type Kind string

const (
	Create   Kind = "create"
	Write    Kind = "write"
	Sync     Kind = "sync" // Datasync or Sync of a file
	Truncate Kind = "truncate"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	SyncDir  Kind = "syncdir"
)

// Op is one operation that changes the disk.
type Op struct {
	Kind Kind
	Path string
	Off  int64 // of a write
	Len  int   // of a write
}

// Disk is a file system. Safe for concurrent use.
type Disk struct {
	// Fault, if set before use, is called before each operation and without
	// any lock: an error fails the operation, blocking stalls it.
	Fault func(Op) error

	mu       sync.Mutex
	dirs     map[string]*dir
	locks    map[string]bool
	capacity int64 // bytes of all files; 0: no limit
	ops      int
	crashAt  int // operation during which the machine crashes; 0: never
	crashed  bool
}

// dir holds the names of one folder: as a running program sees them, as they
// are on the disk, and the changes between the two.
type dir struct {
	now, disk map[string]*inode
	unsynced  []func(map[string]*inode)
}

// inode is a file: as a running program sees it, and as it is on the disk.
type inode struct {
	path      string // its name at present, after renames
	now, disk []byte
	dirty     map[int]bool // sectors to be written by the next sync
}

// New returns an empty disk.
func New() *Disk {
	return &Disk{dirs: map[string]*dir{"/": newDir(), ".": newDir()}, locks: map[string]bool{}}
}

func newDir() *dir {
	return &dir{now: map[string]*inode{}, disk: map[string]*inode{}}
}

// CrashAt lets the machine crash during the n-th operation from now, counted
// from 1. A write is then half done, anything else not at all.
func (d *Disk) CrashAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashAt = d.ops + n
}

// Ops is the number of operations so far.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Crashed tells whether the machine has crashed.
func (d *Disk) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crashed
}

// SetCapacity limits the bytes of all files together; 0 lifts the limit.
func (d *Disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}

// Fate decides what becomes of unsynced bytes and names at a crash.
type Fate struct {
	// Keep is the chance, in percent, that a sector or a name survives: 0
	// loses everything, 100 nothing; in between a sector may be torn too.
	Keep int
	// Seed fixes the chances.
	Seed uint64
}

// Reboot crashes the machine, if it has not, and returns the disk as it is
// found afterwards. The old disk stays dead.
func (d *Disk) Reboot(fate Fate) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashed = true
	rng := rand.New(rand.NewPCG(fate.Seed, 1))
	survives := func() bool { return rng.IntN(100) < fate.Keep }
	after := New()
	files := map[*inode]*inode{}
	for _, path := range sortedKeys(d.dirs) {
		old := d.dirs[path]
		names := clone(old.disk)
		for _, change := range old.unsynced {
			if survives() {
				change(names)
			}
		}
		fresh := newDir()
		for _, name := range sortedKeys(names) {
			file := names[name]
			if files[file] == nil {
				files[file] = file.crash(fate.Keep, survives, rng)
			}
			files[file].path = filepath.Join(path, name)
			fresh.now[name], fresh.disk[name] = files[file], files[file]
		}
		after.dirs[path] = fresh
	}
	return after
}

// Kill ends the program that uses the disk, while the machine runs on: every
// open file is dead, and what was not synced is still to be seen by the next
// program, and still to be lost by a crash. The disk returned takes over.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := New()
	next.dirs, d.dirs = d.dirs, next.dirs
	d.crashed = true
	return next
}

// Clone returns a copy of the disk, as after an orderly restart.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	for path, p := range d.dirs {
		fresh := newDir()
		for name, f := range p.now {
			g := &inode{path: f.path, now: slices.Clone(f.now), disk: slices.Clone(f.now), dirty: map[int]bool{}}
			fresh.now[name], fresh.disk[name] = g, g
		}
		c.dirs[path] = fresh
	}
	return c
}

// crash is the file as it is found after a crash.
func (f *inode) crash(keep int, survives func() bool, rng *rand.Rand) *inode {
	size := len(f.disk)
	if len(f.now) != size && survives() {
		size = len(f.now)
	}
	data := make([]byte, size)
	copy(data, f.disk)
	torn := false
	for _, s := range sortedKeys(f.dirty) {
		from, to := s*sector, min((s+1)*sector, len(f.now))
		tear := keep > 0 && rng.IntN(4) == 0
		switch {
		case from >= size || from >= to:
			continue
		case survives():
		case !torn && tear:
			torn = true
			to = from + rng.IntN(to-from)
		default:
			continue
		}
		copy(data[from:], f.now[from:to])
	}
	return &inode{path: f.path, now: data, disk: slices.Clone(data), dirty: map[int]bool{}}
}

// Bytes returns a copy of a file's content as a running program sees it.
func (d *Disk) Bytes(path string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.find(path)
	if err != nil {
		return nil
	}
	return slices.Clone(f.now)
}

// Flip inverts the bits of mask in one byte of a file, on the disk too.
func (d *Disk) Flip(path string, off int64, mask byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, err := d.find(path); err == nil && off < int64(len(f.now)) && off < int64(len(f.disk)) {
		f.now[off] ^= mask
		f.disk[off] ^= mask
	}
}

// Cut shortens a file, on the disk too.
func (d *Disk) Cut(path string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, err := d.find(path); err == nil {
		f.now, f.disk = f.now[:size], f.disk[:size]
	}
}

// before runs ahead of each operation.
func (d *Disk) before(op Op) error {
	if d.Fault != nil {
		if err := d.Fault(op); err != nil {
			return fmt.Errorf("%s %s: %w", op.Kind, op.Path, err)
		}
	}
	return nil
}

// step counts an operation; the caller holds mu. doomed says that the machine
// crashes during this one.
func (d *Disk) step() (doomed bool, err error) {
	if d.crashed {
		return false, ErrCrashed
	}
	d.ops++
	d.crashed = d.ops == d.crashAt
	return d.crashed, nil
}

func (d *Disk) find(path string) (*inode, error) {
	if parent := d.dirs[filepath.Dir(path)]; parent != nil {
		if f := parent.now[filepath.Base(path)]; f != nil {
			return f, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// change applies a change of names to what a program sees and remembers it
// for the disk.
func (p *dir) change(apply func(map[string]*inode)) {
	apply(p.now)
	p.unsynced = append(p.unsynced, apply)
}

func (d *Disk) used() int64 {
	total := int64(0)
	for _, p := range d.dirs {
		for _, f := range p.now {
			total += int64(len(f.now))
		}
	}
	return total
}

// room returns ENOSPC if n more bytes do not fit.
func (d *Disk) room(n int64) error {
	if n > 0 && d.capacity > 0 && d.used()+n > d.capacity {
		return syscall.ENOSPC
	}
	return nil
}

func clone(m map[string]*inode) map[string]*inode {
	c := make(map[string]*inode, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func sortedKeys[K int | string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
