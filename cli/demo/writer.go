//go:build !zos

package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/text/encoding/charmap"

	"pando/agent/input"
	"pando/ebcdic"
	"pando/internal/exact"
	"pando/stream"
)

// tally is what a series must come to: how many lines, and the sum of their
// running numbers.
type tally struct {
	count uint64
	sum   exact.Sum
}

func (t tally) plus(number int) tally {
	return tally{t.count + 1, t.sum.Add(exact.FromInt(int64(number)))}
}

// writer writes one source's lines when they are due, and keeps account of
// those that were handed over. Only Run's goroutine touches its fields, but
// for written.
type writer struct {
	source  *source
	skew    time.Duration
	out     io.WriteCloser
	table   *charmap.Charmap // nil: UTF-8
	written atomic.Uint64    // lines, which is also the last running number
	tallies map[stream.Series]tally
	buffer  []byte
}

// openWriter opens the file, or connects to the listener, that the agent reads.
func openWriter(ctx context.Context, h *host, s *source, address string) (*writer, error) {
	w := &writer{source: s, skew: h.skew, tallies: map[stream.Series]tally{}}
	var err error
	switch s.spec.Type {
	case input.TypeSyslog:
		w.out, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	default:
		w.out, err = os.OpenFile(s.spec.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s of %s: %w", s.spec.Name, h.name, err)
	}
	switch s.page {
	case "cp1047":
		w.table = charmap.CodePage1047
	case "cp037":
		w.table = charmap.CodePage037
	}
	return w, nil
}

// tick is how finely lines are spread: finer than the 10 ms at which agents
// look at files.
const tick = 4 * time.Millisecond

// run writes lines from start on. It ends early with ctx.
func (w *writer) run(ctx context.Context, lines []line, start time.Time) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	base := int(w.written.Load())
	for next := 0; next < len(lines); {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		first := next
		w.buffer = w.buffer[:0]
		for since := time.Since(start); next < len(lines) && lines[next].at <= since; next++ {
			l := &lines[next]
			w.append(l.text(base+next+1, time.Now().Add(w.skew)))
		}
		if first == next {
			continue
		}
		if _, err := w.out.Write(w.buffer); err != nil {
			return fmt.Errorf("write %s: %w", w.source.spec.Name, err)
		}
		for i := first; i < next; i++ {
			series := lines[i].series
			w.tallies[series] = w.tallies[series].plus(base + i + 1)
		}
		w.written.Store(uint64(base + next))
	}
	return nil
}

// append frames one line as its system does: octet counting on syslog's TCP
// (RFC 6587), NEL behind EBCDIC lines, LF behind the rest.
func (w *writer) append(text string) {
	switch {
	case w.table != nil:
		for _, r := range text {
			b, _ := w.table.EncodeRune(r) // the script's characters are in every page
			w.buffer = append(w.buffer, b)
		}
		w.buffer = append(w.buffer, ebcdic.NEL)
	case w.source.spec.Type == input.TypeSyslog:
		w.buffer = fmt.Appendf(w.buffer, "%d %s", len(text), text)
	default:
		w.buffer = append(append(w.buffer, text...), '\n')
	}
}
