//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	kindUrgent = "urgent" // critical lines of a file
	kindBulk   = "bulk"   // other lines of a file
	kindSyslog = "syslog" // over TCP

	// beat is the time between two lines of a source.
	beat = 20 * time.Millisecond
)

// source is what one writer has written: lines n=1, n=2, and so on. A line
// counts when its write has succeeded.
type source struct {
	agent string
	kind  string
	pad   atomic.Int64 // bytes behind the number of each line

	written atomic.Uint64

	mu    sync.Mutex // held while a line is written; see pause
	quiet bool
	line  func(text string) error // writes one line
	close func()
}

func (s *source) entity() string { return "chaos/" + s.agent + "/" + s.kind }

// write writes lines until ctx ends.
func (s *source) write(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.pause()
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if !s.quiet {
			n := s.written.Load() + 1
			if s.line(fmt.Sprintf("n=%d%s", n, strings.Repeat(".", int(s.pad.Load())))) == nil {
				s.written.Store(n)
			}
		}
		s.mu.Unlock()
	}
}

// pause stops the writer, and lets go of its connection.
func (s *source) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = true
	s.close()
}

func (s *source) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = false
}

// fileSource appends to a file.
func fileSource(dir, agent, kind string) (*source, error) {
	f, err := os.OpenFile(filepath.Join(dir, "in", agent+"."+kind+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &source{agent: agent, kind: kind, close: func() {}, line: func(text string) error {
		_, err := f.WriteString(text + "\n")
		return err
	}}, nil
}

// syslogSource sends over TCP, RFC 6587 with a newline behind each message.
func syslogSource(p place) *source {
	var conn net.Conn
	s := &source{agent: p.name, kind: kindSyslog}
	s.close = func() {
		if conn != nil {
			_ = conn.Close()
			conn = nil
		}
	}
	s.line = func(text string) (err error) {
		if conn == nil {
			if conn, err = net.DialTimeout("tcp", p.addr+":"+portSyslog, beat); err != nil {
				conn = nil
				return err
			}
		}
		if _, err = fmt.Fprintf(conn, "<14>1 - host app - - - %s\n", text); err != nil {
			s.close()
		}
		return err
	}
	return s
}
