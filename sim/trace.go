package sim

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"
)

// trace hashes the description of every step, and shows it to people who ask.
type trace struct {
	sum   hash.Hash
	buf   []byte
	steps uint64
	words io.Writer // nil: nobody reads it
}

// flushAt is how much of the trace is hashed at once.
const flushAt = 32 << 10

func newTrace(words io.Writer) *trace { return &trace{sum: sha256.New(), words: words} }

func (t *trace) add(at int64, who, format string, args []any) {
	t.steps++
	from := len(t.buf)
	t.buf = strconv.AppendInt(t.buf, at, 10)
	t.buf = append(t.buf, ' ')
	t.buf = append(t.buf, who...)
	t.buf = append(t.buf, ' ')
	mark := len(t.buf)
	t.buf = fmt.Appendf(t.buf, format, args...)
	if t.words != nil {
		fmt.Fprintf(t.words, "%12.6f  %-12s %s\n", time.Duration(at).Seconds(), who, t.buf[mark:])
	}
	t.buf = append(t.buf, '\n')
	if from >= flushAt {
		t.flush()
	}
}

func (t *trace) flush() {
	t.sum.Write(t.buf)
	t.buf = t.buf[:0]
}

// value is the hash of all steps so far.
func (t *trace) value() string {
	t.flush()
	return fmt.Sprintf("%x", t.sum.Sum(nil)[:16])
}
