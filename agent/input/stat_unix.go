//go:build unix || zos

package input

import (
	"os"

	"golang.org/x/sys/unix"
)

// fileState is what one stat tells.
type fileState struct {
	key     fileKey
	size    int64
	mtime   int64 // Unix nanoseconds
	regular bool
	deleted bool // no name is left
}

func statPath(path string) (fileState, error) {
	var st unix.Stat_t
	for {
		err := unix.Stat(path, &st)
		switch err {
		case nil:
			return stateOf(&st), nil
		case unix.EINTR:
			continue
		}
		return fileState{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
}

func statFile(f *os.File) (fileState, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return fileState{}, err
	}
	var st unix.Stat_t
	var failed error
	if err := raw.Control(func(fd uintptr) {
		for failed = unix.EINTR; failed == unix.EINTR; {
			failed = unix.Fstat(int(fd), &st)
		}
	}); err != nil {
		return fileState{}, err
	}
	if failed != nil {
		return fileState{}, &os.PathError{Op: "fstat", Path: f.Name(), Err: failed}
	}
	return stateOf(&st), nil
}

// stateOf converts: the widths of the fields differ between systems.
func stateOf(st *unix.Stat_t) fileState {
	return fileState{
		key:     fileKey{dev: uint64(st.Dev), ino: uint64(st.Ino)},
		size:    int64(st.Size),
		mtime:   st.Mtim.Nano(),
		regular: uint32(st.Mode)&unix.S_IFMT == unix.S_IFREG,
		deleted: st.Nlink == 0,
	}
}
