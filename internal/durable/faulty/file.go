package faulty

import (
	"io"
	"io/fs"
	"maps"
)

// file is an open file.
type file struct {
	disk     *Disk
	inode    *inode
	writable bool
	closed   bool
}

// path is the file's name at present.
func (f *file) path() string {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.inode.path
}

// usable reports why the file cannot be used; the disk's mutex is held.
func (f *file) usable(write bool) error {
	switch {
	case f.disk.crashed:
		return ErrCrashed
	case f.closed:
		return fs.ErrClosed
	case write && !f.writable:
		return fs.ErrPermission
	}
	return nil
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(false); err != nil {
		return 0, err
	}
	if off >= int64(len(f.inode.now)) {
		return 0, io.EOF
	}
	n := copy(b, f.inode.now[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.before(Op{Kind: Write, Path: f.path(), Off: off, Len: len(b)}); err != nil {
		return 0, err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(true); err != nil {
		return 0, err
	}
	doomed, err := f.disk.step()
	if err != nil {
		return 0, err
	}
	end := off + int64(len(b))
	if err := f.disk.room(end - int64(len(f.inode.now))); err != nil {
		return 0, err
	}
	f.inode.resize(max(end, int64(len(f.inode.now))))
	copy(f.inode.now[off:], b)
	f.inode.touch(off, end)
	if doomed {
		return 0, ErrCrashed
	}
	return len(b), nil
}

// resize sets the length a program sees.
func (f *inode) resize(size int64) {
	if size <= int64(len(f.now)) {
		f.now = f.now[:size:size]
		return
	}
	from := int64(len(f.now))
	f.now = append(f.now, make([]byte, size-from)...)
	f.touch(from, size)
}

func (f *inode) touch(from, to int64) {
	for s := from / sector; s*sector < to; s++ {
		f.dirty[int(s)] = true
	}
}

func (f *file) Datasync() error { return f.Sync() }

func (f *file) Sync() error {
	fault := f.disk.before(Op{Kind: Sync, Path: f.path()})
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(false); err != nil {
		return err
	}
	if fault != nil { // what was dirty counts as clean from here on
		clear(f.inode.dirty)
		return fault
	}
	if doomed, err := f.disk.step(); doomed || err != nil {
		return ErrCrashed
	}
	f.inode.sync()
	return nil
}

func (f *inode) sync() {
	if len(f.disk) != len(f.now) {
		disk := make([]byte, len(f.now))
		copy(disk, f.disk)
		f.disk = disk
	}
	for s := range maps.Keys(f.dirty) {
		if from := s * sector; from < len(f.now) {
			copy(f.disk[from:], f.now[from:min(from+sector, len(f.now))])
		}
	}
	clear(f.dirty)
}

func (f *file) Truncate(size int64) error {
	if err := f.disk.before(Op{Kind: Truncate, Path: f.path(), Off: size}); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(true); err != nil {
		return err
	}
	if doomed, err := f.disk.step(); doomed || err != nil {
		return ErrCrashed
	}
	f.inode.resize(size)
	return nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(false); err != nil {
		return 0, err
	}
	return int64(len(f.inode.now)), nil
}

func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.closed = true
	return nil
}
