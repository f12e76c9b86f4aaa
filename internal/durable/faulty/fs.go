package faulty

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"pando/internal/durable"
)

var _ durable.FS = (*Disk)(nil)

func (d *Disk) Create(path string) (durable.File, error) {
	if err := d.before(Op{Kind: Create, Path: path}); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if doomed, err := d.step(); doomed || err != nil {
		return nil, ErrCrashed
	}
	parent := d.dirs[filepath.Dir(path)]
	if parent == nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrNotExist}
	}
	name := filepath.Base(path)
	if parent.now[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	f := &inode{path: path, dirty: map[int]bool{}}
	parent.change(func(m map[string]*inode) { m[name] = f })
	return &file{disk: d, inode: f, writable: true}, nil
}

func (d *Disk) Open(path string) (durable.File, error)      { return d.open(path, false) }
func (d *Disk) OpenWrite(path string) (durable.File, error) { return d.open(path, true) }

func (d *Disk) open(path string, writable bool) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return nil, ErrCrashed
	}
	f, err := d.find(path)
	if err != nil {
		return nil, err
	}
	return &file{disk: d, inode: f, writable: writable}, nil
}

// Rename of a folder is atomic and durable at once.
func (d *Disk) Rename(from, to string) error {
	if err := d.before(Op{Kind: Rename, Path: from}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if doomed, err := d.step(); doomed || err != nil {
		return ErrCrashed
	}
	if p := d.dirs[from]; p != nil {
		delete(d.dirs, from)
		d.dirs[to] = p
		for name, f := range p.now {
			f.path = filepath.Join(to, name)
		}
		return nil
	}
	f, err := d.find(from)
	if err != nil {
		return err
	}
	f.path = to
	a, b := filepath.Base(from), filepath.Base(to)
	if filepath.Dir(from) != filepath.Dir(to) {
		return fmt.Errorf("rename %s to another folder: %w", from, errors.ErrUnsupported)
	}
	d.dirs[filepath.Dir(from)].change(func(m map[string]*inode) {
		delete(m, a)
		m[b] = f
	})
	return nil
}

func (d *Disk) Remove(path string) error {
	if err := d.before(Op{Kind: Remove, Path: path}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if doomed, err := d.step(); doomed || err != nil {
		return ErrCrashed
	}
	if _, err := d.find(path); err != nil {
		return err
	}
	name := filepath.Base(path)
	d.dirs[filepath.Dir(path)].change(func(m map[string]*inode) { delete(m, name) })
	return nil
}

func (d *Disk) ReadDir(path string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return nil, ErrCrashed
	}
	p := d.dirs[filepath.Clean(path)]
	if p == nil {
		return nil, &fs.PathError{Op: "readdir", Path: path, Err: fs.ErrNotExist}
	}
	return sortedKeys(p.now), nil
}

func (d *Disk) MkdirAll(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return ErrCrashed
	}
	for p := filepath.Clean(path); d.dirs[p] == nil; p = filepath.Dir(p) {
		d.dirs[p] = newDir()
	}
	return nil
}

func (d *Disk) SyncDir(path string) error {
	if err := d.before(Op{Kind: SyncDir, Path: path}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if doomed, err := d.step(); doomed || err != nil {
		return ErrCrashed
	}
	if p := d.dirs[filepath.Clean(path)]; p != nil {
		p.disk, p.unsynced = clone(p.now), nil
	}
	return nil
}

func (d *Disk) Lock(path string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashed {
		return nil, ErrCrashed
	}
	if d.locks[path] {
		return nil, fmt.Errorf("lock %s: %w", path, durable.ErrLocked)
	}
	d.locks[path] = true
	return unlock(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.locks, path)
	}), nil
}

type unlock func()

func (u unlock) Close() error { u(); return nil }
