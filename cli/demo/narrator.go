//go:build !zos

package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// narrator tells people what happens while it does. A nil narrator is silent.
// It is safe for concurrent use.
type narrator struct {
	out   io.Writer
	color bool // escape sequences for colours
	live  bool // a terminal, on which a line can be overwritten
	start time.Time

	mu       sync.Mutex
	progress string // the line that is overwritten, as it stands
	said     time.Time
}

// Escape sequences (ECMA-48).
const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
	erase  = "\r\x1b[K"
)

// quiet is how often progress is told where lines cannot be overwritten.
const quiet = 5 * time.Second

// tell writes one line, with the time since the start, in a style.
func (n *narrator) tell(style, format string, args ...any) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	n.write(style, fmt.Sprintf(format, args...))
	if n.live && n.progress != "" {
		fmt.Fprint(n.out, n.styled(dim, n.progress))
	}
}

// raw writes text without a time.
func (n *narrator) raw(text string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	n.progress = ""
	fmt.Fprintln(n.out, text)
}

// note shows how far things are: on a terminal in a line of its own that is
// overwritten, elsewhere now and then. Empty text ends it.
func (n *narrator) note(format string, args ...any) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if !n.live {
		if text != "" && time.Since(n.said) >= quiet {
			n.said = time.Now()
			n.write(dim, text)
		}
		return
	}
	n.clear()
	n.progress = ""
	if text != "" {
		n.progress = fmt.Sprintf("%6.1f s  %s", time.Since(n.start).Seconds(), text)
		fmt.Fprint(n.out, n.styled(dim, n.progress))
	}
}

func (n *narrator) write(style, text string) {
	fmt.Fprintf(n.out, "%s  %s\n", n.styled(dim, fmt.Sprintf("%6.1f s", time.Since(n.start).Seconds())), n.styled(style, text))
}

func (n *narrator) clear() {
	if n.live && n.progress != "" {
		fmt.Fprint(n.out, erase)
	}
}

func (n *narrator) styled(style, text string) string {
	if !n.color || style == "" {
		return text
	}
	return style + text + plain
}
