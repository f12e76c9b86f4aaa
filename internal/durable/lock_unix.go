//go:build unix

package durable

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock takes flock(2): it belongs to the open file, so two opens within one
// process exclude each other too.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", f.Name(), ErrLocked)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}
