package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// ZeroChunk is how much [ZeroFill] writes at a time, in bytes, and leaves unsynced:
// a foreground sync on the same disk queues behind no more than this.
const ZeroChunk = 1 << 20

// TempSuffix marks a file that [WriteFile] has not finished. One that is
// found after a crash holds nothing and may be removed.
const TempSuffix = ".tmp"

// ZeroFill writes zeros over [from, to) of f and makes them durable, so that
// later writes there change no metadata and cannot run out of space on a
// file system that writes in place. (A file that is merely allocated is
// several times slower: each first write converts an extent.) Pause, unless nil, is
// called after each [ZeroChunk] with the offset that was reached; it may take its time, and
// its error ends the work.
func ZeroFill(f File, from, to int64, pause func(at int64) error) error {
	zeros := make([]byte, min(ZeroChunk, max(to-from, 0)))
	for at := from; at < to; {
		n := min(int64(len(zeros)), to-at)
		if _, err := f.WriteAt(zeros[:n], at); err != nil {
			return fmt.Errorf("zero-fill at %d: %w", at, err)
		}
		if at += n; at == to {
			break
		}
		if err := f.Datasync(); err != nil {
			return fmt.Errorf("zero-fill at %d: %w", at, err)
		}
		if pause != nil {
			if err := pause(at); err != nil {
				return err
			}
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("zero-fill: %w", err)
	}
	return nil
}

// WriteFile puts data into the file at path so that after a crash the file
// has either its old content or all of the new: a temporary file is written,
// synced and renamed, and the folder is synced. Two writers of one path must
// not run at the same time.
func WriteFile(fsys FS, path string, data ...[]byte) (err error) {
	temp := path + TempSuffix
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = fsys.Remove(temp)
		}
	}()
	if err := errors.Join(writeAll(f, data), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := fsys.Rename(temp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %s: sync folder: %w", path, err)
	}
	return nil
}

func writeAll(f File, data [][]byte) error {
	at := int64(0)
	for _, b := range data {
		n, err := f.WriteAt(b, at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return f.Sync()
}

// ReadFile returns the whole file, or an error if it is longer than limit
// bytes.
func ReadFile(fsys FS, path string, limit int64) (data []byte, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if size > limit {
		return nil, fmt.Errorf("read %s: %d bytes are above the limit of %d", path, size, limit)
	}
	data = make([]byte, size)
	if n, err := f.ReadAt(data, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(data)) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
