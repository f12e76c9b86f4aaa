//go:build unix || zos

package input

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// readSocket reads what a socket holds, or waits for it until the deadline.
// Before it waits it says since when the socket is known to be empty. At the
// end of the stream it returns 0 and no error.
//
// The plain Read would not do: it tells neither that it found nothing nor
// when, and the time of the last empty read is the lower end of the event
// times.
func readSocket(raw syscall.RawConn, b []byte, clock func() int64, empty func(at int64)) (n int, err error) {
	failed := raw.Read(func(fd uintptr) bool {
		for {
			at := clock()
			switch n, err = unix.Read(int(fd), b); err {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				empty(at)
				return false
			}
			return true
		}
	})
	if failed != nil {
		return 0, failed
	}
	return max(n, 0), err
}

// readNow reads what a socket holds, past its deadline too. With nothing there
// it returns [os.ErrDeadlineExceeded] at once, and at the end of the stream 0
// and no error.
func readNow(raw syscall.RawConn, b []byte) (n int, err error) {
	failed := raw.Control(func(fd uintptr) {
		for {
			if n, err = unix.Read(int(fd), b); err != unix.EINTR {
				return
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case err == unix.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	}
	return max(n, 0), err
}

// datagram is what one receive found.
type datagram struct {
	bytes    int
	cut      bool   // it was longer than the buffer
	from     string // address without port
	overflow uint32 // datagrams the kernel has dropped so far
	counted  bool   // overflow is known
}

// receive is readSocket for one datagram.
func receive(raw syscall.RawConn, b, control []byte, clock func() int64, empty func(at int64)) (d datagram, err error) {
	failed := raw.Read(func(fd uintptr) bool {
		for {
			at := clock()
			n, controls, flags, from, e := unix.Recvmsg(int(fd), b, control, 0)
			switch e {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				empty(at)
				return false
			case nil:
				d = datagram{bytes: n, cut: flags&unix.MSG_TRUNC != 0, from: addressOf(from)}
				d.overflow, d.counted = overflowOf(control[:controls])
			}
			err = e
			return true
		}
	})
	if failed != nil {
		return datagram{}, failed
	}
	return d, err
}

func addressOf(from unix.Sockaddr) string {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr).String()
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(a.Addr).Unmap()
		if a.ZoneId == 0 {
			return addr.String()
		}
		return addr.WithZone(zoneName(int(a.ZoneId))).String()
	}
	return ""
}

// zoneName is the name of a network interface, or its number.
func zoneName(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}
