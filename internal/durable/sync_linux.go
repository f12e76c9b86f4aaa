package durable

import (
	"os"
	"syscall"
)

// datasync leaves out what fsync adds: the commit of time stamps to the
// journal, which costs a second write on a preallocated file.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
