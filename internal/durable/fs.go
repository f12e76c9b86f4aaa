// Package durable is the seam between Pando and the file system, and the few
// idioms that make bytes survive a crash.
//
// Contract: what [File.Datasync] or [File.Sync] returned nil for survives a
// power cut; what [FS.SyncDir] returned nil for keeps its name. Anything else
// may be lost, kept or torn at a crash, in any combination, where a 512-byte
// sector holds afterwards bytes of the old or of the new content and nothing
// else. An error of either sync means that the state of the unsynced bytes is
// unknown for good: the kernel may have dropped them and will report the next
// sync as a success (Rebello et al., "Can Applications Recover from fsync
// Failures?", USENIX ATC 2020), so the caller must not go on.
//
// [OS] is the real file system; package faulty is one that crashes, tears,
// stalls and fills up on demand.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// ErrLocked reports that another process, or another part of this one, holds
// the lock.
var ErrLocked = errors.New("locked by another process")

// File is an open file. ReadAt and WriteAt may be called concurrently on
// ranges that do not overlap; the rest belongs to one goroutine at a time.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Datasync makes the written bytes, and the file size if it changed,
	// survive a power cut.
	Datasync() error
	// Sync does the same and makes all metadata survive too.
	Sync() error
	// Truncate sets the size; new bytes read as zero.
	Truncate(size int64) error
	// Size is the current length in bytes.
	Size() (int64, error)
}

// FS is the part of a file system that Pando writes through. Errors keep the
// meaning of package io/fs ([fs.ErrNotExist], [fs.ErrExist]) and of errno;
// [Full] recognises a full disk. Safe for concurrent use.
type FS interface {
	// Create makes a new file for reading and writing; an existing one is an
	// error.
	Create(path string) (File, error)
	// Open opens an existing file for reading.
	Open(path string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(path string) (File, error)
	// Rename moves a file and replaces the target atomically.
	Rename(from, to string) error
	Remove(path string) error
	// ReadDir lists the names of the regular files in a folder, sorted.
	ReadDir(dir string) ([]string, error)
	// MkdirAll makes a folder and its parents, readable by the owner only.
	MkdirAll(dir string) error
	// SyncDir makes the names in a folder survive a power cut: creations,
	// renames and removals.
	SyncDir(dir string) error
	// Lock takes the exclusive lock that the named file stands for, and
	// creates the file if need be. It does not wait: an error that wraps
	// [ErrLocked] says that it is taken. Closing gives it back, and so does
	// the death of the process.
	Lock(path string) (io.Closer, error)
}

// Full reports whether err means that the disk, or the owner's share of it,
// has no room left.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// notRegular tells whether a folder entry is something else than a file.
func notRegular(e fs.DirEntry) bool { return !e.Type().IsRegular() }
