package input

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

// countOverflow asks the kernel to say with each datagram how many it had to
// drop before (SO_RXQ_OVFL, socket(7)).
func countOverflow(raw syscall.RawConn) error {
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	}); err != nil {
		return err
	}
	return failed
}

// overflowOf finds that number among a datagram's control messages.
func overflowOf(control []byte) (uint32, bool) {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0, false
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_RXQ_OVFL && len(data) >= 4 {
			return binary.NativeEndian.Uint32(data), true
		}
		control = rest
	}
	return 0, false
}
