package input

import (
	"bytes"
	"errors"
)

const (
	// maxFrame is the longest counted message that is passed over when it is
	// beyond the line limit. A larger count is no count: the stream is out of
	// step, and nothing more of it can be believed.
	maxFrame = 1 << 20

	// maxDigits is how many digits are taken for a count, so that one of
	// gigabytes is still seen as one, and refused.
	maxDigits = 12
)

// errFrame ends a connection whose counts cannot be.
var errFrame = errors.New("syslog frame: count too large")

// framer finds the messages in a TCP stream (RFC 6587), told apart message by
// message: a count, a space and "<" begin a message of so many bytes; anything
// else is a message up to the next line feed. Line feeds and NULs between
// messages, as some senders put behind counted ones, are passed over. It holds
// at most one message, of which it keeps limit bytes. Not safe for concurrent
// use.
type framer struct {
	limit int

	state   frameState
	kept    []byte
	cut     int64 // bytes of the message beyond the limit
	missing int   // bytes of a counted message still to come
}

type frameState uint8

const (
	frameBetween frameState = iota // no byte of a message yet
	frameCount                     // kept holds digits, maybe with a space
	frameCounted                   // inside a counted message
	frameLine                      // inside a message up to a line feed
)

// partial reports whether a message is incomplete.
func (f *framer) partial() bool { return f.state != frameBetween }

// feed takes the next bytes of the stream and hands each message that they
// complete to emit; a message is valid only during that call.
func (f *framer) feed(b []byte, emit func(msg []byte, cut int64) error) error {
	for len(b) > 0 {
		switch f.state {
		case frameBetween:
			b = f.between(b)
		case frameCount:
			left, err := f.count(b)
			if err != nil {
				return err
			}
			b = left
		case frameCounted:
			n := min(f.missing, len(b))
			f.keep(b[:n])
			b = b[n:]
			if f.missing -= n; f.missing == 0 {
				if err := f.emit(emit); err != nil {
					return err
				}
			}
		case frameLine:
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				f.keep(b)
				return nil
			}
			f.keep(b[:i])
			b = b[i+1:]
			if err := f.emit(emit); err != nil {
				return err
			}
		}
	}
	return nil
}

// between passes over what separates messages.
func (f *framer) between(b []byte) []byte {
	b = bytes.TrimLeft(b, "\r\n\x00")
	if len(b) == 0 {
		return nil
	}
	f.state = frameLine
	if b[0] >= '1' && b[0] <= '9' {
		f.state = frameCount
	}
	return b
}

// count reads one byte of what may be a count.
func (f *framer) count(b []byte) ([]byte, error) {
	c, n := b[0], len(f.kept)
	spaced := n > 0 && f.kept[n-1] == ' '
	switch {
	case spaced && c == '<':
		size := 0
		for _, digit := range f.kept[:n-1] {
			size = size*10 + int(digit-'0')
		}
		if size > maxFrame {
			return nil, errFrame
		}
		f.state, f.missing, f.kept = frameCounted, size, f.kept[:0]
		return b, nil
	case !spaced && (c >= '0' && c <= '9' && n < maxDigits || c == ' '):
		f.kept = append(f.kept, c)
		return b[1:], nil
	}
	f.state = frameLine // it was text that begins with digits
	return b, nil
}

// end hands on what an ending stream leaves. short says that it is part of a
// counted message.
func (f *framer) end(emit func(msg []byte, cut int64, short bool) error) error {
	if f.state == frameBetween {
		return nil
	}
	short := f.state == frameCounted
	return f.emit(func(msg []byte, cut int64) error { return emit(msg, cut+int64(f.missing), short) })
}

func (f *framer) keep(b []byte) {
	room := min(max(0, f.limit-len(f.kept)), len(b))
	f.kept = append(f.kept, b[:room]...)
	f.cut += int64(len(b) - room)
}

func (f *framer) emit(emit func([]byte, int64) error) error {
	err := emit(trimTrailer(f.kept), f.cut)
	f.state, f.kept, f.cut, f.missing = frameBetween, f.kept[:0], 0, 0
	return err
}

// trimTrailer takes line ends and NULs from the end of a message.
func trimTrailer(b []byte) []byte { return bytes.TrimRight(b, "\r\n\x00") }
