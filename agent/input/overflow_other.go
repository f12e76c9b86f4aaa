//go:build (unix && !linux) || zos

package input

import "syscall"

// countOverflow does nothing: only Linux tells how many datagrams were lost.
func countOverflow(syscall.RawConn) error { return nil }

func overflowOf([]byte) (uint32, bool) { return 0, false }
